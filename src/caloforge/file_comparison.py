"""Scores of any two shower files, without the workflow."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import yaml
from pydantic import ValidationError

from caloforge.atomic import atomic_path
from caloforge.config.dataset import DatasetSettings
from caloforge.config.stages import EvaluationSettings, FigureSettings, JetSettings
from caloforge.errors import CaloforgeError
from caloforge.evaluation import evaluate
from caloforge.evaluation.samples import random_rows
from caloforge.ingest.formats import find_format
from caloforge.inspection import inspect
from caloforge.inspection.entry import bare
from caloforge.observables import block_showers, module_for, observe
from caloforge.provenance import entry, recorded
from caloforge.report import render_comparison
from caloforge.showers import ShowerFile, Showers, ShowerWriter


def compare_files(
    reference: Path,
    sample: Path,
    *,
    independent: Path | None = None,
    training: Path | None = None,
    geometry: Path | None = None,
    readout_threshold_MeV: float | None = None,
    settings: EvaluationSettings,
    figures: FigureSettings,
    output: Path,
) -> None:
    """Score showers of a file beside the full simulation of another one, as `evaluation.evaluate` does.

    Files may be canonical or of any layout that `caloforge inspect` knows. The sample is compared with as
    many reference showers; for the floor there are as many independent ones again: those of a file, or else
    one random half of the reference, of which the other half is compared. Showers of the same events, with
    the same event numbers and incident energies in both files, are compared event by event.

    Parameters
    ----------
    reference, sample
        Full simulation, and what is to be scored.
    independent
        Further full simulation, for the floor.
    training
        What the sample was trained on: adds the distances to the nearest training shower. Their floor is that
        of the independent showers.
    geometry
        Entry of config.yaml (YAML), as `caloforge inspect --yaml` prints it, that describes files which are
        not canonical, all alike; their own entries if None.
    readout_threshold_MeV
        Cells must be above it to be read out [MeV]; that of the entry if None.
    settings, figures
        As `evaluate` takes them.
    output
        Directory to write: metrics.json, figures, record.json and a page of all of them, index.html.

    Raises
    ------
    CaloforgeError
        If a file cannot be read or is of another calorimeter than the reference, if no readout threshold is
        known, or if the reference is too small to be halved.
    """
    given = {"reference": reference, "sample": sample, "independent": independent, "training": training}
    given = {role: path for role, path in given.items() if path}
    options = {
        "readout_threshold_MeV": readout_threshold_MeV,
        "evaluation": settings.model_dump(mode="json"),
        "figures": figures.model_dump(mode="json"),
    }
    entry_file = [geometry] if geometry else []
    with atomic_path(output) as directory, TemporaryDirectory(prefix="caloforge-") as name:
        directory.mkdir()
        work = Path(name)
        with recorded(
            directory / "record.json",
            stage="compare",
            inputs=[*given.values(), *entry_file],
            outputs={output / name: directory / name for name in ("metrics.json", "figures")},
            settings=options,
            seed=settings.seed,
        ) as facts:
            files = {
                role: _canonical(path, geometry, work / f"{role}_given.h5") for role, path in given.items()
            }
            threshold_MeV = _threshold_MeV(readout_threshold_MeV, files, reference)
            with _naming({files[role].showers: path for role, path in given.items()}):
                chosen = _chosen(settings, {role: file.showers for role, file in files.items()}, work)
            _evaluate(settings, figures, threshold_MeV, chosen, files.get("training"), work, directory)
            facts |= {
                "readout_threshold_MeV": threshold_MeV,
                "same_events": chosen.same_events,
                "events": entry(directory / "metrics.json", "events"),
            }
        render_comparison(directory, reference=reference, sample=sample)


class _Given(NamedTuple):
    """Canonical showers of a file, and the readout threshold [MeV] that its entry states."""

    showers: Path
    threshold_MeV: float | None


class _Chosen(NamedTuple):
    """Canonical files of as many showers each, but for the independent ones, which may be more."""

    reference: Path
    sample: Path
    independent: Path
    same_events: bool


def _evaluate(
    settings: EvaluationSettings,
    figures: FigureSettings,
    threshold_MeV: float,
    chosen: _Chosen,
    training: _Given | None,
    work: Path,
    output: Path,
) -> None:
    """Observe and evaluate the chosen showers."""
    samples = {
        "reference": chosen.reference,
        "generated": chosen.sample,
        "independent": chosen.independent,
    }
    for role, path in samples.items():
        observe(
            path,
            readout_threshold_MeV=threshold_MeV,
            jets=_jets(path),
            output=work / f"observables_{role}.h5",
            record=work / f"observables_{role}.json",
        )
    evaluate(
        settings,
        figures,
        label="",
        same_primaries=chosen.same_events,
        **{role: work / f"observables_{role}.h5" for role in samples},
        **{f"{role}_showers": path for role, path in samples.items()},
        training_showers=training and training.showers,
        validation_showers=training and chosen.independent,
        histories={},
        metrics=output / "metrics.json",
        figure_directory=output / "figures",
        record=work / "evaluate.json",
    )


@contextmanager
def _naming(given: Mapping[Path, Path]) -> Iterator[None]:
    """Let errors about a canonical file name the file that it was made from."""
    try:
        yield
    except CaloforgeError as error:
        message = str(error)
        for canonical, path in given.items():
            message = message.replace(str(canonical), str(path))
        raise CaloforgeError(message) from None


def _canonical(path: Path, geometry: Path | None, output: Path) -> _Given:
    """The file itself if it is canonical, else its showers in a new file."""
    (found,) = inspect([path])
    if "schema_version" in found.contents[0].facts:
        return _Given(path, None)
    described = _entry(geometry) if geometry else bare(found.entry)
    if described is None:
        raise CaloforgeError(f"{path}: {found.layout}: describe it by an entry of config.yaml (--geometry)")
    described["source"] = {**described["source"], "files": [str(path)]}
    try:
        settings = DatasetSettings.model_validate(described)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise CaloforgeError(f"{geometry or path}: {where}: {problem['msg']}") from None
    source = find_format(settings.source.format)
    source.check_file(path)
    units = {name: column.unit for name, column in settings.conditions.items()}
    with ShowerWriter(output, settings.geometry, units) as writer:
        for batch in source.read(settings, [path], []):
            writer.append(batch.showers)
    return _Given(output, settings.readout_threshold_MeV)


def _entry(path: Path) -> dict[str, Any]:
    """The one data set that a YAML file describes."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CaloforgeError(f"{path}: no such file, expected an entry of config.yaml") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CaloforgeError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    datasets = content.get("datasets") if isinstance(content, Mapping) else None
    if not isinstance(datasets, Mapping) or len(datasets) != 1:
        found = ", ".join(map(str, datasets)) if isinstance(datasets, Mapping) else "none"
        raise CaloforgeError(f"{path}: datasets: found {found}, expected one data set")
    (described,) = datasets.values()
    if not isinstance(described, Mapping) or not isinstance(described.get("source"), Mapping):
        raise CaloforgeError(
            f"{path}: found no source of the data set, expected what `caloforge inspect --yaml` prints"
        )
    return dict(described)


