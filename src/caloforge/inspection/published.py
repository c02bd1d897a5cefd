"""Published layouts of showers of single particles; docs/data.md lists them."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from caloforge.binning import BinningFile
from caloforge.inspection.contents import Contents, Table
from caloforge.inspection.entry import Noted
from caloforge.inspection.guess import Guess, entry, largest_index, stack, tree_with, vector_length

PUBLISHED = "as published"
PAR04 = {"r": 18, "alpha": 50, "layer": 45}
"""Cells of the readout of Geant4's example Par04 by default."""
CALOGAN_LAYERS = [
    {"shape": [3, 96], "cell_size_mm": [160, 5], "thickness_mm": 90},
    {"shape": [12, 12], "cell_size_mm": [40, 40], "thickness_mm": 347},
    {"shape": [12, 6], "cell_size_mm": [40, 80], "thickness_mm": 43},
]
"""M. Paganini, L. de Oliveira, B. Nachman, CaloGAN, Phys. Rev. D 97 (2018) 014021, table I."""


def calogan_arrays(group: Sequence[Contents]) -> Guess | None:
    """HDF5 files of CaloGAN: Mendeley Data 10.17632/pvn3xc3wy5.1 and, with varied incidence, 5fnxs6b557.2."""
    table = group[0].tables.get("")
    names = [f"layer_{number}" for number in range(3)]
    if not (table and table.has("energy", *names)):
        return None
    if [list(table.columns[name].shape) for name in names] != [layer["shape"] for layer in CALOGAN_LAYERS]:
        return None
    source = {
        "format": "arrays",
        "cells": names,
        "event": None,
        "incident_energy": Noted({"column": "energy", "unit": "GeV"}, PUBLISHED),
        "cell_energy_unit": Noted("MeV", PUBLISHED),
    }
    return _calogan(group, "CaloGAN, HDF5", source, table, str.lower)


def calogan_tree(group: Sequence[Contents]) -> Guess | None:
    """ROOT files of the simulation of CaloGAN: the tree fancy_tree with 504 cells and 3 overflows."""
    tree = tree_with(group[0], "cell_0", "cell_506", "TotalEnergy")
    if tree is None or tree.has("cell_507"):
        return None
    source = {
        "format": "root_arrays",
        "tree": tree.name,
        "cells": "cell_*",
        "extra_cells": Noted(3, "one overflow per layer behind the cells"),
        "event": None,
        "incident_energy": Noted({"column": "TotalEnergy", "unit": "GeV"}, PUBLISHED),
        "cell_energy_unit": Noted("MeV", PUBLISHED),
    }
    return _calogan(group, "CaloGAN, ROOT", source, tree, str.title)


def _calogan(
    group: Sequence[Contents], layout: str, source: dict[str, Any], table: Table, spelt: Callable[[str], str]
) -> Guess:
    """The vertical axis of CaloGAN is y: theta = arccos(py / p), phi = arctan(-px / pz)."""
    px, py, pz, x0, y0 = map(spelt, ("px", "py", "pz", "x0", "y0"))
    conditions = {}
    if table.has(px, py, pz):
        conditions = {
            "theta": {"column": f"arccos({py} / sqrt({px}**2 + {py}**2 + {pz}**2))", "unit": "rad"},
            "phi": {"column": f"arctan(-{px} / {pz})", "unit": "rad"},
        }
    for name, column in (("x0", x0), ("y0", y0)):
        if table.has(column):
            conditions[name] = {"column": column, "unit": Noted("mm", PUBLISHED)}
    layout += ", varied incidence" if conditions else ", perpendicular incidence"
    geometry = {"name": "CaloGAN", "layers": Noted(CALOGAN_LAYERS, PUBLISHED)}
    return Guess(layout, entry(group, source, geometry, conditions))


def clic_fixed(group: Sequence[Contents]) -> Guess | None:
    """HDF5 files of 3DGAN for CLIC: `ECAL` (N, 25, 25, 25), `target` with the energy in column 1."""
    table = group[0].tables.get("")
    if not (table and table.has("ECAL", "target") and table.columns["ECAL"].shape == (25, 25, 25)):
        return None
    energy = Noted({"column": "target[1]", "unit": "GeV"}, PUBLISHED)
    return Guess("3DGAN, CLIC, fixed angle, HDF5", _clic(group, table, energy, {}))


def clic_variable(group: Sequence[Contents]) -> Guess | None:
    """HDF5 files of 3DGAN with varied angle: `ECAL` (N, 51, 51, 25) times 50, `energy` and `theta`."""
    table = group[0].tables.get("")
    if not (table and table.has("ECAL", "energy", "theta") and table.columns["ECAL"].shape == (51, 51, 25)):
        return None
    energy = Noted({"column": "energy", "unit": "GeV"}, PUBLISHED)
    stored = {"stored_as": Noted(50, "the files hold 50 times the energies")}
    settings = _clic(group, table, energy, stored)
    settings["conditions"] = {"theta": {"column": "theta", "unit": Noted("rad", PUBLISHED)}}
    return Guess("3DGAN, CLIC, varied angle, HDF5", settings)


