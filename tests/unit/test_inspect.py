import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pytest
import uproot
import yaml

from caloforge import checkpoint
from caloforge.cli import main
from caloforge.config.load import validate
from caloforge.config.project import paired_files, source_files
from caloforge.ingest import ingest
from caloforge.ingest.split import SPLITS
from caloforge.observables import observe
from caloforge.showers import ShowerFile

ROOT = Path(__file__).parents[2]
SAMPLES = sorted(ROOT.glob("resources/samples/lhcb_ecal/*.root"))
N = 100


@pytest.fixture(autouse=True)
def _in_checkout(monkeypatch):
    """The files of the configuration that entries are added to are seen from there."""
    monkeypatch.chdir(ROOT)


def cells_of(shape, energy_GeV, marker, seed=1):
    """Cell energies [MeV] (n, *shape), 20 % of the incident energy; in event 0 all of it in one cell."""
    rng = np.random.default_rng(seed)
    cells = rng.exponential(size=(len(energy_GeV), *shape)) * (rng.random((len(energy_GeV), *shape)) < 0.3)
    cells.reshape(len(cells), -1)[:, -1] += 0.1
    cells[0] = 0
    cells[0][marker] = 1
    total = cells.sum(axis=tuple(range(1, cells.ndim)), keepdims=True)
    return (cells * 200 * energy_GeV.reshape(-1, *[1] * len(shape)) / total).astype(np.float32)


def energies_GeV(n=N):
    return np.random.default_rng(2).uniform(5, 50, n).astype(np.float32)


def momenta_GeV(energy_GeV):
    """Momenta (n, 3) of primaries that are inclined to the z axis."""
    slope = np.random.default_rng(3).normal(0, 0.2, (len(energy_GeV), 2))
    direction = np.column_stack([slope, np.ones(len(slope))])
    return (energy_GeV[:, None] * direction / np.linalg.norm(direction, axis=1)[:, None]).astype(np.float32)


