"""Numbers as text: rounded to what is known of them."""

from collections.abc import Mapping
from typing import Any, get_args

from caloforge.config.sources import EnergyUnit

ABSENT = "–"
SMALLEST_P_VALUE = 1e-4


def measurement(number: Mapping[str, float | None]) -> str:
    """A value and its error, both rounded to two significant digits of the error, as in `0.123 ± 0.012`.

    Parameters
    ----------
    number
        `value` and `error`, None where there is none.
    """
    value, error = number["value"], number["error"]
    if value is None:
        return ABSENT
    if not error:
        return significant(value)
    decimals = 1 - _exponent(error)
    if -4 <= decimals <= 5:
        return (
            f"{round(value, decimals):.{max(decimals, 0)}f} ± {round(error, decimals):.{max(decimals, 0)}f}"
        )
    power = _exponent(max(abs(value), error))
    digits = max(decimals + power, 0)
    return f"({value / 10**power:.{digits}f} ± {error / 10**power:.{digits}f}) × 10{_superscript(power)}"


def significant(value: float | None, digits: int = 2) -> str:
    """A number with this many significant digits and without an exponent, as in `1,200` or `0.012`."""
    if value is None:
        return ABSENT
    if value == 0:
        return "0"
    decimals = digits - 1 - _exponent(abs(value), digits)
    return f"{round(value, decimals):,.{max(decimals, 0)}f}"


def p_value(value: float | None) -> str:
    """A p-value with two significant digits, `< 0.0001` below that."""
    if value is not None and value < SMALLEST_P_VALUE:
        return f"< {SMALLEST_P_VALUE:.4f}"
    return significant(value)


def duration(seconds: float | None) -> str:
    """A time as people read it: `0.21 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds is None:
        return ABSENT
    if seconds < 60:
        return f"{significant(seconds)} s"
    minutes, rest_s = divmod(round(seconds), 60)
    hours, rest_min = divmod(minutes, 60)
    return f"{hours} h {rest_min} min" if hours else f"{minutes} min {rest_s} s"


def counted(name: str, number: float) -> str:
    """What a record counts under a name with or without a unit: `towers outside grid: 1,200`."""
    words, _, unit = name.rpartition("_")
    if unit not in get_args(EnergyUnit):
        words, unit = name, ""
    return f"{words.replace('_', ' ')}: {number:,.0f} {unit}".rstrip()


def _exponent(number: float, digits: int = 2) -> int:
    """Power of ten of a positive number that is rounded to this many significant digits."""
    return int(f"{number:.{digits - 1}e}".partition("e")[2])


def _superscript(number: int) -> str:
    return str(number).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def is_at_floor(observable: Mapping[str, Any], distance: str) -> bool:
    """Whether generated showers are at most as far from the reference as independent ones, plus error."""
    generated, floor = observable["generated"][distance], observable["floor"][distance]
    if generated["value"] is None or floor["value"] is None:
        return False
    return generated["value"] <= floor["value"] + floor["error"]
