"""What the comparison of showers in regular grids keeps of each sample, in one pass over its file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from caloforge.evaluation.observables import Observables, mean_and_error
from caloforge.figures.comparison import Estimates
from caloforge.observables import block_showers
from caloforge.observables.shapes import histograms
from caloforge.showers import ShowerFile, read_out

SPECTRUM_EDGES_MEV = np.logspace(-3, 6, 91)
"""Of the spectrum of cell energies: ten bins per decade from 1e-6 GeV, where F. Rehm et al. (2021) begin."""


@dataclass(frozen=True)
class Selection:
    """Which showers of a file are looked at, and what for.

    Attributes
    ----------
    rows
        Row numbers in the file, increasing, shape (n,).
    in_core, picked
        Those whose core is kept and those that are kept as a whole: bool, shape (n,).
    """

    rows: np.ndarray
    in_core: np.ndarray
    picked: np.ndarray


@dataclass(frozen=True)
class GridSample:
    """What is kept of n showers, after the readout threshold but for the spectrum.

    Attributes
    ----------
    energy_GeV
        Incident energies [GeV], shape (n,).
    slices_MeV
        Energy in each slice along x, along y and along z [MeV], float32, shapes (n, slices).
    spectrum
        Mean number of cells per shower in the bins of `SPECTRUM_EDGES_MEV`, before the readout threshold.
    core_MeV
        Cells in the core of the showers that `Selection.in_core` names [MeV], shape (showers, cells).
    picked_MeV
        The showers that `Selection.picked` names [MeV], shape (showers, layers, nx, ny).
    """

    energy_GeV: np.ndarray
    slices_MeV: tuple[np.ndarray, np.ndarray, np.ndarray]
    spectrum: Estimates
    core_MeV: np.ndarray
    picked_MeV: np.ndarray

    def __len__(self) -> int:
        return len(self.energy_GeV)


def gather(
    path: Path, observables: Observables, selection: Selection, core: tuple[slice, slice, slice]
) -> GridSample:
    """Read a file of showers block by block.

    Parameters
    ----------
    path
        Canonical shower file.
    observables
        Those of the very same showers.
    selection
        What to keep.
    core
        Layers, cells along x and cells along y of the core.

    Raises
    ------
    CaloforgeError
        If the file cannot be read.
    """
    geometry, threshold_MeV = observables.geometry, observables.readout_threshold_MeV
    shape = len(geometry.layers), *geometry.layers[0].shape
    n = len(selection.rows)
    slices_MeV = tuple(np.empty((n, shape[axis]), np.float32) for axis in (1, 2, 0))
    core_MeV = np.empty((selection.in_core.sum(), *(part.stop - part.start for part in core)), np.float32)
    picked_MeV = np.empty((selection.picked.sum(), *shape), np.float32)
    cells, squares = np.zeros((2, len(SPECTRUM_EDGES_MEV) - 1))
    with ShowerFile(path) as file:
        first, step = 0, block_showers(geometry)
        for start in range(0, len(file), step):
            stop = min(start + step, len(file))
            last = np.searchsorted(selection.rows, stop)
            if last == first:
                continue
            block = file.read(start, stop)
            part = slice(first, last)
            showers_MeV = block.showers[selection.rows[part] - start]
            counts = _spectra(showers_MeV)
            cells += counts.sum(axis=0)
            squares += (counts**2).sum(axis=0)
            grid_MeV = read_out(showers_MeV, threshold_MeV).reshape(-1, *shape)
            for kept, summed in zip(slices_MeV, ((1, 3), (1, 2), (2, 3)), strict=True):
                kept[part] = grid_MeV.sum(axis=summed, dtype=np.float64)
            _put(core_MeV, grid_MeV[(slice(None), *core)], selection.in_core, part)
            _put(picked_MeV, grid_MeV, selection.picked, part)
            first = last
    return GridSample(
        observables.incident_energy_GeV[selection.rows],
        slices_MeV,
        mean_and_error(n, cells, squares, n),
        core_MeV.reshape(len(core_MeV), -1),
        picked_MeV,
    )


def _spectra(showers_MeV: np.ndarray) -> np.ndarray:
    """Number of cells per bin of `SPECTRUM_EDGES_MEV`, shape (n, bins); the last one has those beyond."""
    shower, cell = np.nonzero(showers_MeV >= SPECTRUM_EDGES_MEV[0])
    inner_edges_MeV = SPECTRUM_EDGES_MEV[1:-1]
    bin_ = np.searchsorted(inner_edges_MeV, showers_MeV[shower, cell], side="right")
    return histograms(shower, bin_, len(showers_MeV), len(SPECTRUM_EDGES_MEV) - 1)


def _put(kept: np.ndarray, values: np.ndarray, is_kept: np.ndarray, part: slice) -> None:
    """Put those of `values`, which belong to the showers in `part`, where they belong among the kept ones."""
    start = np.count_nonzero(is_kept[: part.start])
    chosen = is_kept[part]
    kept[start : start + np.count_nonzero(chosen)] = values[chosen]
