"""Energy response and resolution in ranges of the incident energy."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from caloforge.figures.comparison import Estimates, profile
from caloforge.figures.ranges import deviation_in_ranges, mean_in_ranges


def response(
    reference: tuple[np.ndarray, np.ndarray],
    generated: tuple[np.ndarray, np.ndarray],
    edges_GeV: Sequence[float],
) -> Figure:
    """Mean of visible over incident energy against the incident energy.

    Parameters
    ----------
    reference, generated
        Incident energies [GeV] and visible over incident energy, each of shape (n,).
    edges_GeV
        Edges of the energy ranges [GeV].
    """
    return _against_energy(
        mean_in_ranges(*reference, edges_GeV),
        mean_in_ranges(*generated, edges_GeV),
        edges_GeV,
        label="Mean visible / incident energy",
    )


def resolution(
    reference: tuple[np.ndarray, np.ndarray],
    generated: tuple[np.ndarray, np.ndarray],
    edges_GeV: Sequence[float],
) -> Figure:
    """Relative spread of visible over incident energy against the incident energy.

    Parameters
    ----------
    reference, generated, edges_GeV
        As for `response`.
    """
    return _against_energy(
        relative_spread(*reference, edges_GeV),
        relative_spread(*generated, edges_GeV),
        edges_GeV,
        label="Resolution (standard deviation / mean)",
    )


def relative_spread(energy_GeV: np.ndarray, ratio: np.ndarray, edges_GeV: Sequence[float]) -> Estimates:
    """Standard deviation over mean of `ratio` per energy range; NaN in ranges with fewer than four showers.

    The error of the mean is left out, being smaller by the resolution.
    """
    mean = mean_in_ranges(energy_GeV, ratio, edges_GeV).value
    deviation = deviation_in_ranges(energy_GeV, ratio, edges_GeV)
    return Estimates(deviation.value / mean, deviation.error / mean, deviation.n)


def _against_energy(
    reference: Estimates, generated: Estimates, edges_GeV: Sequence[float], *, label: str
) -> Figure:
    return profile(
        reference,
        generated,
        np.asarray(edges_GeV, dtype=float),
        x_label="Incident energy",
        x_unit="GeV",
        label=label,
        unit="1",
        log_x=True,
    )
