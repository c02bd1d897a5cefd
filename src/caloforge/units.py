"""Units of the quantities that sources carry."""

import math


def unit_factor(unit: str, to: str) -> float:
    """Factor that turns a number in `unit` into one in `to`, for example GeV to MeV: 1000.

    Raises
    ------
    ValueError
        If the two are not units of the same quantity known here.
    """
    for family in _UNITS:
        if unit in family and to in family:
            return family[unit] / family[to]
    raise ValueError(f"cannot convert {unit} to {to}")


_UNITS = (
    {"eV": 1e-6, "keV": 1e-3, "MeV": 1.0, "GeV": 1e3, "TeV": 1e6},
    {"um": 1e-3, "mm": 1.0, "cm": 10.0, "m": 1e3},
    {"mrad": 1e-3, "rad": 1.0, "deg": math.pi / 180},
    {"1": 1.0},
)