def _threshold_MeV(asked_MeV: float | None, files: Mapping[str, _Given], reference: Path) -> float:
    if asked_MeV is not None:
        return asked_MeV
    stated = {file.threshold_MeV for file in files.values()} - {None}
    if not stated:
        raise CaloforgeError(
            f"{reference}: states no readout threshold, expected one (--readout-threshold-MeV)"
        )
    return max(stated)


def _chosen(settings: EvaluationSettings, files: Mapping[str, Path], work: Path) -> _Chosen:
    """Pick the showers of each file that are compared, once all files are known to hold such showers."""
    with ExitStack() as stack:
        opened = {role: stack.enter_context(ShowerFile(path)) for role, path in files.items()}
        full, sample = opened["reference"], opened["sample"]
        for file in opened.values():
            module_for(file, _jets(file.path))
            for quantity in ("geometry", "units"):
                if getattr(file, quantity) != getattr(full, quantity):
                    name = "conditions" if quantity == "units" else quantity
                    raise CaloforgeError(f"{file.path}: another {name} found, expected that of {full.path}")
        same = _same_events(full, sample)
        halved = random_rows(settings.seed, "halves", len(full), len(full) // 2)
        rows = np.arange(len(full)) if "independent" in opened else halved
        if len(rows) < 2:
            raise CaloforgeError(f"{full.path}: {len(full)} showers found, expected at least 4")
        n = len(rows) if same else min(len(rows), len(sample))
        rows = rows[random_rows(settings.seed, "reference", len(rows), n)]
        paths = {role: work / f"{role}.h5" for role in ("reference", "sample", "independent")}
        events = _copy(full, rows, paths["reference"])
        _copy(
            sample,
            rows if same else random_rows(settings.seed, "sample", len(sample), n),
            paths["sample"],
            events=events,
        )
        if "independent" in opened:
            return _Chosen(paths["reference"], paths["sample"], files["independent"], same)
        _copy(full, np.setdiff1d(np.arange(len(full)), halved), paths["independent"])
        return _Chosen(*paths.values(), same)


def _same_events(full: ShowerFile, sample: ShowerFile) -> bool:
    """Whether two files have the same event numbers and incident energies in the same order."""
    if len(full) != len(sample):
        return False
    return all(
        np.array_equal(one.event, other.event)
        and np.array_equal(one.incident_energies, other.incident_energies)
        for one, other in zip(_blocks(full), _blocks(sample), strict=True)
    )


def _blocks(file: ShowerFile) -> Iterator[Showers]:
    return file.blocks(block_showers(file.geometry))


def _copy(file: ShowerFile, rows: np.ndarray, output: Path, events: np.ndarray | None = None) -> np.ndarray:
    """Write some rows of a file, with other event numbers if some are given; return the event numbers."""
    numbers, start = [], 0
    with ShowerWriter(output, file.geometry, file.units, paired=file.paired) as writer:
        for block in _blocks(file):
            first, last = np.searchsorted(rows, (start, start + len(block)))
            part = block[rows[first:last] - start]
            if events is not None:
                part = Showers(
                    part.showers, part.incident_energies, part.conditions, events[first:last], part.reference
                )
            writer.append(part)
            numbers.append(part.event)
            start += len(block)
    return np.concatenate(numbers)


def _jets(path: Path) -> JetSettings | None:
    with ShowerFile(path) as file:
        return JetSettings() if file.geometry.kind == "eta_phi" else None
