"""Whether a result is what it was made as, and how to make it anew."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from caloforge.reproduction.configuration import configuration
from caloforge.reproduction.differences import Difference, differences
from caloforge.reproduction.instructions import commands, write_folder
from caloforge.reproduction.records import Record, sources, tree_with

__all__ = ["Difference", "Result", "reproduce"]


@dataclass(frozen=True)
class Result:
    """A result, what differs from when it was made, and the commands that make it anew."""

    path: Path
    records: Sequence[Record]
    differences: Sequence[Difference]
    commands: Sequence[str]

    @property
    def matches(self) -> bool:
        """Whether code, libraries, sources and the result itself are as they were."""
        return not any(difference.matters for difference in self.differences)

    @property
    def unchecked(self) -> list[str]:
        """Sources on servers, which have no digest."""
        return [file for file, digest in sources(self.records).items() if digest is None]

    @property
    def devices(self) -> list[str]:
        """The GPUs that networks ran on: results of a GPU are not the same to the last digit again."""
        found = {str(record.get("device") or "cpu") for record in self.records}
        return sorted(found - {"cpu"})


def reproduce(path: Path, output: Path | None) -> Result:
    """Compare a result, and all it follows from, with its records, and prepare to make it anew.

    Parameters
    ----------
    path
        A file or folder of results/.
    output
        New folder for the configuration and links to the sources; None for no commands.

    Raises
    ------
    CaloforgeError
        If no record is found, or those that there are do not make a configuration.
    """
    tree = tree_with(path)
    wanted = tree.of(path)
    chain = tree.upstream(wanted)
    found = differences(tree, wanted, chain)
    if output is None:
        return Result(path, chain, found, [])
    work = write_folder(tree, chain, configuration(chain), output.absolute())
    return Result(path, chain, found, commands(chain, wanted, work))
