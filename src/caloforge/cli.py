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
    """A subcommand: what it is for, its arguments, and what it does with them, to an exit status or to 0."""

    purpose: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int | None]


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


def _compare_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Score the showers of SAMPLE beside the full simulation of REFERENCE: distances of all observables, "
        "scores of whole samples and classifiers, each with its error and its floor. Files are canonical or "
        "of any layout that `caloforge inspect` knows."
    )
    parser.add_argument("reference", type=Path, metavar="REFERENCE", help="full simulation")
    parser.add_argument("sample", type=Path, metavar="SAMPLE", help="what is to be scored")
    parser.add_argument(
        "--independent",
        type=Path,
        metavar="FILE",
        help="further full simulation for the floor; else one half of REFERENCE, and the other is compared",
    )
    parser.add_argument(
        "--training",
        type=Path,
        metavar="FILE",
        help="what SAMPLE was trained on: adds distances to the nearest training shower",
    )
    parser.add_argument(
        "--geometry",
        type=Path,
        metavar="FILE",
        help="entry of config.yaml for files that are not canonical, as `caloforge inspect --yaml` prints it",
    )
    parser.add_argument(
        "--readout-threshold-MeV",
        type=float,
        metavar="E",
        help="cells must be above it; else that of the entry",
    )
    parser.add_argument("--seed", type=int, default=2026, help="of all random numbers (%(default)s)")
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="new folder for a page, its figures and metrics.json"
    )


def _compare(arguments: argparse.Namespace) -> None:
    from tempfile import TemporaryDirectory

    from caloforge.config.stages import EvaluationSettings, FigureSettings
    from caloforge.file_comparison import compare_files
    from caloforge.report.text import show_scores

    if arguments.output and arguments.output.exists():
        raise CaloforgeError(f"{arguments.output}: exists, expected a new folder")
    with TemporaryDirectory(prefix="caloforge-") as folder:
        output = arguments.output or Path(folder) / "comparison"
        names = ("reference", "sample", "independent", "training", "geometry", "readout_threshold_MeV")
        compare_files(
            **{name: getattr(arguments, name) for name in names},
            settings=EvaluationSettings(seed=arguments.seed),
            figures=FigureSettings(),
            output=output,
        )
        show_scores(output / "metrics.json")


def _status_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Say what the last call of the workflow in a working directory is at, while it runs and afterwards: "
        "for each run its stage, epochs, losses, time left and best validation, and the logs to look at."
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path(), metavar="FOLDER", help="working directory (this one)"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="print JSON, for programs")
    how.add_argument("--watch", action="store_true", help="show it anew every few seconds while it runs")


def _status(arguments: argparse.Namespace) -> None:
    from caloforge.status import read_status
    from caloforge.status.display import show, watch

    if arguments.watch:
        watch(arguments.folder)
    else:
        show(read_status(arguments.folder), as_json=arguments.json)


def _reproduce_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Compare a result of the workflow, and all it follows from, with the records of what made them: "
        "code, libraries, source files and results as they are now. What differs is listed, and the exit "
        "status is 1 then. With --output, also prepare a folder and print the commands that make the result "
        "anew there."
    )
    parser.add_argument(
        "result",
        type=Path,
        metavar="RESULT",
        help="file or folder of results/: results/<data set>/<model>/seed<n>, …/data, results/report",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="new folder for the recorded configuration, library versions and links to the source files",
    )


def _reproduce(arguments: argparse.Namespace) -> int:
    from caloforge.reproduction import reproduce
    from caloforge.reproduction.display import show

    result = reproduce(arguments.result, arguments.output)
    show(result)
    return int(not result.matches)


def _crate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Describe the results of a finished run for machines and archives: write ro-crate-metadata.json "
        "(RO-Crate 1.1, Workflow Run Crate), the workflow and its configuration into results/."
    )
    parser.add_argument(
        "results", nargs="?", type=Path, default=Path("results"), metavar="RESULTS", help="folder (results)"
    )
    parser.add_argument("--license", metavar="URL", help="address of the licence that the results have")


def _crate(arguments: argparse.Namespace) -> None:
    from caloforge.reproduction.crate import write_crate

    print(write_crate(arguments.results, license=arguments.license))


def merged(entries: Sequence[str]) -> str:
    """Entries as one: `datasets:` stands at the top once."""
    return entries[0] + "".join(entry.removeprefix("datasets:\n") for entry in entries[1:])


COMMANDS = {
    "inspect": Command("say what files are and how to ingest them", _inspect_arguments, _inspect),
    "compare": Command("score showers of a file beside those of another", _compare_arguments, _compare),
    "reproduce": Command("check how a result was made, and make it anew", _reproduce_arguments, _reproduce),
    "crate": Command("describe finished results as an RO-Crate", _crate_arguments, _crate),
    "status": Command("say what the workflow is at", _status_arguments, _status),
}
"""By name; imports of a command stay inside of it, so that the others start fast."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; what it cannot do ends in one line, `error: ...`, and exit status 1."""
    parser = argparse.ArgumentParser(
        prog="caloforge", description="Generative calorimeter simulation: look at its files, score them."
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
        status = parsed.run(parsed)
        sys.stdout.flush()
    except CaloforgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status or 0


if __name__ == "__main__":
    sys.exit(main())
