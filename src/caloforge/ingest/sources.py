"""The source files of a data set: which of them a job reads, and that they stay as they are."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from caloforge.config.dataset import DatasetSettings
from caloforge.config.sources import is_url
from caloforge.errors import CaloforgeError
from caloforge.ingest.batch import Batch
from caloforge.ingest.formats import find_format
from caloforge.ingest.split import names_file


class Sources:
    """The source files of a data set.

    Parameters
    ----------
    settings
        Of the data set.
    name
        Of the data set.
    files
        Its files, in their order: paths, or URLs as text.
    paired
        Files of the full simulation of the same events, where `files` are those of a fast one.
    """

    def __init__(
        self,
        settings: DatasetSettings,
        name: str,
        files: Sequence[Path | str],
        paired: Sequence[Path | str],
    ) -> None:
        self._settings, self._name = settings, name
        self._format = find_format(settings.source.format)
        self.files, self.paired = _located(files), _located(paired)

    def check(self) -> None:
        """Refuse a list of files without any, with one of them twice or without the files for the test.

        Raises
        ------
        CaloforgeError
            Naming the file or the pattern.
        """
        if not self.files:
            raise CaloforgeError(f"data set {self._name}: no source file found, expected at least one")
        files = [*self.files, *self.paired]
        seen: set[Path | str] = set()
        for file in files:
            location = file.resolve() if isinstance(file, Path) else file
            if location in seen:
                raise CaloforgeError(f"data set {self._name}: {file} is listed twice")
            seen.add(location)
        for pattern in self._settings.split.test_files:
            if not any(names_file(pattern, file) for file in files):
                raise CaloforgeError(
                    f"data set {self._name}: split.test_files: {pattern!r} names none of its files, expected "
                    f"one or more of {', '.join(map(str, files))}"
                )

    def seen_by(self, own: range) -> list[Path | str]:
        """The files that have to be opened to read those with the indices `own`, `paired` not among them."""
        if self._settings.source.files_stand_alone:
            return self.files[own.start : own.stop]
        return self.files

    def check_files(self, files: Iterable[Path | str]) -> None:
        """Refuse, before anything is read, what is no whole file of the format."""
        for file in local(files):
            self._format.check_file(file)

    def read(self, own: range | None = None) -> Iterator[Batch]:
        """Read the events of all files, or of those with the indices `own`, in batches."""
        own = range(len(self.files)) if own is None else own
        if self._settings.source.files_stand_alone:
            return self._format.read(self._settings, self.files[own.start : own.stop], ())
        return self._format.read(self._settings, self.files, self.paired, own)

    def digests(self, known: Mapping[str, str]) -> dict[str, str | None]:
        """The digest of every file by its path, None by URLs, which come last; `known` has those of paths."""
        files = [*self.files, *self.paired]
        return {str(file): known[str(file)] for file in local(files)} | {
            file: None for file in files if isinstance(file, str)
        }


def _located(files: Sequence[Path | str]) -> list[Path | str]:
    return [file if isinstance(file, str) and is_url(file) else Path(file) for file in files]


def local(files: Iterable[Path | str]) -> list[Path]:
    """Those of the files that are no URLs."""
    return [file for file in files if isinstance(file, Path)]


@contextmanager
def at_rest(files: Iterable[Path]) -> Iterator[dict[str, list[int]]]:
    """Refuse files that change while the block reads them.

    Yields their states, which `check_states` compares again later.

    Raises
    ------
    CaloforgeError
        Naming the file.
    """
    states = {str(file): _state(file) for file in files}
    yield states
    check_states(states)


def check_states(states: Mapping[str, list[int]]) -> None:
    """Refuse files that are not in these states any more; see `at_rest`."""
    for file, state in states.items():
        if _state(Path(file)) != state:
            raise CaloforgeError(f"{file}: changed while it was read, expected a file at rest")


def _state(file: Path) -> list[int]:
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]
