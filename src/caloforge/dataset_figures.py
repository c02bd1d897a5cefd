"""The pictures of a data set: what a physicist looks at before training on it."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from matplotlib.colors import Normalize

from caloforge.atomic import atomic_path
from caloforge.config.stages import FigureSettings
from caloforge.errors import CaloforgeError
from caloforge.figures import dataset
from caloforge.figures.album import Drawn, save_album
from caloforge.figures.dataset import FAST, FULL, Histogram
from caloforge.figures.edges import linear_edges, logarithmic_edges
from caloforge.figures.layers import energy_norm, maps, stack
from caloforge.figures.showers import average_image
from caloforge.figures.style import figure_style
from caloforge.geometry import Geometry
from caloforge.provenance import recorded
from caloforge.showers import ShowerFile, Showers, read_out

BLOCK_CELLS = 1 << 20
"""Cells held in memory at a time."""
SPECTRUM_EDGES_MEV = np.logspace(-6, 9, 151)
"""Of the spectrum of cell energies: ten bins per decade, up to more than ingest lets pass."""
RESPONSE_RANGES, PROFILE_RANGES, BINS = 20, 4, 40


def draw_dataset(
    figures: FigureSettings,
    *,
    readout_threshold_MeV: float,
    has_primaries: bool,
    showers: Path,
    ingest: Path,
    figure_directory: Path,
    record: Path,
) -> None:
    """Draw a data set from its showers, which stream past block by block.

    Parameters
    ----------
    figures
        Style of the figures.
    readout_threshold_MeV
        Cells at or below it count as empty [MeV].
    has_primaries
        Whether each event is the shower of one primary, and not a collision.
    showers
        Canonical shower file.
    ingest
        Record of the ingest that wrote it, with the ranges of energies and conditions.
    figure_directory, record
        Output: figures (SVG) with index.json, and what made them (JSON).

    Raises
    ------
    CaloforgeError
        If the file cannot be read or holds no showers, or the record does not belong to it.
    """
    settings = {
        "figures": figures.model_dump(mode="json"),
        "readout_threshold_MeV": readout_threshold_MeV,
        "has_primaries": has_primaries,
    }
    with (
        ShowerFile(showers) as source,
        recorded(
            record,
            stage="draw_dataset",
            inputs=[showers, ingest],
            outputs=[figure_directory],
            settings=settings,
        ),
    ):
        if not len(source):
            raise CaloforgeError(f"{showers}: holds no showers, expected at least one")
        sums = _Sums(source, *_ranges(ingest, source), readout_threshold_MeV)
        for block in source.blocks(max(1, BLOCK_CELLS // source.geometry.n_cells)):
            sums.add(block)
        with atomic_path(figure_directory) as directory, figure_style(figures):
            save_album(_draw(sums, source, has_primaries), directory, label="")


def _ranges(
    ingest: Path, source: ShowerFile
) -> tuple[tuple[float, float], Mapping[str, tuple[float, float]]]:
    """Lowest and highest incident energy [GeV] and value of each condition."""
    try:
        summary = json.loads(ingest.read_text(encoding="utf-8"))["summary"]
        conditions = {name: tuple(summary["conditions"][name]["range"]) for name in source.units}
        return tuple(summary["incident_energy_GeV"]), conditions
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CaloforgeError(
            f"{ingest}: ranges of the energies and conditions of {source.path} expected: {error!r}"
        ) from None


class _CellSums:
    """Sums over the events of one simulation."""

    def __init__(self, n_cells: int, readout_threshold_MeV: float) -> None:
        self._threshold_MeV = readout_threshold_MeV
        self.energy_MeV = np.zeros(n_cells)
        self.hits = np.zeros(n_cells, np.int64)
        self.showers_by_hits = np.zeros(n_cells + 1, np.int64)
        self.spectrum = np.zeros(len(SPECTRUM_EDGES_MEV) - 1, np.int64)

    def add(self, energies_MeV: np.ndarray) -> np.ndarray:
        """Take in cell energies [MeV], shape (n, V), and return them as they are read out."""
        self.spectrum += np.histogram(energies_MeV[energies_MeV > 0], SPECTRUM_EDGES_MEV)[0]
        kept_MeV = read_out(energies_MeV, self._threshold_MeV)
        is_hit = kept_MeV > 0
        self.energy_MeV += kept_MeV.sum(axis=0, dtype=np.float64)
        self.hits += is_hit.sum(axis=0)
        self.showers_by_hits += np.bincount(is_hit.sum(axis=1), minlength=len(self.showers_by_hits))
        return kept_MeV


class _EnergySums:
    """Sums over the events in each of `BINS` ranges of the incident energy."""

    def __init__(self, edges_GeV: np.ndarray, n_layers: int) -> None:
        self.edges_GeV = edges_GeV
        self.n = np.zeros(BINS, np.int64)
        self.ratio_moments = np.zeros((3, BINS))
        self.layers_MeV = np.zeros((BINS, n_layers))

    def add(self, energy_GeV: np.ndarray, layers_MeV: np.ndarray) -> None:
        """Take in the incident energy of events [GeV], (n,), and what each layer saw [MeV], (n, layers)."""
        number = np.clip(np.searchsorted(self.edges_GeV, energy_GeV, side="right") - 1, 0, BINS - 1)
        self.n += np.bincount(number, minlength=BINS)
        np.add.at(self.layers_MeV, number, layers_MeV)
        known = energy_GeV > 0
        ratio = layers_MeV.sum(axis=1)[known] / 1000 / energy_GeV[known]
        for power, total in enumerate(self.ratio_moments):
            total += np.bincount(number[known], ratio**power, BINS)

    def leans_low(self) -> bool:
        """Whether most events have an energy in the lowest tenth of the range."""
        return self.n[: BINS // 10].sum() > self.n.sum() / 2


class _Sums:
    """Sums over all events of a data set, in memory that does not grow with their number."""

    def __init__(
        self,
        source: ShowerFile,
        energy_range_GeV: tuple[float, float],
        condition_ranges: Mapping[str, tuple[float, float]],
        readout_threshold_MeV: float,
    ) -> None:
        self.n = len(source)
        self.readout_threshold_MeV = readout_threshold_MeV
        names = (FULL, FAST) if source.paired else (FULL,)
        self.cells = {name: _CellSums(source.geometry.n_cells, readout_threshold_MeV) for name in names}
        self.conditions = {
            name: Histogram(np.zeros(BINS, np.int64), linear_edges(*condition_ranges[name], BINS), unit)
            for name, unit in source.units.items()
        }
        self._energy_scales = [
            _EnergySums(edges_GeV, len(source.geometry.layers))
            for edges_GeV in (
                linear_edges(*energy_range_GeV, BINS),
                logarithmic_edges(*energy_range_GeV, BINS),
            )
        ]
        self._first_cells = source.geometry.offsets()[:-1]

    @property
    def by_energy(self) -> _EnergySums:
        """In ranges that are equally wide, or equal in the logarithm where most energies are low."""
        linear, logarithmic = self._energy_scales
        return logarithmic if linear.leans_low() else linear

    def add(self, block: Showers) -> None:
        """Take in events."""
        kept_MeV = self.cells[FULL].add(block.showers)
        if block.reference is not None:
            self.cells[FAST].add(block.reference)
        for name, values in block.conditions.items():
            histogram = self.conditions[name]
            histogram.counts[:] += np.histogram(values, histogram.edges)[0]
        energy_GeV = block.incident_energies[:, 0].astype(np.float64) / 1000
        layers_MeV = np.add.reduceat(kept_MeV, self._first_cells, axis=1, dtype=np.float64)
        for sums in self._energy_scales:
            sums.add(energy_GeV, layers_MeV)


def _draw(sums: _Sums, source: ShowerFile, has_primaries: bool) -> Iterator[Drawn]:
    events = "showers" if has_primaries else "events"
    yield from _images(sums, source.geometry, events)
    yield from _cells(sums, events)
    yield from _energies(sums, source, has_primaries, events)
    if sums.conditions:
        yield Drawn(
            "conditions.svg",
            "Energies and conditions",
            "Conditions",
            "What a model is told of each shower.",
            dataset.distributions(sums.conditions),
        )


def _images(sums: _Sums, geometry: Geometry, events: str) -> Iterator[Drawn]:
    threshold = f"the readout threshold of {sums.readout_threshold_MeV:g} MeV"
    rings = " Rings are drawn equally wide, ticks give their radii." if geometry.kind == "cylindrical" else ""
    means = [stack(geometry, cells.energy_MeV / sums.n) for cells in sums.cells.values()]
    shares = [
        panel._replace(title=panel.title if len(sums.cells) == 1 else f"{name} {panel.title}".strip())
        for name, cells in sums.cells.items()
        for panel in stack(geometry, cells.hits / sums.n)
    ]
    section = "Showers" if len(shares) > 1 else "Cells"
    if len(means) == 1:
        energies_MeV = np.concatenate([panel.cells for panel in means[0]])
        yield Drawn(
            "mean_image.svg",
            section,
            "Mean image",
            f"Mean over {sums.n:,} {events}, of cells above {threshold}.{rings}",
            maps(means[0], energy_norm(energies_MeV), "Mean energy per cell [MeV]"),
        )
    else:
        for number, (full, fast) in enumerate(zip(*means, strict=True)):
            yield Drawn(
                f"mean_image_{number}.svg",
                section,
                f"Mean images {full.title}".strip(),
                f"Mean over the same {sums.n:,} {events} in both simulations, of cells above {threshold}, "
                f"and the ratio of the means.{rings}",
                average_image(full.cells, fast.cells, full.layer, other=FAST),
            )
    highest = max(panel.cells.max() for panel in shares)
    yield Drawn(
        "hit_share.svg",
        section,
        "Occupancy of each cell",
        f"Share of {sums.n:,} {events} in which a cell is above {threshold}.{rings}",
        maps(shares, Normalize(0, highest or 1), f"Share of {events}"),
    )


def _energies(sums: _Sums, source: ShowerFile, has_primaries: bool, events: str) -> Iterator[Drawn]:
    section = "Energies and conditions"
    energy = "Incident energy" if has_primaries else "Energy in the calorimeter"
    ratio = "Visible / incident energy"
    if source.paired:
        energy, ratio = "Energy in the fast simulation", "Energy in the full / fast simulation"
    threshold = f"Readout threshold: {sums.readout_threshold_MeV:g} MeV."
    binned = sums.by_energy
    yield Drawn(
        "energy_spectrum.svg",
        section,
        energy,
        f"Number of {events} per GeV, with statistical errors.",
        dataset.energy_spectrum(binned.n, binned.edges_GeV, label=energy, events=events),
    )
    if has_primaries or source.paired:
        yield Drawn(
            "response.svg",
            section,
            ratio,
            f"In ranges of the energy, over everything else. {threshold}",
            dataset.response(
                *_mean_and_spread(*_merged(binned.ratio_moments.T, RESPONSE_RANGES).T),
                binned.edges_GeV[:: BINS // RESPONSE_RANGES],
                label=ratio,
                energy_label=energy,
            ),
        )
    if len(source.geometry.layers) > 1 and binned.layers_MeV.any():
        yield Drawn(
            "longitudinal_profile.svg",
            section,
            "Longitudinal profile",
            f"Energy of all {events} in each layer, in ranges of the energy. {threshold}",
            dataset.longitudinal_profile(
                _merged(binned.layers_MeV, PROFILE_RANGES),
                _merged(binned.n, PROFILE_RANGES),
                binned.edges_GeV[:: BINS // PROFILE_RANGES],
                source.geometry,
                energy_label=energy,
                events=events,
            ),
        )


def _merged(sums: np.ndarray, ranges: int) -> np.ndarray:
    """Sums over `BINS` bins, shape (BINS, ...), as sums over this many ranges."""
    return sums.reshape(ranges, BINS // ranges, *sums.shape[1:]).sum(axis=1)


def _mean_and_spread(n: np.ndarray, total: np.ndarray, squares: np.ndarray) -> tuple[np.ndarray, ...]:
    """Mean, standard deviation and number from sums over n values; NaN where there are too few."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / n
        return mean, np.sqrt(np.maximum(squares - n * mean**2, 0) / (n - 1)), n


def _cells(sums: _Sums, events: str) -> Iterator[Drawn]:
    yield Drawn(
        "cell_energies.svg",
        "Cells",
        "Energies of cells",
        f"Number of cells per {events.removesuffix('s')}, before the readout threshold; ten bins per decade.",
        dataset.cell_energies(
            {name: cells.spectrum for name, cells in sums.cells.items()},
            SPECTRUM_EDGES_MEV,
            sums.n,
            readout_threshold_MeV=sums.readout_threshold_MeV,
            events=events,
        ),
    )
    yield Drawn(
        "occupancy.svg",
        "Cells",
        "Occupancy",
        f"Share of the cells above the readout threshold of {sums.readout_threshold_MeV:g} MeV.",
        dataset.occupancy({name: cells.showers_by_hits for name, cells in sums.cells.items()}, events=events),
    )
