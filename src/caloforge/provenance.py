"""Records of what made a result: inputs, outputs, settings, seed, code, libraries, device, time."""

import hashlib
import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from caloforge.atomic import write_json
from caloforge.errors import CaloforgeError

_LIBRARIES = (
    "numpy",
    "scipy",
    "h5py",
    "uproot",
    "awkward",
    "fastjet",
    "scikit-learn",
    "optuna",
    "torch",
    "mplhep",
    "matplotlib",
)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal; of a folder, that of the list of the digests of its files.

    Each line of the list is `<digest>  <path in the folder>`, as sha256sum(1) writes it, sorted by the paths.
    Hidden files, such as Snakemake leaves in folders, and caches of Python are not in it.

    Raises
    ------
    CaloforgeError
        If there is no such file.
    """
    if Path(path).is_dir():
        return _folder_digest(path)
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise CaloforgeError(f"{path}: no such file") from None


@contextmanager
def recorded(
    path: Path,
    *,
    stage: str,
    inputs: Iterable[Path],
    outputs: Iterable[Path] | Mapping[Path, Path],
    settings: Mapping[str, Any],
    seed: int | None = None,
    earlier: Iterable[Path] = (),
) -> Iterator[dict[str, Any]]:
    """Time a stage and, when it ends well, write its record to `path` (JSON).

    Yields the record: its `inputs` already hold the digest of each input by its path, and the stage adds what
    only it knows, such as the device. Digests of the `outputs`, files or folders, are taken at the end, of a
    mapping those of its values. The times of `earlier` jobs, given by their records, are added to its own.
    """
    wall, cpu = time.monotonic(), time.process_time()
    started = _now()
    record: dict[str, Any] = {
        "stage": stage,
        "inputs": {str(file): file_digest(file) for file in inputs},
        "settings": dict(settings),
        "seed": seed,
        "code": code_version(),
        "libraries": library_versions(),
        "machine": {"system": platform.platform(), "processor": platform.machine(), "cpus": _cpu_count()},
    }
    yield record
    where = outputs if isinstance(outputs, Mapping) else {output: output for output in outputs}
    record["outputs"] = {str(output): file_digest(present) for output, present in where.items()}
    times = [entry(of_job, "time_s") for of_job in earlier]
    record["started"] = min([started, *(entry(of_job, "started") for of_job in earlier)])
    record["ended"] = _now()
    record["time_s"] = {
        "wall": time.monotonic() - wall + sum(of_job["wall"] for of_job in times),
        "cpu": time.process_time() - cpu + sum(of_job["cpu"] for of_job in times),
    }
    write_json(path, record)


def entry(record: Path, key: str) -> Any:
    """What a record says under a key.

    Raises
    ------
    CaloforgeError
        If it is not a record with this key.
    """
    try:
        return json.loads(record.read_text(encoding="utf-8"))[key]
    except (ValueError, KeyError, TypeError) as error:
        raise CaloforgeError(f"{record}: a record with the key {key} expected: {error!r}") from None


@cache
def code_version() -> dict[str, Any]:
    """Version of caloforge, digest of its files and, in a git checkout, commit and whether they differ."""
    version: dict[str, Any] = {
        "caloforge": metadata.version("caloforge"),
        "sources": _folder_digest(Path(__file__).parent),
        "commit": None,
        "modified": None,
    }
    try:
        _git("ls-files", "--error-unmatch", Path(__file__).name)
        described = _git("describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+modified")
    except (OSError, subprocess.SubprocessError):
        return version
    commit, _, modified = described.partition("+")
    return version | {"commit": commit, "modified": bool(modified)}


@cache
def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that shape results."""
    versions = {"python": platform.python_version()}
    for library in _LIBRARIES:
        versions[library] = metadata.version(library)
    return versions


def _folder_digest(folder: Path) -> str:
    files = sorted(file.relative_to(folder) for file in Path(folder).rglob("*") if file.is_file())
    lines = (
        f"{file_digest(folder / file)}  {file.as_posix()}\n"
        for file in files
        if not any(part.startswith((".", "__pycache__")) for part in file.parts)
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def _cpu_count() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
