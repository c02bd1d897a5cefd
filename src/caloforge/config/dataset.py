"""Settings of a data set: where its showers come from and what they are."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Discriminator,
    Field,
    FiniteFloat,
    PositiveFloat,
    PositiveInt,
    Tag,
    model_validator,
)

from caloforge.binning import BinningFile
from caloforge.config.base import Settings
from caloforge.config.sources import Column, Primaries, Source
from caloforge.geometry import AXES, Geometry

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]


class Split(Settings):
    """Shares of the events for training, validation and test; which one depends on the event number alone.

    Files may be set aside for the test; the shares are those of the other files then.
    """

    train: float = Field(default=0.8, gt=0, lt=1)
    val: float = Field(default=0.1, gt=0, lt=1)
    test: float = Field(default=0.1, ge=0, lt=1, description="0 with `test_files`")
    test_files: tuple[str, ...] = Field(
        default=(),
        description="names, paths or glob patterns of the source files whose events are the test set; "
        "compared from the right, so that a name is enough",
    )

    @model_validator(mode="after")
    def _shares_add_up(self) -> "Split":
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train + val + test is {total:g}, expected 1")
        if self.test_files and self.test:
            raise ValueError(f"found test_files and a share of {self.test:g} for the test, expected test: 0")
        if not self.test_files and not self.test:
            raise ValueError("found 0 for the test, expected a share or test_files")
        return self


class AxisCheck(Settings):
    """Conditions whose growth must move the centre of gravity along x and along y.

    Ingest verifies it on the data, so that a source with swapped or mirrored axes is refused.
    """

    x: tuple[str, str] = Field(
        default=("px", "pz"), description="the centre of gravity in x follows x[0] / x[1]"
    )
    y: tuple[str, str] = Field(
        default=("py", "pz"), description="the centre of gravity in y follows y[0] / y[1]"
    )


def _read_binning(geometry: Geometry | BinningFile) -> Geometry:
    return geometry.geometry() if isinstance(geometry, BinningFile) else geometry


GeometrySource = Annotated[
    Annotated[
        Annotated[Geometry, Tag("layers")] | Annotated[BinningFile, Tag("binning")],
        Discriminator(lambda value: "binning" if "binning" in dict(value) else "layers"),
    ],
    AfterValidator(_read_binning),
]


class DatasetSettings(Settings):
    """A named data set."""

    title: str = Field(default="", description="one line for the report")
    source: Source
    geometry: GeometrySource = Field(
        description="the layers of the detector, or the binning file of the CaloChallenge that lists them"
    )
    conditions: dict[Name, Column] = Field(
        default={}, description="properties of the primary that models are conditioned on; stored in `unit`"
    )
    split: Split = Split()
    axis_check: AxisCheck | None = Field(
        default=None, description="verify the axis order of the source; null where no condition tells"
    )
    readout_threshold_MeV: PositiveFloat = Field(
        description="cells at or below this energy read as zero, in the full simulation and in "
        "generated showers alike"
    )
    visible_fraction: tuple[FiniteFloat, FiniteFloat] = Field(
        default=(1e-4, 1.05),
        description="of the incident energy; ingest refuses a data set whose median is below the first or "
        "of which a shower is above the second, because a unit must be wrong",
    )
    empty_showers: Literal["keep", "drop", "refuse"] = Field(
        default="keep", description="what ingest does with showers without any energy; it counts them always"
    )
    chunk_events: PositiveInt = Field(
        default=5000, description="events read and held in memory at a time during ingest"
    )
    files_per_job: PositiveInt | None = Field(
        default=None,
        description="source files that a job of ingest reads, at most; null for all files in one job",
    )

    @property
    def paired(self) -> bool:
        """Whether every shower has an image of the fast simulation of the same event."""
        return self.source.paired

    @property
    def has_primaries(self) -> bool:
        """Whether each event is the shower of one primary, and not a collision."""
        return getattr(self.source, "incident_energy", None) is not None

    def ingest_parts(self, files: int) -> list[range]:
        """Indices of the source files that each job of ingest reads, where there are so many files."""
        size = self.files_per_job or files
        return [range(first, min(first + size, files)) for first in range(0, files, size)]

    @model_validator(mode="after")
    def _axes_are_those_of_the_geometry(self) -> "DatasetSettings":
        axes, sum_layers = getattr(self.source, "axes", None), getattr(self.source, "sum_layers", 0)
        own = AXES[self.geometry.kind]
        if sum_layers and len(self.geometry.layers) > 1:
            raise ValueError(
                f"source.sum_layers is {sum_layers}, but the geometry has {len(self.geometry.layers)} "
                f"layers, expected one"
            )
        if axes is None:
            return self
        expected = {*own, "layer"} if sum_layers or "layer" in axes else {*own}
        if sorted(axes) != sorted(expected):
            raise ValueError(
                f"source.axes is {', '.join(axes)}, expected each of {', '.join(sorted(expected))} once"
            )
        if "layer" in axes and not self.geometry.is_grid and not sum_layers:
            raise ValueError("source.axes has layer, but the layers of the geometry differ")
        return self

    @model_validator(mode="after")
    def _collisions_are_images_in_eta_and_phi(self) -> "DatasetSettings":
        if isinstance(self.source, Primaries):
            return self
        of_source = f"with the source format {self.source.format}"
        if self.geometry.kind != "eta_phi" or len(self.geometry.layers) != 1:
            found = f"{len(self.geometry.layers)} of the kind {self.geometry.kind}"
            raise ValueError(f"geometry.layers: found {found}, expected one of the kind eta_phi {of_source}")
        if self.conditions or self.axis_check:
            name = "conditions" if self.conditions else "axis_check"
            raise ValueError(f"found {name}, expected none {of_source}, whose events have no primary")
        return self

    @model_validator(mode="after")
    def _axis_check_uses_conditions(self) -> "DatasetSettings":
        if self.axis_check:
            for name in (*self.axis_check.x, *self.axis_check.y):
                if name not in self.conditions:
                    raise ValueError(
                        f"axis_check uses the condition {name!r}, "
                        f"but conditions are {', '.join(self.conditions)}"
                    )
        return self


COMBINATION_KEYS = ("title", "combine", "select")
"""What the configuration states of a data set that combines others."""


def _only_own_keys(schema: dict[str, Any]) -> None:
    schema["properties"] = {key: schema["properties"][key] for key in COMBINATION_KEYS}
    schema["required"] = ["combine"]


class CombinedDataset(DatasetSettings):
    """Events of other data sets together, or some of them; everything else is as in the first of them."""

    model_config = ConfigDict(json_schema_extra=_only_own_keys)

    combine: tuple[Name, ...] = Field(
        min_length=1,
        description="names under datasets, of one calorimeter and with the same conditions; each of their "
        "events stays what it is, of the training, the validation or the test set",
    )
    select: dict[Name, tuple[FiniteFloat, FiniteFloat]] = Field(
        default={},
        description="conditions, or `energy` for the incident energy [GeV], and the range that they are "
        "within: from the first number up to but not including the second",
    )

    @model_validator(mode="after")
    def _ranges_are_not_empty(self) -> "CombinedDataset":
        for name, (low, high) in self.select.items():
            if low >= high:
                raise ValueError(f"select.{name}: found {low:g} to {high:g}, expected the lower number first")
        return self


def _dataset_class(value: Any) -> str:
    combines = isinstance(value, CombinedDataset) or "combine" in dict(value)
    return CombinedDataset.__name__ if combines else DatasetSettings.__name__


AnyDataset = Annotated[
    Annotated[DatasetSettings, Tag(DatasetSettings.__name__)]
    | Annotated[CombinedDataset, Tag(CombinedDataset.__name__)],
    Discriminator(_dataset_class),
]


def written_out(datasets: Mapping[str, Any]) -> dict[str, Any]:
    """Data sets as the configuration has them, combinations with the keys of the first that they combine."""
    return {
        name: {**datasets[dataset["combine"][0]], "title": "", **dataset}
        if is_combination(dataset)
        else dataset
        for name, dataset in datasets.items()
    }


def is_combination(dataset: Any) -> bool:
    """Whether an entry of `datasets`, as the configuration has it, combines others."""
    return isinstance(dataset, Mapping) and "combine" in dataset
