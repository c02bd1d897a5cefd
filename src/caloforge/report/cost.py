"""What a shower costs: generators and Geant4 beside each other, as in table 1 of F. Rehm et al. 2021."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple


@dataclass(frozen=True, kw_only=True)
class Cost:
    """A row of the table: a run, or Geant4 for a data set; None where it does not apply.

    Attributes
    ----------
    model
        `Geant4` for the full simulation.
    all_parameters
        Of all networks of the training: also discriminators, and regressors trained before.
    clock
        That measured `ms_per_shower`: `wall` or `CPU`.
    speed_up
        CPU time of Geant4 per event over `ms_per_shower`.
    epochs, training_s_per_epoch
        Of the last training, which is that of the generator.
    training_s, peak_memory_MB, peak_gpu_memory_MB
        The sum and the maxima over this training and that of a regressor before it.
    """

    dataset: str
    model: str
    seed: int | None = None
    label: str | None = None
    family: str | None = None
    generator_parameters: int | None = None
    generator_dense_parameters: int | None = None
    all_parameters: int | None = None
    MFLOP_per_shower: float | None = None
    ms_per_shower: float
    clock: str
    speed_up: float | None = None
    generation_device: str | None = None
    generation_threads: int | None = None
    batch_size: int | None = None
    training_showers: int | None = None
    epochs: int | None = None
    training_s_per_epoch: float | None = None
    training_s: float | None = None
    training_device: str | None = None
    training_threads: int | None = None
    peak_memory_MB: float | None = None
    peak_gpu_memory_MB: float | None = None


def cost_of_run(result: Mapping[str, Any], ingest: Mapping[str, Any]) -> Cost:
    """The row of a run, from its records and that of the ingest of its data set."""
    run, sample, trainings = result["run"], result["sample"], list(result["trainings"].values())
    train, geant4_s = trainings[-1], ingest["geant4_cpu_s_per_event"]
    gpu_MB = [training["peak_gpu_memory_MB"] for training in trainings]
    return Cost(
        dataset=run.dataset,
        model=run.model,
        seed=run.seed,
        label=run.label,
        family=train["settings"]["family"],
        generator_parameters=train["parameters"]["generator"],
        generator_dense_parameters=train["dense_parameters"]["generator"],
        all_parameters=sum(train["parameters"].values()),
        MFLOP_per_shower=sample["flop_per_shower"] / 1e6,
        ms_per_shower=sample["ms_per_shower"],
        clock="wall",
        speed_up=geant4_s and 1000 * geant4_s / sample["ms_per_shower"],
        generation_device=sample["device"],
        generation_threads=sample["threads"],
        batch_size=sample["batch_size"],
        training_showers=ingest["events"]["train"],
        epochs=train["epochs"],
        training_s_per_epoch=train["seconds_per_epoch"],
        training_s=sum(training["training_s"] for training in trainings),
        training_device=train["device"],
        training_threads=train["threads"],
        peak_memory_MB=max(training["peak_memory_MB"] for training in trainings),
        peak_gpu_memory_MB=max(filter(None, gpu_MB), default=None),
    )


def cost_of_geant4(dataset: str, ingest: Mapping[str, Any]) -> Cost | None:
    """The row of the full simulation; None where the source files do not state its CPU time."""
    geant4_s = ingest["geant4_cpu_s_per_event"]
    if geant4_s is None:
        return None
    return Cost(dataset=dataset, model="Geant4", ms_per_shower=1000 * geant4_s, clock="CPU")


class TimeTable(NamedTuple):
    """Times per shower of the timed runs of a data set.

    Attributes
    ----------
    batch_sizes
        The rows.
    runs
        Each with its columns: the `devices` of its record (see `caloforge.timing.time_generation`), to which
        `ms_per_shower` is added, the same of their `times` by batch size.
    """

    batch_sizes: Sequence[int]
    runs: Sequence[tuple[Any, Sequence[Mapping[str, Any]]]]


def time_tables(results: Iterable[Mapping[str, Any]]) -> dict[str, TimeTable]:
    """Times per shower against the batch size, by data set, for those with timed runs."""
    timed: dict[str, list] = {}
    for result in results:
        if result["timing"]:
            columns = [device | {"ms_per_shower": _by_size(device)} for device in result["timing"]["devices"]]
            timed.setdefault(result["run"].dataset, []).append((result["run"], columns))
    return {name: TimeTable(_batch_sizes(runs), runs) for name, runs in timed.items()}


def _batch_sizes(runs: Iterable[tuple[Any, Iterable[Mapping[str, Any]]]]) -> list[int]:
    return sorted({size for _, columns in runs for column in columns for size in column["ms_per_shower"]})


def _by_size(device: Mapping[str, Any]) -> dict[int, Mapping[str, float]]:
    return {time["batch_size"]: time["ms_per_shower"] for time in device["times"]}


def as_csv(rows: Iterable[Cost]) -> str:
    """The table with the names of the fields as its header (RFC 4180)."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in fields(Cost)], lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(map(asdict, rows))
    return text.getvalue()
