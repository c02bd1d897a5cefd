"""Settings of a data set: where its showers come from and what they are."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from caloforge.config.base import Settings
from caloforge.geometry import Geometry

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]


class Branch(Settings):
    """A scalar branch of a ROOT tree and the unit its numbers are in."""

    branch: str
    unit: Literal["eV", "keV", "MeV", "GeV", "TeV", "um", "mm", "cm", "m", "mrad", "rad", "deg", "1"] = "1"


class CellBranches(Settings):
    """Names of the jagged branches that list the hit cells of an event."""

    layer: str | None = Field(default="cell_layer", description="layer index; null for a single layer")
    x: str = Field(default="cell_x", description="index along x, from 0, growing with x")
    y: str = Field(default="cell_y", description="index along y, from 0, growing with y")
    energy: str = Field(default="cell_energy", description="deposited energy")
    count: str | None = Field(
        default="ncell",
        description="scalar branch with the number of hit cells, checked against the lists; null for none",
    )


class RootCells(Settings):
    """ROOT trees with one entry per event and jagged lists of hit cells."""

    format: Literal["root_cells"] = "root_cells"
    files: tuple[str, ...] = Field(
        min_length=1, description="files or glob patterns, relative to the working directory"
    )
    tree: str = Field(default="showers", description="name of the tree inside each file")
    event: str = Field(
        default="event", description="integer branch with the event number, unique in the data set"
    )
    incident_energy: Branch = Field(
        default=Branch(branch="energy", unit="GeV"), description="energy of the primary"
    )
    cells: CellBranches = CellBranches()
    cell_energy_unit: Literal["eV", "keV", "MeV", "GeV"] = "MeV"
    metadata: str | None = Field(
        default="metadata", description="name of a JSON text object beside the tree; null for none"
    )


class Condition(Branch):
    """A property of the primary that models are conditioned on; stored in `unit`."""


class Split(Settings):
    """Shares of the events for training, validation and test; which one depends on the event number alone."""

    train: float = Field(default=0.8, gt=0, lt=1)
    val: float = Field(default=0.1, gt=0, lt=1)
    test: float = Field(default=0.1, gt=0, lt=1)

    @model_validator(mode="after")
    def _shares_add_up(self) -> "Split":
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train + val + test is {total:g}, expected 1")
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


class DatasetSettings(Settings):
    """A named data set."""

    title: str = Field(default="", description="one line for the report")
    source: RootCells
    geometry: Geometry
    conditions: dict[Name, Condition] = Field(min_length=1)
    split: Split = Split()
    axis_check: AxisCheck | None = Field(
        default=None, description="verify the axis order of the source; null where no condition tells"
    )
    readout_threshold_MeV: PositiveFloat = Field(
        description="cells at or below this energy read as zero, in the full simulation and in "
        "generated showers alike"
    )
    chunk_events: PositiveInt = Field(
        default=5000, description="events read and held in memory at a time during ingest"
    )

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
