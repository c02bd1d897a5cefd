"""The whole configuration: data sets and models are defined, runs pair them."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeInt,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from caloforge.config.base import Settings, nearest
from caloforge.config.dataset import (
    COMBINATION_KEYS,
    AnyDataset,
    CombinedDataset,
    DatasetSettings,
    Name,
    is_combination,
    written_out,
)
from caloforge.config.downloads import Download, RemoteFile
from caloforge.config.search import SearchSettings, search_problems
from caloforge.config.sources import is_url
from caloforge.config.stages import (
    EvaluationSettings,
    FigureSettings,
    GridSettings,
    JetSettings,
    SamplingSettings,
    TimingSettings,
    TraversalSettings,
    attributes,
)
from caloforge.models.calogan.settings import CaloGanSettings
from caloforge.models.calpagan.settings import CalpaganSettings
from caloforge.models.conditional_calogan.settings import ConditionalCaloGanSettings
from caloforge.models.conditional_wgan.settings import ConditionalWGANSettings
from caloforge.models.gan3d_conv2d.settings import Conv2dSettings
from caloforge.models.gan3d_conv3d.settings import Conv3dSettings


def _not(reserved: str) -> AfterValidator:
    """Keep a name apart from a folder of results/ that is not named by the user."""

    def check(name: str) -> str:
        if name == reserved:
            raise ValueError(f"found {reserved!r}, expected another name: results use it")
        return name

    return AfterValidator(check)


def _every_once(noun: str) -> AfterValidator:
    def check(items: tuple) -> tuple:
        if len(set(items)) < len(items):
            raise ValueError(f"found {list(items)}, expected every {noun} once")
        return items

    return AfterValidator(check)


DatasetName = Annotated[Name, _not("report"), _not("searches")]
ModelName = Annotated[Name, _not("data"), _not("comparison"), _not("baselines")]
ModelSettings = Annotated[
    CaloGanSettings
    | CalpaganSettings
    | ConditionalCaloGanSettings
    | ConditionalWGANSettings
    | Conv2dSettings
    | Conv3dSettings,
    Field(discriminator="family"),
]


def model_settings(plain: Mapping[str, Any]) -> ModelSettings:
    """Settings of a model from plain data, of the class that its `family` names."""
    return TypeAdapter(ModelSettings).validate_python(plain)


class Run(Settings):
    """A model trained on a data set, once per seed."""

    dataset: str = Field(description="name under datasets")
    model: str = Field(description="name under models")
    seeds: Annotated[tuple[NonNegativeInt, ...], _every_once("seed")] = Field(
        min_length=1, description="root seeds; each is a training of its own"
    )
    devices: PositiveInt = Field(
        default=1,
        description="GPUs that share every batch of a training or, on a CPU, processes that do, with "
        "`training.threads` each; batch sizes are multiples of it",
    )
    label: str = Field(default="", description="written on every figure and beside the run in the report")
    apply_to: Annotated[tuple[str, ...], _every_once("data set")] = Field(
        default=(),
        description="other data sets of the same calorimeter, for whose test sets the model generates "
        "showers too, to be compared like those of its own",
    )
    grid: GridSettings | None = Field(
        default=None, description="showers to generate besides those for the conditions of the test set"
    )
    traversals: TraversalSettings | None = Field(
        default=None, description="conditions to step one by one, for mean showers beside each other"
    )


class ReportSettings(Settings):
    """The report page."""

    title: str = "Generated calorimeter showers"
    datasets: Annotated[tuple[str, ...], _every_once("data set")] = Field(
        default=(), description="names under datasets, shown besides the data sets of the runs"
    )


class Config(Settings):
    """What config.yaml and the overlays laid over it say."""

    datasets: dict[DatasetName, AnyDataset] = Field(min_length=1, description="data sets by name")
    models: dict[ModelName, ModelSettings] = Field(description="models by name")
    runs: tuple[Run, ...] = Field(
        description="what is trained; an overlay replaces the whole list. It may be empty where "
        "`report.datasets` is not"
    )
    downloads: dict[Name, Download] = Field(
        default={},
        description="public records whose files are fetched when a data set lists them, "
        "`downloads/<name>/<file>`; by name",
    )
    searches: dict[Name, SearchSettings] = Field(
        default={}, description="searches for the hyper-parameters of models, by name"
    )
    sampling: SamplingSettings = SamplingSettings()
    timing: TimingSettings | None = Field(
        default=None, description="time generation against the batch size; null for not at all"
    )
    jets: JetSettings = JetSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    baselines: Annotated[
        tuple[Literal["shower_library", "parametrised_shower"], ...], _every_once("baseline")
    ] = Field(
        default=("shower_library", "parametrised_shower"),
        description="showers without a network to compare models with, for every data set with primaries "
        "that runs are tested on; an empty list for none",
    )
    figures: FigureSettings = FigureSettings()
    report: ReportSettings = ReportSettings()

    @property
    def remote_files(self) -> dict[str, RemoteFile]:
        """Where the files of `downloads` come from, by their paths."""
        return {
            path: file
            for name, download in self.downloads.items()
            for path, file in download.remote_files(name).items()
        }

    @property
    def ingest_parts(self) -> dict[str, dict[int, list[str]]]:
        """Local files that each job of an ingest opens, for data sets whose ingest has several jobs."""
        parts = {
            name: _ingest_parts(dataset, self.remote_files)
            for name, dataset in self.datasets.items()
            if dataset.files_per_job and name not in self.combinations
        }
        return {name: dict(enumerate(files)) for name, files in parts.items() if len(files) > 1}

    @property
    def combinations(self) -> tuple[str, ...]:
        """Names of the data sets that combine others."""
        return tuple(name for name, data in self.datasets.items() if isinstance(data, CombinedDataset))

    @property
    def tested_datasets(self) -> tuple[str, ...]:
        """Names of the data sets that runs are tested on, each once."""
        return tuple(dict.fromkeys(name for run in self.runs for name in (run.dataset, *run.apply_to)))

    @property
    def reported_datasets(self) -> tuple[str, ...]:
        """Names of the data sets that the report shows, each once."""
        return tuple(dict.fromkeys((*self.tested_datasets, *self.report.datasets)))

    def has_regressor(self, model: str) -> bool:
        """Whether a regressor is trained before the model."""
        return hasattr(self.models[model], "regressor")

    def reconstructs(self, model: str) -> bool:
        """Whether a network of the model reads conditions off showers."""
        return hasattr(self.models[model], "reconstructed_inputs")

    def run(self, dataset: str, model: str) -> Run:
        """The run that pairs `dataset` with `model`."""
        return next(run for run in self.runs if (run.dataset, run.model) == (dataset, model))

    def devices(self, dataset: str, model: str) -> int:
        """How many devices share a batch of the model; one where only a search trains it."""
        runs = (run.devices for run in self.runs if (run.dataset, run.model) == (dataset, model))
        return next(runs, 1)

    @model_validator(mode="before")
    @classmethod
    def _write_out_combinations(cls, config: Any) -> Any:
        datasets = config.get("datasets") if isinstance(config, Mapping) else None
        if not isinstance(datasets, Mapping):
            return config
        _refuse(cls.__name__, _combination_problems(datasets))
        return {**config, "datasets": written_out(datasets)}

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        _refuse(type(self).__name__, (*self._missing_files(), *self._misfits(), *self._tower_misfits()))
        return self

    def _missing_files(self) -> Iterator[tuple[tuple, str]]:
        for name, dataset in self.datasets.items():
            if isinstance(dataset, CombinedDataset):
                continue
            for patterns in (dataset.source.files, dataset.source.paired_files):
                for pattern in patterns:
                    if not is_url(pattern) and not matching_files(pattern, self.remote_files):
                        path = ("datasets", name, "source", *dataset.source.place_of(pattern))
                        yield path, f"found {pattern!r}, which matches no file in {Path.cwd()}"

    def _misfits(self) -> Iterator[tuple[tuple, str]]:
        for name, dataset in self.datasets.items():
            if isinstance(dataset, CombinedDataset):
                for key, text in _combination_misfits(dataset, self.datasets):
                    yield ("datasets", name, *key), text
        if not self.runs and not self.report.datasets:
            yield ("runs",), "found [], expected at least one run, or data sets in report.datasets"
        pairs: dict[tuple[str, str], int] = {}
        for number, run in enumerate(self.runs):
            path = ("runs", number)
            first = pairs.setdefault((run.dataset, run.model), number)
            if first != number:
                yield path, f"found {run.dataset} with {run.model} again, expected its seeds in runs.{first}"
            yield from self._unknown_names(path, run)
            if self._knows(run):
                yield from self._pair_misfits(path, run)
        for name, search in self.searches.items():
            path = ("searches", name)
            yield from self._unknown_names(path, search)
            if self._knows(search):
                pair = Run(dataset=search.dataset, model=search.model, seeds=(search.seed,))
                yield from self._pair_misfits(path, pair)
                misfit = partial(_misfit, self.datasets[search.dataset])
                for key, text in search_problems(search, self.models[search.model], misfit):
                    yield (*path, *key), text
        for number, name in enumerate(self.report.datasets):
            if name not in self.datasets:
                yield ("report", "datasets", number), _unknown(name, self.datasets)

    def _knows(self, pair: Run | SearchSettings) -> bool:
        return pair.dataset in self.datasets and pair.model in self.models

    def _unknown_names(self, path: tuple, pair: Run | SearchSettings) -> Iterator[tuple[tuple, str]]:
        if pair.dataset not in self.datasets:
            yield (*path, "dataset"), _unknown(pair.dataset, self.datasets)
        if pair.model not in self.models:
            yield (*path, "model"), _unknown(pair.model, self.models)

    def _tower_misfits(self) -> Iterator[tuple[tuple, str]]:
        for name, dataset in self.datasets.items():
            has_towers = dataset.source.format == "delphes" and not isinstance(dataset, CombinedDataset)
            if (
                self.jets.towers == "delphes"
                and name in self.tested_datasets
                and dataset.paired
                and not has_towers
            ):
                text = f"data set {name} has no towers of Delphes of its own"
                yield ("jets", "towers"), f"found 'delphes', expected 'pixels': {text}"

    def _pair_misfits(self, path: tuple, run: Run) -> Iterator[tuple[tuple, str]]:
        model, dataset = self.models[run.model], self.datasets[run.dataset]
        misfit = model.misfit(dataset)
        if misfit:
            yield path, f"model {run.model} does not take data set {run.dataset}: {misfit}"
        elif model.training.validation == "shower_shapes" and not _is_deep_grid(dataset):
            at = ("models", run.model, "training", "validation")
            text = f"data set {run.dataset} is no grid of several layers"
            yield at, f"found 'shower_shapes', expected 'observables': {text}"
        for batch_size in {part.training.batch_size for part in (model, getattr(model, "regressor", model))}:
            if batch_size % run.devices:
                text = f"a divisor of the batch size {batch_size} of model {run.model}"
                yield (*path, "devices"), f"found {run.devices}, expected {text}"
        for number, text in () if misfit else _unknown_inputs(model, dataset):
            at = ("models", run.model, "preprocessing", "inputs", number)
            yield at, f"{text} (data set {run.dataset})"
        for key in ("grid", "traversals"):
            if getattr(run, key) and not dataset.has_primaries:
                text = f"events of data set {run.dataset} have no primary to ask for"
                yield (*path, key), f"found conditions, expected null: {text}"
        if run.grid and dataset.has_primaries:
            for text in _grid_problems(run.grid, dataset):
                yield (*path, "grid", "values"), text
        for number, name in enumerate(run.apply_to):
            at = (*path, "apply_to", number)
            if name not in self.datasets or name == run.dataset:
                yield at, _unknown(name, [other for other in self.datasets if other != run.dataset])
            else:
                for text in _differences(name, run.dataset, self.datasets):
                    yield at, text
        if run.traversals and dataset.has_primaries:
            known = attributes(dataset.conditions)
            for key, values in (("steps", run.traversals.steps), ("at", run.traversals.at)):
                for name in values:
                    if name not in known:
                        yield (*path, "traversals", key), _unknown(name, known)


def _refuse(title: str, problems: Iterable[tuple[tuple, str]]) -> None:
    """Raise about problems, each a path of keys and a text, if there are any."""
    details = [
        InitErrorDetails(type=PydanticCustomError("misfit", "{text}", {"text": text}), loc=path, input=None)
        for path, text in problems
    ]
    if details:
        raise ValidationError.from_exception_data(title, details)


def _combination_problems(datasets: Mapping[str, Any]) -> Iterator[tuple[tuple, str]]:
    """What keeps data sets that combine others from being written out."""
    sources = [name for name, dataset in datasets.items() if not is_combination(dataset)]
    for name, dataset in datasets.items():
        if not is_combination(dataset):
            continue
        for key in dataset:
            if key not in COMBINATION_KEYS:
                yield ("datasets", name, key), f"unknown key, {nearest(str(key), COMBINATION_KEYS)}"
        names = dataset["combine"]
        if not isinstance(names, list | tuple) or not names:
            yield ("datasets", name, "combine"), f"found {names!r}, expected a list of data sets"
            continue
        for number, part in enumerate(names):
            if part not in sources:
                text = f"found {part!r}, {nearest(str(part), sources)}, with a source of its own"
                yield ("datasets", name, "combine", number), text


def _combination_misfits(
    dataset: CombinedDataset, datasets: Mapping[str, DatasetSettings]
) -> Iterator[tuple[tuple, str]]:
    for number, name in enumerate(dataset.combine[1:], start=1):
        for text in _differences(name, dataset.combine[0], datasets):
            yield ("combine", number), text
    known = ["energy", *dataset.conditions]
    for name in dataset.select:
        if name not in known:
            yield ("select", name), _unknown(name, known)


def _differences(name: str, other: str, datasets: Mapping[str, DatasetSettings]) -> Iterator[str]:
    """In what a data set differs from another one though a model of one must find it in both."""
    pair = datasets[name], datasets[other]
    units = [{key: column.unit for key, column in each.conditions.items()} for each in pair]
    differ = [
        quantity
        for quantity in ("geometry", "readout_threshold_MeV", "paired", "has_primaries")
        if getattr(pair[0], quantity) != getattr(pair[1], quantity)
    ]
    for quantity in [*differ, *([] if units[0] == units[1] else ["conditions"])]:
        yield f"found {name} with other {quantity} than {other}, expected the same"


def _misfit(dataset: DatasetSettings, model: ModelSettings) -> str | None:
    """What keeps a model from learning a data set; None if nothing does."""
    unknown = (text for _, text in _unknown_inputs(model, dataset))
    return model.misfit(dataset) or next(unknown, None)


def _unknown_inputs(model: ModelSettings, dataset: DatasetSettings) -> Iterator[tuple[int, str]]:
    """Numbers of network inputs that name what a data set does not have, and a text."""
    known = [*dataset.conditions, "energy", *(["reference"] if dataset.paired else [])]
    for number, expression in enumerate(model.preprocessing.inputs or ()):
        for name in re.findall(r"\b[A-Za-z]\w*\b(?!\()", expression):
            if name not in known:
                yield number, _unknown(name, known)


def _is_deep_grid(dataset: DatasetSettings) -> bool:
    return dataset.geometry.is_grid and len(dataset.geometry.layers) > 1


def source_files(dataset: DatasetSettings, remote: Collection[str] = ()) -> list[str]:
    """The source files of a data set but for URLs, sorted; relative ones seen from the working directory.

    Files that can be fetched, `remote`, count as present.
    """
    return _sorted_files(dataset.source.files, remote)


def paired_files(dataset: DatasetSettings, remote: Collection[str] = ()) -> list[str]:
    """The files of the full simulation that `source_files` are paired with, sorted; often none."""
    return _sorted_files(dataset.source.paired_files, remote)


def all_files(dataset: DatasetSettings, remote: Collection[str] = ()) -> list[str]:
    """The source files of a data set in the order in which they are read: paths, then URLs."""
    return [*source_files(dataset, remote), *dataset.source.urls]


def all_paired_files(dataset: DatasetSettings, remote: Collection[str] = ()) -> list[str]:
    """The files that `all_files` are paired with: paths, then URLs."""
    return [*paired_files(dataset, remote), *dataset.source.paired_urls]


def _ingest_parts(dataset: DatasetSettings, remote: Collection[str]) -> list[list[str]]:
    files = all_files(dataset, remote)
    parts = [
        files[own.start : own.stop] if dataset.source.files_stand_alone else files
        for own in dataset.ingest_parts(len(files))
    ]
    return [[file for file in part if not is_url(file)] for part in parts]


def _sorted_files(patterns: Iterable[str], remote: Collection[str]) -> list[str]:
    local = (pattern for pattern in patterns if not is_url(pattern))
    return sorted(file for pattern in local for file in matching_files(pattern, remote))


def matching_files(pattern: str, remote: Collection[str] = ()) -> set[str]:
    """The file called `pattern`, or else the files, also `remote` ones, that match it as a glob pattern."""
    path = Path(pattern)
    if path.is_file():
        return {str(path)}
    below = path.relative_to(path.anchor)
    present = {str(file) for file in Path(path.anchor).glob(str(below)) if file.is_file()}
    depth = len(path.parts)
    return present | {
        file for file in remote if len(PurePath(file).parts) == depth and PurePath(file).match(pattern)
    }


def _unknown(name: str, known: Iterable[str]) -> str:
    return f"found {name!r}, {nearest(name, known)}"


def _grid_problems(grid: GridSettings, dataset: DatasetSettings) -> Iterator[str]:
    for name in grid.values:
        if name not in (*dataset.conditions, "energy"):
            yield _unknown(name, [*dataset.conditions, "energy"])
    missing = [name for name in dataset.conditions if name not in grid.values]
    if missing:
        yield f"found no {', '.join(missing)}, expected every condition of the data set"
    if "energy" not in grid.values and not {"px", "py", "pz"} <= grid.values.keys():
        yield "found no energy, expected it [GeV] where px, py and pz do not give it"
