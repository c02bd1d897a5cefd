"""Frozen showers: for each primary the most similar shower of the training set, scaled to its energy.

Experiments replace showers by those of a library: E. Barberio et al., Fast shower simulation in the ATLAS
calorimeter, J. Phys.: Conf. Ser. 119 (2008) 032008.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.spatial import KDTree

from caloforge.baselines.primaries import (
    MOMENTUM,
    PARTICLE,
    has_direction,
    of_each_particle,
    read_primaries,
    unknown_particle,
)
from caloforge.baselines.samples import Baseline, write_samples
from caloforge.showers import CHUNK_BYTES, ShowerFile, Showers

_BLOCK_CELLS = 1 << 24
"""Cells generated at a time."""
_READ_CELLS = CHUNK_BYTES // 4
"""Cells of the training set read at a time, about a chunk of the file."""


def generate(
    *, train: Path, test: Path, output: Path, record: Path, readout_threshold_MeV: float, seed: int
) -> None:
    """Generate with `ShowerLibrary`; see `samples.write_samples`. Nothing is random."""
    write_samples(
        ShowerLibrary,
        train=train,
        test=test,
        output=output,
        record=record,
        readout_threshold_MeV=readout_threshold_MeV,
        seed=seed,
    )


class _Particle(NamedTuple):
    """Showers of one particle type: rows of the training set, shape (n,), and a tree of their features."""

    rows: np.ndarray
    tree: KDTree


class ShowerLibrary(Baseline):
    """The training set, searched by the conditions of showers.

    The nearest shower is that of the same particle type with the smallest Euclidean distance in ln(energy)
    and the other conditions, each over its standard deviation in the training set; px/pz and py/pz stand for
    px, py and pz. All its cells are multiplied by the ratio of the incident energies. The time per shower
    includes reading the library, which stays on the disk.

    Parameters
    ----------
    file
        Canonical showers of the training set; stays open while showers are generated.
    readout_threshold_MeV, seed
        Not used: of other baselines.

    Raises
    ------
    CaloforgeError
        If the file has a value that is none of a primary.
    """

    def __init__(self, file: ShowerFile, readout_threshold_MeV: float, seed: int) -> None:  # noqa: ARG002
        self._file = file
        self.block_showers = max(1, _BLOCK_CELLS // file.geometry.n_cells)
        self._read_showers = max(1, _READ_CELLS // file.geometry.n_cells)
        features, energies_MeV, rows = [], [], {}
        first = 0
        for block in file.image_blocks(self._read_showers, "showers"):
            features.append(_features(block, file))
            energies_MeV.append(block.incident_energies)
            for code, of_code in of_each_particle(block):
                rows.setdefault(code, []).append(first + of_code)
            first += len(block)
        columns = np.concatenate(features)
        self._energies_MeV = np.concatenate(energies_MeV)
        self._scale = np.where(np.ptp(columns, axis=0) > 0, columns.std(axis=0), 1.0)
        self._scale[0] = 1.0
        self._particles = {}
        for code, of_code in sorted(rows.items()):
            chosen = np.concatenate(of_code)
            self._particles[code] = _Particle(chosen, KDTree(columns[chosen] / self._scale))
        self.parameters = {"showers": len(file)}

    def showers_MeV(self, requested: Showers, file: ShowerFile, first: int) -> np.ndarray:  # noqa: ARG002
        """See `Baseline`."""
        features = _features(requested, file) / self._scale
        nearest = np.empty(len(requested), np.intp)
        for code, rows in of_each_particle(requested):
            if code not in self._particles:
                raise unknown_particle(requested, code, file, self._particles)
            particle = self._particles[code]
            nearest[rows] = particle.rows[particle.tree.query(features[rows])[1]]
        scale = requested.incident_energies / self._energies_MeV[nearest]
        return self._cells_MeV(nearest) * scale

    def _cells_MeV(self, rows: np.ndarray) -> np.ndarray:
        """Cells of showers of the library [MeV], each part of its file read at most once: shape (n, V)."""
        cells_MeV = np.empty((len(rows), self._file.geometry.n_cells), np.float32)
        parts = rows // self._read_showers
        for part in np.unique(parts):
            start = part * self._read_showers
            block = self._file.read(start, min(start + self._read_showers, len(self._file)))
            wanted = np.flatnonzero(parts == part)
            cells_MeV[wanted] = block.showers[rows[wanted] - start]
        return cells_MeV


def _features(block: Showers, file: ShowerFile) -> np.ndarray:
    """Logarithm of the incident energy and the conditions beside it, as they come: shape (n, k)."""
    primaries = read_primaries(block, file)
    left_out = {"energy", PARTICLE, *(MOMENTUM if has_direction(file) else ())}
    columns = [values for name, values in block.conditions.items() if name not in left_out]
    slopes = primaries.slopes.T if has_direction(file) else ()
    return np.stack([np.log(primaries.energy_GeV), *slopes, *columns], axis=1).astype(np.float64)