def write_hdf5(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
    return path


def write_trees(path, trees, metadata=None, ntuple=False):
    """A ROOT file; columns are numpy arrays (n,), (n, k) or awkward lists."""
    with uproot.recreate(path) as file:
        for name, columns in trees.items():
            if ntuple:
                file.mkrntuple(name, columns)
                continue
            kinds = {
                key: np.dtype((values.dtype, values.shape[1:]))
                if isinstance(values, np.ndarray)
                else str(ak.type(values).content)
                for key, values in columns.items()
            }
            file.mktree(name, kinds)
            file[name].extend(columns)
        if metadata is not None:
            file["metadata"] = json.dumps(metadata)
    return path


HIT_TYPES = ("uint8", "uint8", "uint8", "float32")


def hits_of(layers):
    """Jagged lists (layer, first index, second index, energy) of the cells above 0 of layers (n, nx, ny)."""
    rows = []
    for event in range(len(layers[0])):
        row = [[], [], [], []]
        for number, cells in enumerate(layers):
            for first, second in np.argwhere(cells[event] > 0).tolist():
                for part, value in zip(
                    row, (number, first, second, cells[event][first, second]), strict=True
                ):
                    part.append(value)
        rows.append(row)
    lists = [ak.Array([row[part] for row in rows]) for part in range(4)]
    return [ak.values_astype(values, kind) for values, kind in zip(lists, HIT_TYPES, strict=True)]


def hit_columns(layers, names=("cell_layer", "cell_x", "cell_y", "cell_energy")):
    return dict(zip(names, hits_of(layers), strict=True))


class Known:
    """Files, and what they hold by the hand of the one who wrote them.

    Attributes
    ----------
    total_MeV
        Of all cells of all events.
    cell
        Number of the cell of a flattened shower that holds all (or most) energy of the event `event`.
    """

    def __init__(self, files, total_MeV, cell, n=N, event=0, **settings):
        self.files = [files] if isinstance(files, Path) else files
        self.total_MeV, self.cell, self.n, self.event, self.settings = total_MeV, cell, n, event, settings


# ---- files, each as its publication describes it


def described_stack(path):
    """Two stacks of plates, each summed into a layer."""
    energy, momentum = energies_GeV(), momenta_GeV(energies_GeV())
    layers = [cells_of((3, 8), energy / 2, (1, 2)), cells_of((4, 4), energy / 2, (3, 1), seed=9)]
    layers[0][0] *= 0
    columns = {"event": np.arange(N), "energy": energy, "x0": energy * 0, "pdg": np.full(N, 11, np.int32)}
    columns |= {f"p{axis}": momentum[:, number] for number, axis in enumerate("xyz")} | hit_columns(layers)
    columns["cell_energy"] = columns["cell_energy"] / 1000
    metadata = {
        "dataset": "toy",
        "particle": "e-",
        "events": N,
        "face_mm": 24.0,
        "stacks": [
            {"n": 5, "absorber": ["G4_Pb", 2.0], "active": ["G4_lAr", 4.0], "gap": None, "nx": 3, "ny": 8},
            {"n": 2, "absorber": ["G4_Pb", 2.0], "active": ["G4_lAr", 4.0], "gap": None, "nx": 4, "ny": 4},
        ],
        "units": "energy/px/py/pz GeV, x0/y0 mm, cell_energy GeV",
    }
    file = write_trees(path / "toy_000.root", {"showers": columns}, metadata)
    layers_found = [
        {"shape": [3, 8], "cell_size_mm": [8, 3], "thickness_mm": 30},
        {"shape": [4, 4], "cell_size_mm": [6, 6], "thickness_mm": 12},
    ]
    total = sum(layer.sum(dtype=float) for layer in layers)
    conditions = {axis: {"column": axis, "unit": "GeV"} for axis in ("px", "py", "pz")}
    return Known(file, total, 24 + 3 * 4 + 1, layers=layers_found, conditions=conditions)


def described_periods(path):
    """One stack, each period of which is a layer; primaries along z."""
    energy = energies_GeV()
    cells = cells_of((6, 5, 5), energy, (4, 3, 1))
    columns = {"event": np.arange(N), "energy": energy, "px": energy * 0, "py": energy * 0, "pz": energy}
    columns |= hit_columns(list(cells.transpose(1, 0, 2, 3)))
    stacks = [
        {
            "n": 6,
            "absorber": ["G4_W", 3.3],
            "active": ["G4_Si", 0.5],
            "gap": ["G4_AIR", 2.2],
            "nx": 5,
            "ny": 5,
        }
    ]
    metadata = {"face_mm": 25.5, "stacks": stacks, "units": "cell_energy MeV"}
    file = write_trees(path / "w.root", {"showers": columns}, metadata)
    layers = [{"shape": [5, 5], "cell_size_mm": [5.1, 5.1], "thickness_mm": 6, "repeat": 6}]
    return Known(file, cells.sum(dtype=float), 4 * 25 + 3 * 5 + 1, layers=layers, conditions=ENERGY)


def calogan_cells(energy):
    layers = [
        cells_of(shape, energy / 3, (0, 0), seed) for seed, shape in enumerate([(3, 96), (12, 12), (12, 6)])
    ]
    for layer in layers:
        layer[0] = 0
    layers[1][0][7, 2] = 3000
    return layers, 3 * 96 + 7 * 12 + 2


def calogan_fixed(path):
    energy = energies_GeV()
    layers, cell = calogan_cells(energy)
    arrays = {f"layer_{number}": layer for number, layer in enumerate(layers)}
    file = write_hdf5(path / "eplus.hdf5", energy=energy[:, None], overflow=np.ones((N, 3)), **arrays)
    return Known(file, sum(layer.sum(dtype=float) for layer in layers), cell, conditions=ENERGY)


def calogan_variable(path):
    known = calogan_fixed(path)
    momentum = momenta_GeV(energies_GeV())
    with h5py.File(known.files[0], "a") as file:
        for number, axis in enumerate("xyz"):
            file[f"p{axis}"] = momentum[:, number : number + 1]
        for name, scale in (("x0", 1), ("y0", 2), ("z0", 0), ("t0", 0)):
            file[name] = np.linspace(-scale, scale, N)[:, None]
    _, py, _ = momentum.T.astype(float)
    theta = np.arccos(py / np.linalg.norm(momentum.astype(float), axis=1))
    known.settings = {"values": {"theta": theta, "phi": np.arctan(-momentum[:, 0] / momentum[:, 2])}}
    return known


def calogan_tree(path):
    energy = energies_GeV()
    layers, cell = calogan_cells(energy)
    flat = np.concatenate([*(layer.reshape(N, -1) for layer in layers), np.ones((N, 3))], axis=1)
    columns = {f"cell_{number}": flat[:, number].astype(float) for number in range(507)}
    file = write_trees(path / "fancy.root", {"fancy_tree": columns | {"TotalEnergy": energy.astype(float)}})
    return Known(file, sum(layer.sum(dtype=float) for layer in layers), cell, extra_cells=3)


def clic_fixed(path):
    energy = energies_GeV()
    cells = cells_of((25, 25, 25), energy, (3, 4, 5))
    target = np.column_stack([np.full(N, 11), energy])
    file = write_hdf5(path / "EleEscan_1_2.h5", ECAL=cells / 1000, target=target, HCAL=np.zeros((N, 2, 2, 2)))
    layers = [{"shape": [25, 25], "cell_size_mm": [5.1, 5.1], "repeat": 25}]
    return Known(file, cells.sum(dtype=float), 5 * 625 + 3 * 25 + 4, layers=layers)


def clic_variable(path):
    n = 40
    energy = energies_GeV(n)
    cells = cells_of((51, 51, 25), energy, (3, 4, 5))
    theta = np.linspace(1, 2, n)
    file = write_hdf5(path / "RandomAngle.h5", ECAL=cells * 0.05, energy=energy, theta=theta, mtheta=theta)
    conditions = {"theta": {"column": "theta", "unit": "rad"}}
    cell = 5 * 51 * 51 + 3 * 51 + 4
    return Known(file, cells.sum(dtype=float), cell, n, conditions=conditions, stored_as=50)


def lhcb_columns(energy):
    momentum = momenta_GeV(energy)
    point = np.column_stack([np.linspace(-2, 2, N), np.linspace(3, -3, N), np.zeros(N)])
    return {"ParticlePoint": point, "ParticleMomentum": momentum, "ParticlePDG": np.resize([11, 22], N)}


ENERGY = {"energy": {"column": "energy", "unit": "GeV"}}
"""Of primaries that differ in nothing else."""
LHCB_CONDITIONS = {
    **{f"p{axis}": {"column": f"ParticleMomentum[{k}]", "unit": "GeV"} for k, axis in enumerate("xyz")},
    **{f"{axis}0": {"column": f"ParticlePoint[{k}]", "unit": "cm"} for k, axis in enumerate("xy")},
    "pdg": {"column": "ParticlePDG", "unit": "1"},
}


def lhcb_npz(path, shape=(30, 30, 1)):
    energy = energies_GeV()
    cells = cells_of((30, 30), energy, (4, 20))
    np.savez(path / "data.npz", EnergyDeposit=cells.reshape(N, *shape), **lhcb_columns(energy))
    return Known(path / "data.npz", cells.sum(dtype=float), 4 * 30 + 20, conditions=LHCB_CONDITIONS)


def lhcb_npz_flat(path):
    return lhcb_npz(path, (900,))


def lhcb_tree(path):
    energy = energies_GeV()
    cells = cells_of((30, 30, 2), energy, (4, 20, 1))
    columns = lhcb_columns(energy) | {"EnergyDeposit": ak.from_regular(ak.Array(cells.reshape(N, -1)))}
    columns["TotalEnergySci"] = cells.sum(axis=(1, 2, 3))
    file = write_trees(path / "ecal.root", {"ecalNT": columns})
    return Known(file, cells.sum(dtype=float), 4 * 30 + 20, conditions=LHCB_CONDITIONS, sum_layers=2)


def calochallenge_2(path):
    energy = energies_GeV()
    cells = cells_of((45, 16, 9), energy, (7, 3, 2))
    file = write_hdf5(
        path / "dataset_2_1.hdf5", showers=cells.reshape(N, -1), incident_energies=energy[:, None] * 1000
    )
    return Known(file, cells.sum(dtype=float), 7 * 144 + 3 * 9 + 2, readout_threshold_MeV=0.01515)


def calochallenge_1(path):
    energy = energies_GeV()
    cells = cells_of((368,), energy, (8 + 12,))
    file = write_hdf5(path / "photons.hdf5", showers=cells, incident_energies=energy[:, None] * 1000)
    return Known(file, cells.sum(dtype=float), 8 + 12, readout_threshold_MeV=1)


def calochallenge_1_binning(path):
    shapes = [(1, 8), (10, 16), (10, 19), (1, 5), (1, 5)]
    edges = [",".join(f"{5.5 * k:g}" for k in range(n_r + 1)) for _, n_r in shapes]
    layers = "".join(
        f'<Layer id="{number}" r_edges="{r}" n_bin_alpha="{shape[0]}"/>'
        for number, (shape, r) in enumerate(zip(shapes, edges, strict=True))
    )
    empty = '<Layer id="4" r_edges="0" n_bin_alpha="1"/>'
    xml = f'<Bins><Bin pid="22" name="photon">{layers}{empty}</Bin></Bins>'
    (path / "binning_dataset_1_photons.xml").write_text(xml)
    known = calochallenge_1(path)
    known.settings = {"radius_mm": 5.5 * 8}
    return known


def par04_hdf5(path):
    energy = energies_GeV()
    cells = cells_of((18, 50, 45), energy, (5, 6, 7))
    file = write_hdf5(path / "par04.h5", showers=cells, incident_energy=energy * 1000)
    return Known(file, cells.sum(dtype=float), 7 * 900 + 6 * 18 + 5)


def par04_root(path):
    energy = energies_GeV()
    cells = cells_of((6, 50, 3), energy, (5, 6, 2))  # z, phi, rho
    z, phi, rho, deposit = hits_of(list(cells.transpose(1, 0, 2, 3)))
    trees = {
        "global": {"EnergyMC": energy.astype(float) * 1000, "SimTime": np.ones(N)},
        "virtualReadout": {"EnergyCell": deposit, "rhoCell": rho, "phiCell": phi, "zCell": z},
        "physicalReadout": {"EnergyCell": deposit, "rhoCell": rho, "phiCell": phi, "zCell": z},
    }
    return Known(write_trees(path / "p.root", trees), cells.sum(dtype=float), 5 * 900 + 6 * 18 + 2)


def towers(n=N):
    """Energies of towers [MeV] (n, 72, 72), multiples of 1/64 GeV as of which floats are exact."""
    rng = np.random.default_rng(4)
    cells = 1000 / 64 * rng.integers(1, 640, (n, 72, 72)) * (rng.random((n, 72, 72)) < 0.02)
    cells[0] = 0
    cells[0, 10, 70] = 5000
    return cells


def tower_tree(cells, order):
    _, ieta, iphi, deposit = hits_of([cells / 1000])
    columns = {
        "event": np.arange(len(cells)),
        "ntower": ak.num(ieta).to_numpy().astype(np.int32),
        "tower_ieta": ak.values_astype(ieta, "int16"),
        "tower_iphi": ak.values_astype(iphi, "int16"),
        "tower_em": deposit / 4,
        "tower_had": deposit * 3 / 4,
    }
    return {name: values[order] for name, values in columns.items()}


def calotowers(path):
    cells = towers()
    file = write_trees(path / "fullsim_000.root", {"calotowers": tower_tree(cells, slice(None))})
    return Known(file, cells.sum(), 10 * 72 + 70)


def delphes_file(path, cells):
    _, ieta, iphi, deposit = hits_of([cells / 1000])
    columns = {
        "Event.Number": ak.Array(np.arange(len(cells))[:, None].tolist()),
        "Tower.Eta": ak.values_astype(-3.132 + 0.087 * (ieta + 0.5), "float32"),
        "Tower.Phi": ak.values_astype(-np.pi + np.pi / 36 * (iphi + 0.5), "float32"),
        "Tower.E": deposit,
        "Tower.Eem": deposit / 2,
        "Tower.Ehad": deposit / 2,
    }
    return write_trees(path, {"Delphes": columns})


def delphes(path):
    cells = towers()
    return Known(delphes_file(path / "delphes_000.root", cells), cells.sum(), 10 * 72 + 70)


def delphes_pair(path):
    cells = towers()
    fast = delphes_file(path / "delphes_000.root", 2 * cells)
    full = write_trees(path / "fullsim_000.root", {"calotowers": tower_tree(cells, slice(None, None, -1))})
    return Known([fast, full], cells.sum(), 10 * 72 + 70, reference_MeV=2 * cells.sum())


def histograms(path):
    cells = towers(40)
    edges = np.linspace(-3.132, 3.132, 73), np.linspace(-np.pi, np.pi, 73)
    for name, first, factor in (("delphes.root", 0, 2), ("geant.root", 1, 1)):
        with uproot.recreate(path / name) as file:
            for number, image in enumerate(cells):
                file[f"DQMData/calo_image_{number + first}"] = (factor * image, *edges)
    files = [path / "geant.root", path / "delphes.root"]
    return Known(files, cells.sum(), 10 * 72 + 70, 40, reference_MeV=2 * cells.sum())


def canonical(path, splits=SPLITS):
    outputs = {split: path / f"{split}.h5" for split in SPLITS} | {"record": path / "ingest.json"}
    config = validate(yaml.safe_load((ROOT / "config.yaml").read_text())).datasets["lhcb_ecal"]
    ingest(config, name="lhcb", files=SAMPLES[:1], **outputs)
    found = []
    for split in splits:
        with ShowerFile(outputs[split]) as file:
            found.append(file.read())
    n, total = sum(map(len, found)), sum(part.showers.sum(dtype=float) for part in found)
    conditions = {
        name: {"column": f"conditions/{name}", "unit": unit}
        for name, unit in {"px": "GeV", "py": "GeV", "pz": "GeV", "x0": "mm", "y0": "mm"}.items()
    }
    event = found[0].event[0] if splits == SPLITS else 0
    cell = found[0].showers[0].argmax()
    files = [outputs[split] for split in splits]
    return Known(files, total, cell, n, event, conditions=conditions, geometry=config.geometry)


def canonical_alone(path):
    return canonical(path, ("train",))


def generic_hits(path, ntuple=False):
    energy = energies_GeV()
    layers = [cells_of((4, 6), energy / 2, (0, 0)), cells_of((2, 3), energy / 2, (1, 2), seed=9)]
    layers[0][0] = 0
    columns = {"evt": np.arange(N), "E_true": energy, "theta": np.linspace(0, 40, N)}
    columns |= hit_columns(layers, ("hit_layer", "hit_ix", "hit_iy", "hit_edep"))
    file = write_trees(path / "mine.root", {"events": columns}, ntuple=ntuple)
    conditions = {"theta": {"column": "theta", "unit": "deg"}}
    shapes = [{"shape": [4, 6], "cell_size_mm": [1, 1]}, {"shape": [2, 3], "cell_size_mm": [1, 1]}]
    total = sum(layer.sum(dtype=float) for layer in layers)
    return Known(file, total, 24 + 3 + 2, conditions=conditions, layers=shapes)


def generic_hits_ntuple(path):
    return generic_hits(path, ntuple=True)


def generic_branches(path):
    energy = energies_GeV()
    cells = cells_of((16,), energy, (11,))
    columns = {f"c{number}": cells[:, number] for number in range(16)}
    file = write_trees(path / "wide.root", {"t": columns | {"energy": energy}})
    return Known(file, cells.sum(dtype=float), 11)


def generic_vector(path):
    energy = energies_GeV()
    cells = cells_of((5, 6), energy, (4, 3))
    file = write_trees(path / "vector.root", {"t": {"edep": cells, "energy": energy, "event": np.arange(N)}})
    return Known(file, cells.sum(dtype=float), 4 * 6 + 3)


def generic_array(path):
    """Cells in GeV, incident energies in MeV, both unsaid."""
    energy = energies_GeV()
    cells = cells_of((8, 8, 6), energy, (1, 2, 3))
    file = write_hdf5(path / "my data.h5", **{"a/image": cells / 1000, "a/energy": energy * 1000})
    return Known(file, cells.sum(dtype=float), 3 * 64 + 8 + 2, cell_energy_unit="GeV")


def generic_arrays(path):
    """One array per layer, in keV."""
    energy = energies_GeV()
    layers = [cells_of((4, 6), energy / 2, (0, 0)), cells_of((2, 3), energy / 2, (1, 2), seed=9)]
    layers[0][0] = 0
    arrays = {f"calo{number}": layer * 1000 for number, layer in enumerate(layers)}
    np.savez(path / "layers.npz", energy=energy, **arrays)
    total = sum(layer.sum(dtype=float) for layer in layers)
    return Known(path / "layers.npz", total, 24 + 3 + 2, cell_energy_unit="keV")


LAYOUTS = {
    described_stack: "ROOT tree of hit cells, its geometry in the metadata",
    described_periods: "ROOT tree of hit cells, its geometry in the metadata",
    calogan_fixed: "CaloGAN, HDF5, perpendicular incidence",
    calogan_variable: "CaloGAN, HDF5, varied incidence",
    calogan_tree: "CaloGAN, ROOT, perpendicular incidence",
    clic_fixed: "3DGAN, CLIC, fixed angle, HDF5",
    clic_variable: "3DGAN, CLIC, varied angle, HDF5",
    lhcb_npz: "LHCb electrons, npz",
    lhcb_npz_flat: "LHCb electrons, npz",
    lhcb_tree: "LHCb electrons, ROOT",
    calochallenge_1: "CaloChallenge, data set 1, photons",
    calochallenge_1_binning: "CaloChallenge, data set 1, photons",
    calochallenge_2: "CaloChallenge, data set 2",
    par04_hdf5: "Geant4 Par04, HDF5",
    par04_root: "Geant4 Par04, ROOT",
    calotowers: "calorimeter towers",
    delphes: "Delphes",
    delphes_pair: "Delphes, paired with full simulation",
    histograms: "a two-dimensional histogram per event",
    canonical: "canonical showers of caloforge (train, val, test of lhcb)",
    canonical_alone: "canonical showers of caloforge (train of lhcb)",
    generic_hits: "ROOT tree with lists of hit cells",
    generic_hits_ntuple: "ROOT tree with lists of hit cells",
    generic_branches: "ROOT tree with one branch per cell",
    generic_vector: "ROOT tree with a vector of cells",
    generic_array: "arrays",
    generic_arrays: "arrays, one per layer",
}


def printed(capsys, *arguments):
    """What the command prints on success."""
    assert main(["inspect", *map(str, arguments)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def data_sets(text):
    """The data sets of an entry, added to the configuration of the repository and validated with it."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    added = yaml.safe_load(text)["datasets"]
    config["datasets"] |= added
    valid = validate(config)
    return {name: valid.datasets[name] for name in added}


def ingested(directory, settings):
    outputs = {split: directory / "out" / f"{split}.h5" for split in SPLITS}
    files = {"files": source_files(settings), "paired": paired_files(settings)}
    files = {key: [Path(file) for file in paths] for key, paths in files.items()}
    ingest(settings, name="found", **files, **outputs, record=directory / "out/ingest.json")
    found = []
    for path in outputs.values():
        with ShowerFile(path) as file:
            found.append(file.read())
    return found


@pytest.mark.parametrize("write", LAYOUTS, ids=lambda write: write.__name__)
def test_entry_ingests_what_was_written(tmp_path, capsys, write):
    known = write(tmp_path)
    out = printed(capsys, *known.files)
    lines = out.splitlines()
    assert lines[1].partition(": ")[2] == LAYOUTS[write]
    assert any(line.strip().endswith(f": {known.n:,} events") for line in lines) or write is histograms
    assert "ingest" not in "".join(line for line in lines if line.startswith("!"))

    text = out[out.index("datasets:") :]
    ((_, settings),) = data_sets(text).items()
    found = ingested(tmp_path, settings)
    assert sum(len(part) for part in found) == known.n
    assert sum(part.showers.sum(dtype=float) for part in found) == pytest.approx(known.total_MeV, rel=1e-5)
    rows = [part.showers[part.event == known.event] for part in found]
    (first,) = np.concatenate(rows)
    assert first.argmax() == known.cell
    if write not in (canonical, canonical_alone):
        assert np.count_nonzero(first) == 1

    entry = yaml.safe_load(text)["datasets"].popitem()[1]
    for key, expected in known.settings.items():
        if key == "layers":
            assert entry["geometry"]["layers"] == expected
        elif key == "values":
            for name, values in expected.items():
                stored = {
                    event: value
                    for part in found
                    for event, value in zip(part.event.tolist(), part.conditions[name], strict=True)
                }
                np.testing.assert_allclose([stored[event] for event in range(known.n)], values, rtol=1e-5)
        elif key == "reference_MeV":
            total_MeV = sum(part.reference.sum(dtype=float) for part in found)
            assert total_MeV == pytest.approx(expected, rel=1e-5)
        elif key == "geometry":
            assert settings.geometry == expected
        elif key == "radius_mm":
            assert settings.geometry.layers[0].r_edges_mm[-1] == expected
        else:
            assert (entry | entry["source"])[key] == expected


# ---- the numbers and remarks


def test_numbers_are_those_of_the_file(capsys):
    lines = printed(capsys, SAMPLES[0]).splitlines()
    shown = {line[:18].strip(): line[18:].strip() for line in lines}
    with uproot.open(SAMPLES[0]) as file:
        data = file["showers"].arrays()
    cells = ak.flatten(data.cell_energy).to_numpy()
    fraction = np.quantile(ak.sum(data.cell_energy, axis=1) / (data.energy * 1000), [0.01, 0.5, 0.99])
    assert shown["visible fraction"] == "{1:.3g}, 98 % of the events between {0:.3g} and {2:.3g}".format(
        *fraction
    )
    assert shown["incident energy"].startswith(f"{ak.min(data.energy):.4g} to {ak.max(data.energy):.4g} GeV")
    assert shown["zero cells"].startswith(f"{1 - len(cells) / 900_000:.2%}")
    assert shown["cells with energy"].startswith(f"{cells.min():.3g} to {cells.max():.3g} MeV")
    assert shown["condition px"] == f"{ak.min(data.px):.4g} to {ak.max(data.px):.4g} GeV"
    assert shown["cell energies in"] == "MeV (stated in the metadata)"
    entry = yaml.safe_load("\n".join(lines[lines.index("datasets:") :]))["datasets"]["lhcb_ecal_e"]
    assert np.mean(cells <= entry["readout_threshold_MeV"]) == pytest.approx(0.1, abs=0.03)
    assert entry["axis_check"] == {"x": ["px", "pz"], "y": ["py", "pz"]}


def remarks(text):
    return [line.removeprefix("! ") for line in text.splitlines() if line.startswith("! ")]


def test_files_of_one_structure_are_one_data_set(capsys):
    text = printed(capsys, "--yaml", *SAMPLES, SAMPLES[0])
    ((name, settings),) = data_sets(text).items()
    assert name == "lhcb_ecal_e"
    assert source_files(settings) == [str(file) for file in SAMPLES]


def test_other_files_are_other_data_sets(tmp_path, capsys):
    files = [*generic_vector(tmp_path).files, SAMPLES[0], *generic_array(tmp_path).files]
    found = data_sets(printed(capsys, "--yaml", *files))
    assert [source_files(settings) for settings in found.values()] == [[str(file)] for file in files]


def test_wrong_units_are_noticed_and_corrected(tmp_path, capsys):
    columns = {
        "event": np.arange(N),
        "energy": energies_GeV(),
        **hit_columns([cells_of((5, 5), energies_GeV(), (1, 1))]),
    }
    metadata = {"face_mm": 5, "stacks": [{"n": 1, "nx": 5, "ny": 5}], "units": "cell_energy GeV"}
    file = write_trees(tmp_path / "wrong.root", {"showers": columns}, metadata)
    text = printed(capsys, file)
    assert (
        "cell energies look like MeV, not GeV: 0.2 of the incident energy is visible then, in GeV 2e+02"
        in text
    )
    assert "cell_energy_unit: MeV # guessed: 0.2 of" in text


def test_what_ingest_would_refuse_is_said(tmp_path, capsys):
    columns = {
        "event": np.zeros(N, int),
        "energy": energies_GeV(),
        **hit_columns([cells_of((5, 5), energies_GeV(), (1, 1))]),
    }
    columns["energy"][7] = np.nan
    text = printed(capsys, write_trees(tmp_path / "nan.root", {"showers": columns}))
    (remark,) = [remark for remark in remarks(text) if remark.startswith("ingest")]
    assert "entry 7 (event 0), branch energy: nan found, expected a finite number" in remark
    assert data_sets(printed(capsys, "--yaml", tmp_path / "nan.root"))


def test_repeated_event_numbers_are_noticed(tmp_path, capsys):
    file = generic_vector(tmp_path).files[0]
    (tmp_path / "copy.root").write_bytes(file.read_bytes())
    text = printed(capsys, file, tmp_path / "copy.root")
    assert any(remark.startswith("event number 0 occurs more than once") for remark in remarks(text))


def test_swapped_axes_are_noticed(tmp_path, capsys):
    with uproot.open(SAMPLES[0]) as file:
        arrays, metadata = file["showers"].arrays(), json.loads(str(file["metadata"]))
    columns = {name: arrays[name] for name in arrays.fields if name != "ncell"}
    columns |= {"cell_x": columns["cell_y"], "cell_y": columns["cell_x"]}
    text = printed(capsys, write_trees(tmp_path / "swapped.root", {"showers": columns}, metadata))
    assert any("axis_check: x and y look swapped" in remark for remark in remarks(text))
    assert "axis_check:" not in text[text.index("datasets:") :]


def test_placeholders_have_to_be_filled_in(tmp_path, capsys):
    text = printed(capsys, *generic_vector(tmp_path).files)
    assert "FILL IN the size of a cell, 1 mm is a placeholder" in text[text.index("datasets:") :]
    assert any("FILL IN" in remark for remark in remarks(text))


def test_pickled_arrays_are_not_opened(tmp_path, capsys):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    deposit = np.empty(2, dtype=object)
    deposit[:] = [Trap(), Trap()]
    np.savez(tmp_path / "data.npz", EnergyDeposit=deposit, ParticleMomentum=deposit, ParticlePoint=deposit)
    text = printed(capsys, tmp_path / "data.npz")
    assert "allow_pickle: false # pickled objects can run any code" in text
    assert not (tmp_path / "sprung").exists()


# ---- other files


def test_own_results_are_named(tmp_path, capsys):
    train = canonical(tmp_path).files[0]
    observe(train, readout_threshold_MeV=0.5, output=tmp_path / "observables.h5", record=tmp_path / "o.json")
    content = {key: {} for key in ("settings", "geometry", "preprocessing", "weights")} | {
        "kind": "conditional_wgan"
    }
    checkpoint.save(tmp_path / "checkpoint.pt", content)
    assert "observables of caloforge" in printed(capsys, tmp_path / "observables.h5")
    assert "checkpoint of caloforge: a trained conditional_wgan" in printed(
        capsys, tmp_path / "checkpoint.pt"
    )
    assert main(["inspect", "--yaml", str(tmp_path / "observables.h5")]) == 1
    assert "observables.h5: observables of caloforge" in capsys.readouterr().err


def test_a_pickle_in_a_checkpoint_is_not_run(tmp_path, capsys):
    import pickle

    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    with zipfile.ZipFile(tmp_path / "trap.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"kind": Trap()}))
    assert "file of PyTorch" in printed(capsys, tmp_path / "trap.pt")
    assert not (tmp_path / "sprung").exists()


def test_one_side_of_images_needs_the_other(tmp_path, capsys):
    known = histograms(tmp_path)
    assert "name the files of the other simulation as well" in printed(capsys, known.files[0])
    assert main(["inspect", "--yaml", str(known.files[0])]) == 1
    assert "no entry for config.yaml" in capsys.readouterr().err


def test_unknown_layouts_are_described(tmp_path, capsys):
    write_trees(tmp_path / "x.root", {"limits": {"mass": np.arange(5.0)}})
    text = printed(capsys, tmp_path / "x.root")
    assert "ROOT: unknown layout" in text
    assert "mass  double" in text
    write_hdf5(tmp_path / "x.h5", text=np.array([b"a", b"b"]))
    assert "HDF5: unknown layout" in printed(capsys, tmp_path / "x.h5")


def test_lists_of_other_integers_are_no_indices(tmp_path, capsys):
    hits = hit_columns([cells_of((4, 6), energies_GeV(), (0, 0))])
    ids = ak.values_astype(hits["cell_x"], "int64")
    columns = {
        "hit_id": ids + 2**40,
        "hit_a": ids - 1,
        "hit_ix": ids,
        "hit_iy": ids,
        "e": hits["cell_energy"],
    }
    text = printed(capsys, write_trees(tmp_path / "ids.root", {"hits": columns}))
    assert "cells: {layer: null, x: hit_ix, y: hit_iy, energy: e, count: null}" in text
    columns = {"hit_id": ids + 2**40, "hit_ix": ids, "e": hits["cell_energy"]}
    assert "unknown layout" in printed(capsys, write_trees(tmp_path / "no.root", {"hits": columns}))


def test_settings_that_cannot_be_are_a_remark(tmp_path, capsys):
    file = canonical_alone(tmp_path).files[0]
    with h5py.File(file, "a") as content:
        content["conditions/px"].attrs["unit"] = "furlong"
    text = printed(capsys, file)
    assert any("no data set can be like this: conditions.px.unit" in remark for remark in remarks(text))
    assert "datasets:" not in text


BAD_FILES = {
    "text": (b"event,energy\n1,2\n", r"unknown kind of file: begins with b'event,en', expected ROOT"),
    "empty": (b"", "unknown kind of file: it is empty"),
    "ROOT cut": (SAMPLES[0].read_bytes()[:1000], "truncated: 1000 bytes found"),
    "ROOT header": (b"root" + bytes(500), "ROOT file without content: empty or damaged"),
    "ROOT garbage": (SAMPLES[0].read_bytes()[:100] + b"\7" * 500_000, "damaged, cannot be read as ROOT"),
    "HDF5 garbage": (b"\x89HDF\r\n\x1a\n" + bytes(500), "damaged, cannot be read as HDF5"),
    "zip garbage": (b"PK\x03\x04" + bytes(500), "damaged, cannot be read as zip archive"),
}


def fails(capsys, *arguments):
    assert main(["inspect", *map(str, arguments)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize("case", BAD_FILES)
def test_unreadable_files_are_one_line(tmp_path, capsys, case):
    content, message = BAD_FILES[case]
    (tmp_path / "bad").write_bytes(content)
    assert f"{tmp_path / 'bad'}: {message}" in fails(capsys, SAMPLES[0], tmp_path / "bad")


def test_missing_files_and_folders(tmp_path, capsys):
    assert "none.root: cannot be read: No such file" in fails(capsys, tmp_path / "none.root")
    assert "cannot be read: Is a directory" in fails(capsys, tmp_path)


def test_cut_files_end_in_one_line_or_a_remark(tmp_path, capsys):
    for write in (calogan_fixed, lhcb_npz):
        content = write(tmp_path).files[0].read_bytes()
        for share in (0.3, 0.9, 0.999):
            path = tmp_path / "cut"
            path.write_bytes(content[: int(share * len(content))])
            assert str(path) in fails(capsys, path)


# ---- the command


def test_hostile_file_names_stay_what_they_are(tmp_path, capsys):
    names = ["with space", "it's", 'a"b', "a: b", "- #x", "[1] {y}", "line\nbreak", "null", "ü é", "\udcff"]
    file = calogan_fixed(tmp_path).files[0]
    copies = [tmp_path / name for name in names]
    for copy in copies:
        os.link(file, copy)
    printed(capsys, *copies)
    ((_, settings),) = data_sets(printed(capsys, "--yaml", *copies)).items()
    assert source_files(settings) == sorted(map(str, copies))


def command(*arguments, **options):
    script = Path(sys.executable).with_name("caloforge")
    return subprocess.run([script, *map(str, arguments)], capture_output=True, text=True, **options)


def test_command_says_version_and_help():
    assert command("--version").stdout.startswith("caloforge 0.")
    assert "inspect" in command("--help").stdout
    assert "FILE" in command("inspect", "--help").stdout
    wrong = command("inspekt")
    assert (wrong.returncode, "Traceback" in wrong.stderr) == (2, False)


def test_command_needs_no_terminal_and_no_torch(tmp_path):
    done = command("inspect", SAMPLES[0])
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    code = "import sys; from caloforge.cli import main; main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code, "inspect", SAMPLES[0]], capture_output=True)
    assert loaded.returncode == 0


def test_command_ends_quietly_when_its_reader_does():
    script = Path(sys.executable).with_name("caloforge")
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([script, "inspect", SAMPLES[0]], stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")
