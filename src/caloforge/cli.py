"""The command `caloforge`."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from caloforge.errors import CaloforgeError


@dataclass(frozen=True)
class Command:
    """A subcommand: what it is for, its arguments, and what it does with them."""

    purpose: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]


def _inspect_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Say what files are, by their structure and their first events as ingest reads them, and print an "
        "entry for config.yaml. Files of one structure make one data set, those of Delphes and of the full "
        "simulation of the same events make a pair."
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="ROOT, HDF5 or npz")
    parser.add_argument("--yaml", action="store_true", help="print the entry alone")


def _inspect(arguments: argparse.Namespace) -> None:
    from caloforge.inspection import inspect
    from caloforge.inspection.display import show

    found = inspect(arguments.files)
    if arguments.yaml:
        print(merged([item.yaml for item in found]), end="")
    else:
        for item in found:
            show(item)


def merged(entries: Sequence[str]) -> str:
    """Entries as one: `datasets:` stands at the top once."""
    return entries[0] + "".join(entry.removeprefix("datasets:\n") for entry in entries[1:])


COMMANDS = {
    "inspect": Command("say what files are and how to ingest them", _inspect_arguments, _inspect),
}
"""By name; imports of a command stay inside of it, so that the others start fast."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; what it cannot do ends in one line, `error: ...`, and exit status 1."""
    parser = argparse.ArgumentParser(
        prog="caloforge", description="Generative calorimeter simulation: look at its files."
    )
    parser.add_argument("--version", action="version", version=f"caloforge {metadata.version('caloforge')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for name, command in COMMANDS.items():
        subparser = commands.add_parser(name, help=command.purpose)
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    parsed = parser.parse_args(arguments)
    sys.stdout.reconfigure(errors="backslashreplace")  # file names may be no text
    try:
        parsed.run(parsed)
        sys.stdout.flush()
    except CaloforgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
