"""A folder to make results anew in, and the commands that do it."""

import contextlib
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from caloforge.atomic import atomic_path, write_text
from caloforge.config.load import validate
from caloforge.errors import CaloforgeError
from caloforge.provenance import code_version, library_versions
from caloforge.reproduction.records import Record, Tree, sources

CHECKOUT = Path(__file__).parents[3]
"""Where the workflow is that this library belongs to."""


def write_folder(tree: Tree, chain: Sequence[Record], config: Mapping[str, Any], folder: Path) -> Path:
    """Write a new folder to make results anew in: their configuration, library versions, links to sources.

    Source files are linked to under the paths that the records name them by, so that results are the same to
    the byte. Where these lead out of the working directory, as `../data/*.root` does, the workflow must run
    in a folder within the new one.

    Returns
    -------
    The working directory for the workflow: `folder`, or one in it.

    Raises
    ------
    CaloforgeError
        If the folder exists, a source file is missing, or this version of caloforge refuses the
        configuration.
    """
    if folder.exists():
        raise CaloforgeError(f"{folder}: exists, expected a new folder")
    files = [file for file in sources(chain) if "://" not in file]
    for file in files:
        if not (tree.root / file).is_file():
            raise CaloforgeError(f"{tree.root / file}: no such file, expected a source file of the result")
    relative = {os.path.normpath(file): tree.root / file for file in files if not Path(file).is_absolute()}
    climbs = max((Path(file).parts.count("..") for file in relative), default=0)
    within = Path(*tree.root.parts[len(tree.root.parts) - climbs :])
    with atomic_path(folder) as partial:
        work = partial / within
        work.mkdir(parents=True)
        for file, target in relative.items():
            link = Path(os.path.normpath(work / file))
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target.resolve())
        write_text(work / "config.yaml", yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))
        write_text(work / "versions.txt", _versions(chain))
        _validate(config, work)
    return folder / within


def _validate(config: Mapping[str, Any], work: Path) -> None:
    with contextlib.chdir(work):
        try:
            validate(config)
        except CaloforgeError as error:
            raise CaloforgeError(f"as the records have it, {error}") from None


def _versions(chain: Sequence[Record]) -> str:
    """Versions of the libraries that the last result was made with, as pip reads them with -c."""
    return "".join(
        f"{library}=={version}\n"
        for library, version in chain[-1].content.libraries.items()
        if library != "python"
    )


def commands(chain: Sequence[Record], wanted: Sequence[Record], work: Path) -> list[str]:
    """Shell commands that make results anew in the working directory that `write_folder` wrote.

    Code and libraries that are at hand are used as they are; otherwise the first commands get them.

    Parameters
    ----------
    chain
        Records of the results, and of everything that they follow from.
    wanted
        Records of the results.
    work
        The working directory.
    """
    code, libraries = chain[-1].content.code, chain[-1].content.libraries
    same_code = code.sources == code_version()["sources"]
    same_libraries = libraries == library_versions()
    lines = [["cd", work]]
    checkout, run = CHECKOUT, ["snakemake"]
    if not same_code and code.commit:
        checkout = Path("caloforge")
        lines += [
            ["git", "clone", CHECKOUT, checkout],
            ["git", "-C", checkout, "checkout", "--quiet", code.commit],
        ]
    if not (same_code and same_libraries):
        python = "python" + ".".join(libraries["python"].split(".")[:2])
        lines += [
            [python, "-m", "venv", ".venv"],
            [".venv/bin/pip", "install", "-c", "versions.txt", "-e", checkout],
        ]
        run = [".venv/bin/snakemake"]
    targets = [record.path for record in _last(wanted)]
    lines.append([*run, "--snakefile", checkout / "Snakefile", "--cores", "all", *targets])
    return [shlex.join(map(str, line)) for line in lines]


def _last(wanted: Sequence[Record]) -> list[Record]:
    """Those that no other of the results follows from."""
    read = {file for record in wanted for file in record.content.inputs}
    return [
        record
        for record in wanted
        if not any(file in read for file in (record.path, *record.content.outputs))
    ]
