"""The evaluation stage: distances between generated and fully simulated showers, and the figures."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from caloforge.atomic import atomic_path, write_json
from caloforge.config.stages import EvaluationSettings, FigureSettings
from caloforge.errors import CaloforgeError
from caloforge.figures import comparison, energy, showers, training
from caloforge.figures.album import Drawn, save_album
from caloforge.figures.comparison import Estimates
from caloforge.figures.style import figure_style
from caloforge.geometry import Geometry
from caloforge.metrics.distributions import bin_edges, compare
from caloforge.observables.observable import Observable
from caloforge.provenance import recorded
from caloforge.seeds import derive_seed
from caloforge.showers import ShowerFile, Showers, read_out

_BLOCK_SHOWERS = 10_000
"""Showers whose profiles are held in memory at a time."""


def evaluate(
    settings: EvaluationSettings,
    figures: FigureSettings,
    *,
    label: str,
    generated: Path,
    reference: Path,
    independent: Path,
    generated_showers: Path,
    reference_showers: Path,
    histories: Mapping[str, Path],
    metrics: Path,
    figure_directory: Path,
    record: Path,
) -> None:
    """Compare generated showers with the full simulation, in numbers and in figures.

    Every distance is reported beside its floor: the same distance between the reference and as many
    independent events of the full simulation. Generated showers were made for the very primaries of the
    reference, the events of the floor come from other primaries; an observable that the primary decides,
    such as the visible energy, may therefore lie below its floor.

    Parameters
    ----------
    settings, figures
        Bins and resamplings; style of the figures.
    label
        Shown on every figure when not empty, for example that the run is a demonstration.
    generated, reference, independent
        Observables of the generated showers, of the test events they were generated for and of other
        events of the full simulation.
    generated_showers, reference_showers
        Canonical files that `generated` and `reference` were made from.
    histories
        Title of a training to its history (CSV with the columns epoch, step, losses, validation).
    metrics, figure_directory, record
        Output: numbers (JSON), figures (SVG) with index.json, and what made them (JSON).

    Raises
    ------
    CaloforgeError
        If an input is damaged, or the files do not belong together.
    """
    inputs = [generated, reference, independent, generated_showers, reference_showers, *histories.values()]
    options = {
        "label": label,
        "evaluation": settings.model_dump(mode="json"),
        "figures": figures.model_dump(mode="json"),
    }
    with recorded(record, stage="evaluate", inputs=inputs, settings=options, seed=settings.seed):
        sample, full, other = (_read_observables(path) for path in (generated, reference, independent))
        _check_comparable(full, sample)
        _check_comparable(full, other)
        if not np.array_equal(sample.event, full.event):
            raise CaloforgeError(
                f"{generated}: its events are not those of {reference}, expected showers generated for "
                "the primaries of the test set"
            )
        trainings = {title: _read_history(path) for title, path in histories.items()}

        with atomic_path(figure_directory) as directory, figure_style(figures):
            drawn = [
                *_training_figures(trainings),
                *_shower_figures(sample, full, generated_showers, reference_showers, figures.displays),
                *_observable_figures(sample, full, settings.bins),
                *_energy_figures(sample, full, figures.energies_GeV),
            ]
            save_album(drawn, directory, label)
            write_json(metrics, {"label": label, **_distances(settings, sample, full, other)})


@dataclass(frozen=True)
class _Observables:
    """Content of an observables file; profiles are reduced to their mean and its standard error."""

    path: Path
    geometry: Geometry
    readout_threshold_MeV: float
    scalars: dict[str, tuple[Observable, np.ndarray]]
    profiles: dict[str, tuple[dict[str, Any], Estimates]]
    mean_shower_MeV: np.ndarray
    incident_energy_GeV: np.ndarray
    event: np.ndarray


def _read_observables(path: Path) -> _Observables:
    try:
        with h5py.File(path, "r") as file:
            return _Observables(
                path,
                Geometry.model_validate_json(file.attrs["geometry"]),
                float(file.attrs["readout_threshold_MeV"]),
                {
                    name: (
                        Observable(**{key: _plain(data.attrs[key]) for key in _SCALAR_ATTRIBUTES}),
                        data[:],
                    )
                    for name, data in file["scalars"].items()
                },
                {
                    name: ({key: _plain(data.attrs[key]) for key in _PROFILE_ATTRIBUTES}, mean_profile(data))
                    for name, data in file["profiles"].items()
                },
                file["mean_shower"][:],
                file["incident_energy_GeV"][:],
                file["event"][:],
            )
    except FileNotFoundError:
        raise CaloforgeError(f"{path}: no such file, expected observables (HDF5)") from None
    except (OSError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise CaloforgeError(f"{path}: not a readable observables file: {reason}") from None


_SCALAR_ATTRIBUTES = ("label", "unit", "log")
_PROFILE_ATTRIBUTES = ("x", "x_label", "x_unit", "label", "unit", "log_x", "log_y")


def _plain(attribute: Any) -> Any:
    return bool(attribute) if isinstance(attribute, np.bool_) else attribute


def mean_profile(data: h5py.Dataset | np.ndarray) -> Estimates:
    """Mean of a profile over the showers and its standard error, read in blocks.

    Parameters
    ----------
    data
        Shape (N, K); NaN where undefined, such showers are left out of their column.
    """
    n, total, squares = (np.zeros(data.shape[1]) for _ in range(3))
    for start in range(0, len(data), _BLOCK_SHOWERS):
        block = data[start : start + _BLOCK_SHOWERS].astype(np.float64)
        defined = np.isfinite(block)
        block[~defined] = 0
        n += defined.sum(axis=0)
        total += block.sum(axis=0)
        squares += (block**2).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / n
        variance = np.maximum(squares - n * mean**2, 0) / (n - 1)
        return Estimates(mean, np.sqrt(variance / n), len(data))


def _check_comparable(full: _Observables, sample: _Observables) -> None:
    for quantity, found, expected in (
        ("geometry", sample.geometry, full.geometry),
        ("readout_threshold_MeV", sample.readout_threshold_MeV, full.readout_threshold_MeV),
        ("scalars", sorted(sample.scalars), sorted(full.scalars)),
        ("profiles", sorted(sample.profiles), sorted(full.profiles)),
    ):
        if found != expected:
            raise CaloforgeError(f"{sample.path}: {quantity} {found}, expected {expected} as in {full.path}")


def _distances(
    settings: EvaluationSettings, sample: _Observables, full: _Observables, other: _Observables
) -> dict[str, Any]:
    rng = np.random.default_rng(derive_seed(settings.seed, "independent"))
    n_independent = min(len(full.event), len(other.event))
    independent = np.sort(rng.choice(len(other.event), n_independent, replace=False))
    observables = {}
    for name, (observable, reference) in full.scalars.items():
        options = {"log": observable.log, "bins": settings.bins, "bootstrap": settings.bootstrap}
        generated = sample.scalars[name][1]
        floor = other.scalars[name][1][independent]
        observables[name] = {
            "label": observable.label,
            "unit": observable.unit,
            "undefined": {
                "generated": int(np.isnan(generated).sum()),
                "reference": int(np.isnan(reference).sum()),
            },
            "generated": compare(reference, generated, seed=derive_seed(settings.seed, name), **options),
            "floor": compare(reference, floor, seed=derive_seed(settings.seed, name, "floor"), **options),
        }
    events = {
        "generated": len(sample.event),
        "reference": len(full.event),
        "independent": n_independent,
    }
    return {"events": events, "observables": observables}


def _training_figures(trainings: Mapping[str, Mapping[str, np.ndarray]]) -> Iterator[Drawn]:
    for title, history in trainings.items():
        stem = title.replace(" ", "_")
        epoch, metric = history["epoch"], history["validation"]
        losses = {name: history[name] for name in history if name not in ("epoch", "step", "validation")}
        yield Drawn(
            f"losses_{stem}.svg",
            "Training",
            f"Losses: {title}",
            "Each loss against the epoch.",
            training.losses(epoch, losses),
        )
        validated = np.isfinite(metric)
        if validated.any():
            yield Drawn(
                f"validation_{stem}.svg",
                "Training",
                f"Validation: {title}",
                "Score on the validation events, lower is better: of generated showers the mean "
                "Kolmogorov-Smirnov distance of all observables, of a regressor the mean squared error in "
                "standard deviations of its targets.",
                training.validation(epoch[validated], metric[validated]),
            )


def _shower_figures(
    sample: _Observables, full: _Observables, generated_showers: Path, reference_showers: Path, displays: int
) -> Iterator[Drawn]:
    layer = full.geometry.layers[0]
    rows = spread_over_energies(full.incident_energy_GeV, displays)
    generated = _read_rows(generated_showers, rows)
    reference = _read_rows(reference_showers, rows)
    px, py, pz = (reference.conditions[name] for name in ("px", "py", "pz"))
    yield Drawn(
        "matched_showers.svg",
        "Showers",
        "Single showers",
        "Full simulation (top) and generated (bottom) for the same primaries. Above, the energy of the "
        "primary and its angle to the normal of the face. White cells are empty.",
        showers.matched_showers(
            read_out(reference.showers, full.readout_threshold_MeV),
            read_out(generated.showers, full.readout_threshold_MeV),
            reference.incident_energies[:, 0] / 1000,
            np.degrees(np.arctan2(np.hypot(px, py), pz)),
            layer,
        ),
    )
    yield Drawn(
        "average_image.svg",
        "Showers",
        "Average shower",
        f"Mean of {len(full.event):,} fully simulated and of {len(sample.event):,} generated showers, and "
        "the ratio of the means.",
        showers.average_image(full.mean_shower_MeV, sample.mean_shower_MeV, layer),
    )


def _observable_figures(sample: _Observables, full: _Observables, bins: int) -> Iterator[Drawn]:
    for name, (observable, reference) in full.scalars.items():
        if np.isfinite(reference).sum() < 2:
            continue
        yield Drawn(
            f"distribution_{name}.svg",
            "Observables",
            observable.label,
            "Band and bars: statistical errors. The outermost bins also hold the showers beyond them.",
            comparison.distribution(
                reference,
                sample.scalars[name][1],
                bin_edges(reference, log=observable.log, bins=bins),
                label=observable.label,
                unit=observable.unit,
                log=observable.log,
            ),
        )
    for name, (axes, reference) in full.profiles.items():
        yield Drawn(
            f"profile_{name}.svg",
            "Observables",
            f"{axes['label']} against {axes['x_label'].lower()}",
            "Mean over the showers with its standard error.",
            comparison.profile(reference, sample.profiles[name][1], **axes),
        )


def _energy_figures(
    sample: _Observables, full: _Observables, edges_GeV: tuple[float, ...]
) -> Iterator[Drawn]:
    points = [(data.incident_energy_GeV, data.scalars["response"][1]) for data in (full, sample)]
    yield Drawn(
        "response.svg",
        "Energy",
        "Energy response",
        "Mean of visible over incident energy, in ranges of the incident energy.",
        energy.response(*points, edges_GeV),
    )
    yield Drawn(
        "resolution.svg",
        "Energy",
        "Energy resolution",
        "Standard deviation over mean of visible over incident energy, in ranges of the incident energy, "
        "over all positions and angles.",
        energy.resolution(*points, edges_GeV),
    )


def spread_over_energies(energy_GeV: np.ndarray, n: int) -> np.ndarray:
    """Rows of at most n different showers, evenly spread over the logarithm of the energy, rising.

    Parameters
    ----------
    energy_GeV
        Energies of the primaries [GeV], shape (N,).
    n
        Showers wanted.
    """
    log_energy = np.log(energy_GeV)
    low, high = log_energy.min(), log_energy.max()
    targets = low + (np.arange(n) + 0.5) / n * (high - low)
    rows = np.unique([np.argmin(np.abs(log_energy - target)) for target in targets])
    return rows[np.argsort(energy_GeV[rows])]


def _read_rows(path: Path, rows: np.ndarray) -> Showers:
    with ShowerFile(path) as file:
        if file.n <= rows.max():
            raise CaloforgeError(f"{path}: holds {file.n} showers, expected more than {rows.max()}")
        batches = [file.read(row, row + 1) for row in rows]
    return Showers(
        np.concatenate([batch.showers for batch in batches]),
        np.concatenate([batch.incident_energies for batch in batches]),
        {
            name: np.concatenate([batch.conditions[name] for batch in batches])
            for name in batches[0].conditions
        },
        np.concatenate([batch.event for batch in batches]),
    )


def _read_history(path: Path) -> dict[str, np.ndarray]:
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    names = list(rows[0]) if rows else []
    missing = {"epoch", "validation"} - set(names)
    if missing:
        raise CaloforgeError(
            f"{path}: no column {', '.join(sorted(missing))}, found {', '.join(names) or 'nothing'}"
        )
    try:
        return {name: np.array([float(row[name] or "nan") for row in rows]) for name in names}
    except (TypeError, ValueError) as error:
        raise CaloforgeError(f"{path}: not a training history: {error}") from None
