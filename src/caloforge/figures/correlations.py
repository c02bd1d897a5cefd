"""Correlation matrices of full simulation and of generated events."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from caloforge.figures.style import new_figure

MOST_NAMES = 50
"""Features whose names are written beside the matrices; of more, numbers are."""
_COLOURS, _UNDEFINED = "RdBu_r", "#cccccc"


def correlation_matrices(names: Sequence[str], full: np.ndarray, generated: np.ndarray) -> Figure:
    """Two matrices above and below the diagonal of one map, and their difference beside it.

    Parameters
    ----------
    names
        Of the k features.
    full, generated
        Correlation coefficients, shape (k, k); NaN where undefined, which is drawn grey.
    """
    k = len(names)
    side = min(max(3.2, 0.15 * k), 7.5)
    figure = new_figure(2 * side + 2.8, side + 1)
    panels = figure.subplots(1, 2, sharey=True)
    above = np.triu(np.ones((k, k), bool), 1)
    both = np.where(above, full, np.where(above.T, generated, np.nan))
    difference = generated - full
    largest = max(np.nanmax(np.abs(difference), initial=0), 0.01)
    contents = (
        ("Above: full simulation, below: generated", both, 1, "Correlation coefficient"),
        ("Difference", difference, largest, "Generated − full simulation"),
    )
    for axes, (title, matrix, limit, label) in zip(panels, contents, strict=True):
        cells = axes.pcolormesh(matrix, cmap=_COLOURS, vmin=-limit, vmax=limit, rasterized=True)
        axes.set_facecolor(_UNDEFINED)
        axes.set_aspect("equal")
        axes.set_title(title, size="medium")
        figure.colorbar(cells, ax=axes, label=label, shrink=0.8)
        if k <= MOST_NAMES:
            style = {"size": "x-small"}
            axes.set_xticks(np.arange(k) + 0.5, names, rotation=90, **style)
            axes.set_yticks(np.arange(k) + 0.5, names, **style)
            axes.tick_params(length=0)
        else:
            axes.set_xlabel("Number of the feature")
    if k > MOST_NAMES:
        panels[0].set_ylabel("Number of the feature")
    panels[0].invert_yaxis()
    return figure
