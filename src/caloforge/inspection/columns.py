"""What columns mean, told by their names."""

import re
from collections.abc import Mapping
from typing import Any

from caloforge.inspection.contents import Table
from caloforge.inspection.entry import Noted, bare

_CONDITIONS = {
    "px": (r"p_?x|momentum_?x", "GeV"),
    "py": (r"p_?y|momentum_?y", "GeV"),
    "pz": (r"p_?z|momentum_?z", "GeV"),
    "x0": (r"x_?0|v(erte)?x_?x|v_?x|entry_?x", "mm"),
    "y0": (r"y_?0|v(erte)?x_?y|v_?y|entry_?y", "mm"),
    "theta": (r"theta", "rad"),
    "phi": (r"phi", "rad"),
    "eta": (r"eta", "1"),
    "pdg": (r"pdg(_?(id|code))?|pid", "1"),
}
_ENERGY = r"(incident_?|true_?|gen_?|beam_?|total_?)?energ(y|ies)(_?mc)?|e_?0?|e_?(kin|true|inc|beam)"
_EVENT = r"(event|evt)(_?(id|number|num|no))?"
_OWNERS = r"^(.*[/.])?((incident|primary|particle|mc|gen)_)?"
"""Groups and words before the name of a quantity that do not change it."""


def find_event(table: Table) -> str | None:
    """The column with the event number, if one has such a name and is an integer."""
    return next((n for n in _named(table, _EVENT) if table.columns[n].kind in ("i", "u")), None)


def find_incident_energy(table: Table, units: Mapping[str, str]) -> Any:
    """The setting `incident_energy` of a source with such columns."""
    for name in _named(table, _ENERGY):
        return {"column": name, "unit": unit_of(name, units, "GeV")}
    momentum = [next(iter(_named(table, _CONDITIONS[name][0])), None) for name in ("px", "py", "pz")]
    if None in momentum or not all(name.isidentifier() for name in momentum):
        return Noted(None, "no column looks like the energy of a primary; null is for collisions")
    formula = f"sqrt({' + '.join(f'{name}**2' for name in momentum)})"
    energy = {"column": formula, "unit": bare(unit_of(momentum[0], units, "GeV"))}
    return Noted(energy, "guessed: the momentum")


def find_conditions(table: Table, units: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Columns that describe the primary: momentum or else angles, entry point, particle."""
    found = {}
    for condition, (pattern, unit) in _CONDITIONS.items():
        for name in _named(table, pattern)[:1]:
            found[condition] = {"column": name, "unit": unit_of(name, units, unit)}
    redundant = ("theta", "phi", "eta") if {"px", "py", "pz"} <= found.keys() else ()
    redundant = redundant or (("eta",) if "theta" in found else ())
    return {name: column for name, column in found.items() if name not in redundant}


def unit_of(name: str, stated: Mapping[str, str], usual: str) -> Any:
    """The unit that the file states for a column, or the usual one."""
    if name in stated:
        return Noted(stated[name], "stated in the file")
    return usual if usual == "1" else Noted(usual, "guessed, the file does not say")


def _named(table: Table, pattern: str) -> list[str]:
    return [
        name
        for name, column in table.columns.items()
        if column.is_number and re.fullmatch(pattern, re.sub(_OWNERS, "", name.lower()))
    ]
