"""What surrounds a stage in its own process: the log, and how it fails."""

import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from caloforge.errors import CaloforgeError
from caloforge.gpu_allocation import allocated_gpus


@contextmanager
def stage(log: str | Path, gpus: int = 0) -> Iterator[None]:
    """Log to the file `log` and to standard error while the block runs, and use `gpus` GPUs of the machine.

    A `CaloforgeError` becomes one line, `error: ...`, and exit status 1. Any other exception is a bug: its
    traceback goes to the log and on to standard error.
    """
    file = logging.FileHandler(log, mode="w", encoding="utf-8")
    terminal = logging.StreamHandler(sys.stderr)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
        handlers=[file, terminal],
        force=True,
    )
    logging.captureWarnings(True)
    try:
        with allocated_gpus(gpus):
            yield
    except CaloforgeError as error:
        for stream in (file.stream, terminal.stream):
            print(f"error: {error}", file=stream, flush=True)
        raise SystemExit(1) from None
    except Exception:
        print(traceback.format_exc(), file=file.stream, flush=True)
        raise


def paths(*named: Any) -> dict[str, Path]:
    """The named files of a job as keyword arguments; each of `named` lists them with `items()`.

    A name without a file, which only some jobs have, is left out.
    """
    return {name: Path(path) for files in named for name, path in files.items() if path}
