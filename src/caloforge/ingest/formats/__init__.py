"""Source formats, one module each.

A module offers

`check_file(path)`
    refuse, before anything is read, what is not a file of this format or shorter than it says it is;
`read(settings, files, paired, own)`
    an iterator over `Batch`es of the events of all files, in their order, or of those with the indices `own`.
    `paired` are the files of the other simulation for the formats that pair events, else empty.

Both raise a `CaloforgeError` that names file, tree and branch or key, entry and event as far as they apply.
"""

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from caloforge.config.dataset import DatasetSettings
from caloforge.ingest.batch import EVERY_FILE, Batch


class Format(Protocol):
    """What a module of this package offers."""

    def check_file(self, path: Path) -> None:
        """Refuse what is not a whole file of this format."""

    def read(
        self,
        settings: DatasetSettings,
        files: Sequence[Path],
        paired: Sequence[Path],
        own: range = EVERY_FILE,
    ) -> Iterator[Batch]:
        """Read the events of the files with the indices `own` in batches."""


def find_format(name: str) -> Format:
    """The module of the source format `name`."""
    return cast(Format, import_module(f"{__name__}.{name}"))
