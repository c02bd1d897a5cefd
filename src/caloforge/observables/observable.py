"""What is known of an observable beside its values: text, unit and axes."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Observable:
    """One number per shower.

    Attributes
    ----------
    label
        Text for an axis, without the unit; may hold matplotlib's mathematical notation.
    unit
        "mm", "MeV", ...; "1" for a pure number.
    log
        Whether its histograms have a logarithmic axis.
    shown
        Whether it has distances and a figure of its own, or else is one of many features that only count
        together.
    """

    label: str
    unit: str
    log: bool = False
    shown: bool = True


@dataclass(frozen=True)
class Profile:
    """A curve of K numbers per shower.

    Attributes
    ----------
    x
        The K positions of the numbers, or the K + 1 edges of their bins.
    edges
        Whether `x` holds edges.
    x_label, x_unit, label, unit
        Text and unit of both axes, as in `Observable`.
    log_x, log_y
        Whether the axes are logarithmic.
    """

    x: np.ndarray
    edges: bool
    x_label: str
    x_unit: str
    label: str
    unit: str
    log_x: bool
    log_y: bool
