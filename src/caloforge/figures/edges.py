"""Edges of the bins that figures have."""

import numpy as np

WIDE = 30
"""Ratio of the largest to the smallest value from which an axis is logarithmic."""


def linear_edges(low: float, high: float, bins: int) -> np.ndarray:
    """Edges of equally wide bins from the lowest to the highest value, a little further if they are equal."""
    margin = max(abs(low) / 10, 0.5) if low == high else 0
    return np.linspace(low - margin, high + margin, bins + 1)


def logarithmic_edges(low: float, high: float, bins: int) -> np.ndarray:
    """As `linear_edges`, but with bins equal in the logarithm if the range is wide and above zero."""
    return np.geomspace(low, high, bins + 1) if is_wide(low, high) else linear_edges(low, high, bins)


def is_wide(low: float, high: float) -> bool:
    """Whether values from `low` to `high` need a logarithmic axis."""
    return low > 0 and high > WIDE * low