def _clic(group: Sequence[Contents], table: Table, energy: Noted, stored: dict[str, Any]) -> dict[str, Any]:
    nx, ny, layers = table.columns["ECAL"].shape
    source = {
        "format": "arrays",
        "cells": "ECAL",
        "axes": ["x", "y", "layer"],
        "event": None,
        "incident_energy": energy,
        "cell_energy_unit": Noted("GeV", PUBLISHED),
        **stored,
    }
    layer = {"shape": [nx, ny], "cell_size_mm": [5.1, 5.1], "repeat": layers}
    return entry(group, source, {"name": "CLIC ECAL", "layers": [Noted(layer, PUBLISHED)]})


def lhcb_arrays(group: Sequence[Contents]) -> Guess | None:
    """Npz files of LHCb electrons: `EnergyDeposit`, `ParticlePoint` [cm], `ParticleMomentum` [GeV]."""
    table = group[0].tables.get("")
    if not (table and table.has("EnergyDeposit", "ParticleMomentum")):
        return None
    cells = math.prod(table.columns["EnergyDeposit"].shape)
    pickled = any(table.columns[name].kind == "O" for name in ("EnergyDeposit", "ParticleMomentum"))
    if not pickled and (cells % 900 or not cells):
        return None
    caution = "pickled objects can run any code: true only for files of your own"
    pickles = {"allow_pickle": Noted(False, caution)} if pickled else {}
    remarks = (f"the file holds pickled objects, which are not looked into; {caution}",) if pickled else ()
    source = {"format": "arrays", "cells": "EnergyDeposit", **pickles}
    return Guess("LHCb electrons, npz", _lhcb(group, table, source, cells // 900), remarks)


def lhcb_tree(group: Sequence[Contents]) -> Guess | None:
    """ROOT files of LHCb electrons: the vector `EnergyDeposit` with 900 cells, or 900 times the layers."""
    tree = tree_with(group[0], "EnergyDeposit", "ParticleMomentum")
    cells = tree and vector_length(group[0], tree, "EnergyDeposit")
    if tree is None or not cells or cells % 900:
        return None
    source = {"format": "root_arrays", "tree": tree.name, "cells": "EnergyDeposit"}
    return Guess("LHCb electrons, ROOT", _lhcb(group, tree, source, cells // 900))


def _lhcb(group: Sequence[Contents], table: Table, source: dict[str, Any], layers: int) -> dict[str, Any]:
    momentum = [f"ParticleMomentum[{axis}]" for axis in range(3)]
    if layers > 1:
        source |= {
            "axes": ["x", "y", "layer"],
            "sum_layers": Noted(layers, f"{layers} layers of 30 x 30 cells, summed into one image"),
        }
    energy = f"sqrt({' + '.join(f'{component}**2' for component in momentum)})"
    source |= {
        "event": None,
        "incident_energy": Noted({"column": energy, "unit": "GeV"}, PUBLISHED),
        "cell_energy_unit": Noted("MeV", PUBLISHED),
    }
    conditions = {
        name: {"column": column, "unit": Noted("GeV", PUBLISHED)}
        for name, column in zip(("px", "py", "pz"), momentum, strict=True)
    }
    if table.has("ParticlePoint"):
        for axis, name in enumerate(("x0", "y0")):
            conditions[name] = {"column": f"ParticlePoint[{axis}]", "unit": Noted("cm", PUBLISHED)}
    if table.has("ParticlePDG"):
        is_vector = table.columns["ParticlePDG"].is_list or table.columns["ParticlePDG"].shape
        conditions["pdg"] = {"column": "ParticlePDG[0]" if is_vector else "ParticlePDG", "unit": "1"}
    layer = {"shape": [30, 30], "cell_size_mm": [20.2, 20.2]}
    return entry(group, source, {"name": "LHCb ECAL", "layers": [Noted(layer, PUBLISHED)]}, conditions)


CALOCHALLENGE = {
    368: ("data set 1, photons", [(1, 8), (10, 16), (10, 19), (1, 5), (1, 5)], 1.0),
    533: (
        "data set 1, pions",
        [(1, 8), (10, 10), (10, 10), (1, 5), (10, 15), (10, 16), (1, 10)],
        1.0,
    ),
    6480: ("data set 2", [(16, 9)] * 45, 0.01515),
    40500: ("data set 3", [(50, 18)] * 45, 0.01515),
}
"""Cells of a shower to the name of the data set, cells in alpha and r of each layer and threshold [MeV].

C. Krause et al., CaloChallenge 2022: A Community Challenge for Fast Calorimeter Simulation, arXiv:2410.21611,
section 2.
"""
CALOCHALLENGE_RADIUS_MM = 41.85
"""Outer radius of data sets 2 and 3, whose rings have equal width (same place)."""
FILL_IN_RADII = "FILL IN the radii, 1 mm each is a placeholder"
BINNING_ADVICE = "{binning: FILE.xml, particle: NAME} with the binning file of the data set"


def calochallenge(group: Sequence[Contents]) -> Guess | None:
    """HDF5 files of the CaloChallenge: `showers` (N, cells) and `incident_energies` (N, 1), in MeV."""
    table = group[0].tables.get("")
    if not (table and table.has("showers", "incident_energies") and len(table.columns["showers"].shape) == 1):
        return None
    (cells,) = table.columns["showers"].shape
    binning = _binning_beside(group[0].path, cells)
    if cells not in CALOCHALLENGE and binning is None:
        return None
    name, shapes, threshold_MeV = CALOCHALLENGE.get(cells, ("cells of its binning file", [], 1.0))
    remarks: tuple[str, ...] = ()
    geometry: Any = binning
    if binning is None:
        is_regular = len(set(shapes)) == 1
        layers = [
            _rings(n_alpha, n_r, CALOCHALLENGE_RADIUS_MM if is_regular else n_r) for n_alpha, n_r in shapes
        ]
        note = f"{'check the radii' if is_regular else FILL_IN_RADII}, or better: {BINNING_ADVICE}"
        geometry = {"name": "CaloChallenge", "layers": Noted(stack(layers), note)}
        remarks = () if is_regular else (f"geometry: {note}",)
    source = {
        "format": "arrays",
        "cells": "showers",
        "event": None,
        "incident_energy": Noted({"column": "incident_energies", "unit": "MeV"}, PUBLISHED),
        "cell_energy_unit": Noted("MeV", PUBLISHED),
    }
    settings = entry(group, source, geometry)
    settings["readout_threshold_MeV"] = Noted(threshold_MeV, "of the challenge")
    return Guess(f"CaloChallenge, {name}", settings, remarks)


def _binning_beside(path: Path, cells: int) -> dict[str, str] | None:
    """The `geometry` of an entry from a binning file in the same folder that has as many cells."""
    for file in sorted(path.parent.glob("*.xml")):
        for particle in ("photon", "pion", "electron"):
            try:
                found = BinningFile(binning=str(file), particle=particle).geometry()
            except ValueError:
                continue
            if found.n_cells == cells:
                return {"binning": str(file), "particle": particle, "name": "CaloChallenge"}
    return None


def par04_arrays(group: Sequence[Contents]) -> Guess | None:
    """HDF5 files of Geant4's example Par04: `incident_energy` and `showers` (N, R, phi, z), in MeV."""
    table = group[0].tables.get("")
    if not (table and table.has("incident_energy", "showers") and len(table.columns["showers"].shape) == 3):
        return None
    n_r, n_alpha, layers = table.columns["showers"].shape
    source = {
        "format": "arrays",
        "cells": "showers",
        "axes": Noted(["r", "alpha", "layer"], PUBLISHED),
        "event": None,
        "incident_energy": Noted({"column": "incident_energy", "unit": "MeV"}, PUBLISHED),
        "cell_energy_unit": Noted("MeV", PUBLISHED),
    }
    return Guess("Geant4 Par04, HDF5", entry(group, source, _par04_geometry(n_alpha, n_r, layers)))


def par04_trees(group: Sequence[Contents]) -> Guess | None:
    """ROOT files of Geant4's example Par04: the primaries in the tree global, cells in virtualReadout."""
    tables = group[0].tables
    if not {"global", "virtualReadout"} <= tables.keys():
        return None
    cells = {"layer": "zCell", "x": "phiCell", "y": "rhoCell", "energy": "EnergyCell"}
    if not (tables["global"].has("EnergyMC") and tables["virtualReadout"].has(*cells.values())):
        return None
    sizes = {
        axis: max(PAR04[axis], 1 + largest_index(group, "virtualReadout", branch))
        for axis, branch in (("layer", "zCell"), ("alpha", "phiCell"), ("r", "rhoCell"))
    }
    source = {
        "format": "root_cells",
        "tree": "global",
        "event": None,
        "incident_energy": Noted({"column": "EnergyMC", "unit": "MeV"}, PUBLISHED),
        "cells": {"tree": "virtualReadout", **cells, "count": None},
        "cell_energy_unit": Noted("MeV", PUBLISHED),
        "metadata": None,
    }
    geometry = _par04_geometry(sizes["alpha"], sizes["r"], sizes["layer"])
    return Guess("Geant4 Par04, ROOT", entry(group, source, geometry))


def _par04_geometry(n_alpha: int, n_r: int, layers: int) -> dict[str, Any]:
    is_default = n_r == PAR04["r"]
    layer = _rings(n_alpha, n_r, CALOCHALLENGE_RADIUS_MM if is_default else n_r) | {"repeat": layers}
    note = "guessed: the readout of Par04 by default, check the radii" if is_default else FILL_IN_RADII
    return {"name": "Par04", "layers": Noted([layer], note)}


def _rings(n_alpha: int, n_r: int, radius_mm: float) -> dict[str, Any]:
    edges = {"bins": n_r, "low": 0, "high": radius_mm}
    return {"kind": "cylindrical", "n_alpha": n_alpha, "r_edges_mm": edges}
