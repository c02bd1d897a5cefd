"""ROOT histograms, one image per event, of a fast simulation and of the full one of the same events."""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import uproot
from uproot.behaviors.TH2 import TH2

from caloforge.config.dataset import DatasetSettings
from caloforge.errors import CaloforgeError
from caloforge.ingest.batch import (
    CELL_ENERGY,
    EVERY_FILE,
    Batch,
    SourceFile,
    batch_events,
    cell_energies_MeV,
)
from caloforge.ingest.columns import alternatives
from caloforge.ingest.pairing import Events, pair
from caloforge.ingest.root import check_header, open_root
from caloforge.showers import Showers
from caloforge.units import unit_factor

EDGE_TOLERANCE = 1e-3
"""Largest difference between the edge of a bin and that of its pixel, as their axis counts."""

check_file = check_header


def read(
    settings: DatasetSettings, files: Sequence[Path], paired: Sequence[Path], own: range = EVERY_FILE
) -> Iterator[Batch]:
    """Read the images of the fast simulation in batches, by their numbers, each with its full partner.

    The x axis of a histogram is eta, its y axis phi; underflow and overflow are left out. The number of an
    event is that of its fast image, its full image has the number `full_number_minus_fast` above (layout of
    the images of E. Simsek et al., CALPAGAN: Calorimetry for Particles using GANs).
    """
    fast = _Images(settings, "fast", files, 0)
    full = _Images(settings, "full", paired, settings.source.full_number_minus_fast)
    pairs = pair(fast.events, full.events, settings.source.unmatched)
    counts = dict(pairs.counts) if 0 in own else {}
    spans = list(pairwise(fast.events.first.tolist()))
    for number in own[: len(files)]:
        path, where, (first, end) = files[number], fast.events.where[number], spans[number]
        for index in range(first, end, batch_events(settings)):
            partner = pairs.partner[index : min(index + batch_events(settings), end)]
            kept = np.flatnonzero(partner >= 0)
            images = fast.read_MeV(index + kept), full.read_MeV(partner[kept])
            convert = partial(_showers, fast.events.number[index + kept], *images)
            file = SourceFile(path, end - first)
            yield Batch(file, where, index - first, convert, counts.copy, kept)
            counts = {}


def _showers(event: np.ndarray, fast_MeV: np.ndarray, full_MeV: np.ndarray) -> Showers:
    incident_MeV = fast_MeV.sum(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    return Showers(full_MeV, incident_MeV, {}, event, reference=fast_MeV)


class _Images:
    """The images of one simulation, in the order of its files and of their numbers in a file.

    Attributes
    ----------
    events
        Their numbers, less `number_minus_event`.
    """

    def __init__(
        self,
        settings: DatasetSettings,
        simulation: Literal["fast", "full"],
        files: Sequence[Path],
        number_minus_event: int,
    ) -> None:
        self._settings, self._files = settings, files
        self._names: list[str] = []
        numbers = {}
        for path in files:
            found, names = zip(*_find_images(path, settings.source.images), strict=True)
            self._names += names
            where = f"{path}: histograms {settings.source.images}"
            numbers[where] = np.array(found, dtype=np.int64) - number_minus_event
        self.events = Events.of(simulation, numbers)

    def read_MeV(self, indices: np.ndarray) -> np.ndarray:
        """The images with these indices [MeV]: float32, shape (n, V)."""
        layer = self._settings.geometry.layers[0]
        images = np.empty((len(indices), *layer.shape), dtype=np.float32)
        file = self.events.file(indices)
        for number in np.unique(file).tolist():
            with open_root(self._files[number]) as root:
                for row in np.flatnonzero(file == number).tolist():
                    images[row] = self._image_MeV(root, self._files[number], indices[row])
        return images.reshape(len(indices), layer.n_cells)

    def _image_MeV(self, root: uproot.ReadOnlyDirectory, path: Path, index: int) -> np.ndarray:
        """One image, checked [MeV]: float32, shape (n_eta, n_phi)."""
        name, layer = self._names[index], self._settings.geometry.layers[0]
        where = f"{path}: histogram {name} (event {self.events.number[index]})"
        histogram = root[name]
        if not isinstance(histogram, TH2):
            raise CaloforgeError(f"{where}: {root.classname_of(name)} found, expected a TH2")
        for axis, coordinate in enumerate(("eta", "phi")):
            found, expected = histogram.axis(axis).edges(), layer.edges(axis)
            if len(found) != len(expected):
                raise CaloforgeError(
                    f"{where}, {'xy'[axis]} axis: {len(found) - 1} bins found, "
                    f"expected {len(expected) - 1} in {coordinate}"
                )
            different = np.abs(found - expected) > EDGE_TOLERANCE
            if different.any():
                edge = int(different.argmax())
                raise CaloforgeError(
                    f"{where}, {'xy'[axis]} axis: edge {found[edge]:.6g} found, "
                    f"expected {expected[edge]:.6g} in {coordinate}"
                )
        found = histogram.values()
        energy_MeV, bad = cell_energies_MeV(found, unit_factor(self._settings.source.cell_energy_unit, "MeV"))
        if bad.any():
            pixel = tuple(np.argwhere(bad)[0].tolist())
            raise CaloforgeError(f"{where}, pixel {pixel}: {found[pixel]} found, expected {CELL_ENERGY}")
        return energy_MeV


def _find_images(path: Path, pattern: str) -> list[tuple[int, str]]:
    """Number and name of each image in a file, sorted."""
    folder, slash, name = pattern.rpartition("/")
    before, after = map(re.escape, name.split("*"))
    with open_root(path) as root:
        if slash and folder not in root:
            raise CaloforgeError(f"{path}: no folder {folder}{alternatives(folder, root.keys(cycle=False))}")
        names = set((root[folder] if slash else root).keys(recursive=False, cycle=False))
    matches = (re.fullmatch(f"{before}([0-9]{{1,18}}){after}", name) for name in names)
    images = sorted((int(match[1]), f"{folder}{slash}{match[0]}") for match in matches if match)
    if not images:
        raise CaloforgeError(f"{path}: no histogram {pattern}{alternatives(name, names)}")
    return images
