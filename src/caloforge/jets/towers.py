"""The towers of Delphes as particles."""

from collections.abc import Sequence
from pathlib import Path

import awkward as ak
import numpy as np

from caloforge.config.dataset import DatasetSettings
from caloforge.errors import CaloforgeError
from caloforge.ingest.formats.delphes import read_towers
from caloforge.jets.particles import directions, massless_particles


class TowerParticles:
    """Particles of events from the towers of their source files, which are read once and in batches.

    A tower is a massless particle in the direction that the file gives, in the order of the file; those
    outside the grid and those at or below the readout threshold are none.

    Parameters
    ----------
    settings
        Of the data set, of the format delphes.
    files
        Its files, in the order in which they were ingested.
    """

    def __init__(self, settings: DatasetSettings, files: Sequence[Path | str]) -> None:
        self._threshold_MeV = settings.readout_threshold_MeV
        self._where = " to ".join(dict.fromkeys(str(file) for file in (files[0], files[-1])))
        self._batches = read_towers(settings, files)
        self._event, self._towers = np.empty(0, np.int64), None

    def __call__(self, event: np.ndarray) -> ak.Array:
        """Particles of the events with these numbers, `n * var * {px, py, pz, E}` [GeV].

        Parameters
        ----------
        event
            Event numbers, shape (n,), in the order of the files and behind those of the call before.

        Raises
        ------
        CaloforgeError
            If the files do not have them, or not in this order.
        """
        parts, found = [], 0
        while True:
            rows = np.flatnonzero(np.isin(self._event, event))
            in_order = np.array_equal(self._event[rows], event[found : found + len(rows)])
            if len(rows) and in_order:
                parts.append(self._towers[rows])
                found += len(rows)
            if found == len(event):
                break
            batch = next(self._batches, None)
            if batch is None or not in_order:
                raise CaloforgeError(
                    f"{self._where}: event {event[found]} is missing or elsewhere, "
                    "expected the events of the canonical file in their order"
                )
            self._event, self._towers = batch
        towers = ak.concatenate(parts)
        towers = towers[towers.energy_MeV > self._threshold_MeV]
        energy_MeV, eta, phi = (
            ak.to_numpy(ak.flatten(towers[name])).astype(np.float64) for name in ("energy_MeV", "eta", "phi")
        )
        return massless_particles(ak.to_numpy(ak.num(towers)), energy_MeV / 1000, directions(eta, phi))
