"""Where showers come from: one class of settings per source format."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeInt, PositiveFloat

from caloforge.config.base import Settings

EnergyUnit = Literal["eV", "keV", "MeV", "GeV", "TeV"]
Unit = Literal["eV", "keV", "MeV", "GeV", "TeV", "um", "mm", "cm", "m", "mrad", "rad", "deg", "ns", "1"]


def is_url(file: str) -> bool:
    """Whether a source file is read from a server, such as `https://…` or `root://…`."""
    return "://" in file


def _local(files: tuple[str, ...]) -> tuple[str, ...]:
    for file in filter(is_url, files):
        raise ValueError(f"found {file!r}, expected a local file: only ROOT files are read from URLs")
    return files


Files = Annotated[tuple[str, ...], Field(min_length=1)]
LocalFiles = Annotated[Files, AfterValidator(_local)]


class Column(Settings):
    """One number per event and the unit it is in."""

    column: str = Field(
        description="branch, field or key; `name[1]` for one component of a vector; or a formula of such, "
        "for example arccos(pz / sqrt(px**2 + py**2 + pz**2))"
    )
    unit: Unit = "1"


class EnergyColumn(Column):
    """One energy per event and its unit."""

    unit: EnergyUnit = "GeV"


class _Source(Settings):
    @property
    def paired(self) -> bool:
        """Whether events of two simulations are paired."""
        return bool(self.paired_files)

    @property
    def paired_files(self) -> tuple[str, ...]:
        """Files or glob patterns of the full simulation, where `files` are those of the fast one."""
        return ()

    @property
    def urls(self) -> tuple[str, ...]:
        """Those of `files` that are read from servers."""
        return tuple(filter(is_url, self.files))

    @property
    def paired_urls(self) -> tuple[str, ...]:
        """Those of `paired_files` that are read from servers."""
        return tuple(filter(is_url, self.paired_files))

    @property
    def files_stand_alone(self) -> bool:
        """Whether a file can be read without the others: events are neither counted over files nor paired."""
        return not self.paired and self.event is not None

    def place_of(self, pattern: str) -> tuple[str | int, ...]:
        """Path below `source` of the key that holds `pattern`."""
        return ("files", self.files.index(pattern))


class Primaries(_Source):
    """What every format says of its events beside their cells."""

    files: Files = Field(
        description="files or glob patterns, relative to the working directory; of ROOT files also URLs"
    )
    event: str | None = Field(
        default="event",
        description="integer column with the event number, unique in the data set; "
        "null to count events over the sorted files",
    )
    incident_energy: EnergyColumn | None = Field(
        default=EnergyColumn(column="energy"),
        description="energy of the primary; null for collision events, which have none: the energy of the "
        "paired fast simulation, or else of the event itself, stands for it",
    )
    cell_energy_unit: EnergyUnit = "MeV"


def _listed(names: object) -> object:
    return [names] if isinstance(names, str) else names


Names = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
"""One name or several."""


class CellBranches(Settings):
    """Names of the jagged branches that list the hit cells of an event."""

    tree: str | None = Field(
        default=None,
        description="tree with the branches of the cells, entry by entry beside `source.tree`; "
        "null for the same tree",
    )
    layer: str | None = Field(default="cell_layer", description="layer index; null for a single layer")
    x: str = Field(
        default="cell_x", description="index along the first axis of a layer (x, eta or alpha), from 0"
    )
    y: str = Field(
        default="cell_y", description="index along the second axis of a layer (y, phi or r), from 0"
    )
    energy: Names = Field(
        default=("cell_energy",), description="deposited energy; several branches are added up"
    )
    count: str | None = Field(
        default="ncell",
        description="scalar branch with the number of hit cells, checked against the lists; null for none",
    )


class RootCells(Primaries):
    """ROOT trees (TTree or RNTuple) with one entry per event and jagged lists of hit cells."""

    format: Literal["root_cells"]
    tree: str = Field(
        default="showers", description="name of the tree inside each file, with its folders: `folder/tree`"
    )
    cells: CellBranches = CellBranches()
    metadata: str | None = Field(
        default="metadata", description="name of a JSON text object beside the tree; null for none"
    )


AxisName = Literal["layer", "x", "y", "eta", "phi", "alpha", "r"]


class _Dense(Primaries):
    axes: tuple[AxisName, ...] | None = Field(
        default=None,
        description="order of the axes of the cells of an event, slowest first, for example [x, y, layer]; "
        "null if they are stored as in the canonical file: layer by layer, each along its two axes",
    )
    sum_layers: NonNegativeInt = Field(
        default=0,
        description="the source has this many layers, summed into the only one of the geometry; "
        "0 where layers stay apart",
    )
    extra_cells: NonNegativeInt = Field(
        default=0, description="numbers behind the cells that are left out, such as overflows"
    )


class RootArrays(_Dense):
    """ROOT trees (TTree or RNTuple) that hold every cell of an event, as a vector or one branch per cell."""

    format: Literal["root_arrays"]
    tree: str = Field(default="showers", description="name of the tree inside each file")
    cells: str = Field(
        description="branch with the energies of all cells, or a pattern such as `cell_*` for one branch "
        "per cell, in the order of their numbers"
    )
    metadata: str | None = Field(
        default=None, description="name of a JSON text object beside the tree; null for none"
    )


class Arrays(_Dense):
    """HDF5 or npz files with one array per quantity, events along the first axis."""

    format: Literal["arrays"]
    files: LocalFiles = Field(description="files or glob patterns, relative to the working directory")
    cells: Names = Field(
        description="key of the energies of all cells, `group/key` in a group, or one key per layer from the "
        "front to the back"
    )
    stored_as: PositiveFloat = Field(
        default=1, description="the file holds cell energies times this factor; ingest divides by it"
    )
    allow_pickle: bool = Field(
        default=False,
        description="read pickled object arrays of npz files, which can run any code: only for files of "
        "your own",
    )


Unmatched = Annotated[
    Literal["refuse", "drop"],
    Field(
        description="what to do when events of one side have no partner: end with an error, or leave them "
        "out and count them"
    ),
]


class FullTowers(Settings):
    """ROOT trees with the towers of the full simulation, one entry per event."""

    files: Files
    tree: str = "calotowers"
    event: str = Field(default="event", description="integer branch with the event number of Delphes")
    eta: str = Field(default="tower_ieta", description="index of the tower in eta, from 0")
    phi: str = Field(default="tower_iphi", description="index of the tower in phi, from 0 at -pi")
    energy: Names = Field(
        default=("tower_em", "tower_had"), description="energies of the tower, which are added up"
    )
    cell_energy_unit: EnergyUnit = "GeV"


class Delphes(_Source):
    """Delphes trees as images of towers, paired by event number with the full simulation."""

    format: Literal["delphes"]
    files: Files = Field(description="files or glob patterns of Delphes, relative to the working directory")
    tree: str = "Delphes"
    event: str = Field(
        default="Event.Number", description="branch with one number per event, unique in the data set"
    )
    towers: str = Field(
        default="Tower", description="branch of the towers, of which Eta, Phi, E, Eem and Ehad are read"
    )
    full_simulation: FullTowers | None = Field(
        default=None, description="null for Delphes alone: its images are the showers"
    )
    unmatched: Unmatched = "refuse"

    @property
    def paired_files(self) -> tuple[str, ...]:
        """Files of the full simulation."""
        return self.full_simulation.files if self.full_simulation else ()

    def place_of(self, pattern: str) -> tuple[str | int, ...]:
        """Path below `source` of the key that holds `pattern`."""
        if pattern in self.files:
            return super().place_of(pattern)
        return ("full_simulation", "files", self.paired_files.index(pattern))


class RootImages(_Source):
    """One two-dimensional histogram per event, of the fast and of the full simulation."""

    format: Literal["root_images"]
    files: Files = Field(description="files of the fast simulation")
    full_files: Files = Field(description="files of the full simulation")
    images: str = Field(
        default="DQMData/calo_image_*",
        pattern=r"^[^*]*\*[^*/]*$",
        description="name of the histograms; one * after their folder stands for their number",
    )
    full_number_minus_fast: int = Field(
        default=1,
        description="number of the full-simulation image minus that of the fast one of the same event",
    )
    cell_energy_unit: EnergyUnit = "MeV"
    unmatched: Unmatched = "refuse"

    @property
    def paired_files(self) -> tuple[str, ...]:
        """Files of the full simulation."""
        return self.full_files

    def place_of(self, pattern: str) -> tuple[str | int, ...]:
        """Path below `source` of the key that holds `pattern`."""
        if pattern in self.files:
            return super().place_of(pattern)
        return ("full_files", self.full_files.index(pattern))


Source = Annotated[RootCells | RootArrays | Arrays | Delphes | RootImages, Field(discriminator="format")]
