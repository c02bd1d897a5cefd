"""Finished models on disk: weights and everything needed to use them, loaded without executing code."""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from caloforge.atomic import atomic_path
from caloforge.errors import CaloforgeError

_KEYS = {"kind", "settings", "geometry", "preprocessing", "weights"}


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint with the keys kind, settings, geometry, preprocessing and weights.

    The same content gives the same bytes: tensors are detached, made contiguous and moved to the CPU.
    """
    assert content.keys() == _KEYS
    weights = {
        name: tensor.detach().cpu().contiguous().clone() for name, tensor in content["weights"].items()
    }
    write(path, content | {"weights": weights})


def write(path: Path, content: Any) -> None:
    """Write tensors and plain data atomically."""
    buffer = io.BytesIO()  # torch.save to a path hides why a write is refused
    torch.save(content, buffer)
    with atomic_path(path) as partial:
        partial.write_bytes(buffer.getbuffer())


def load(path: Path, kind: str) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises
    ------
    CaloforgeError
        If the file is missing, is no checkpoint or is one of another kind of model.
    """
    if not path.is_file():
        raise CaloforgeError(f"{path}: no such file, expected a checkpoint of a {kind}")
    if not zipfile.is_zipfile(path):
        raise CaloforgeError(f"{path}: not a checkpoint: no zip archive as PyTorch writes it, or cut short")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise CaloforgeError(f"{path}: not a readable checkpoint: {str(error).splitlines()[0]}") from None
    if not isinstance(content, dict) or content.keys() != _KEYS:
        raise CaloforgeError(f"{path}: not a caloforge checkpoint, expected one of a {kind}")
    if content["kind"] != kind:
        raise CaloforgeError(f"{path}: checkpoint of a {content['kind']} found, expected one of a {kind}")
    return content


def require(path: Path, content: dict[str, Any], **expected: Any) -> None:
    """Check that a loaded checkpoint was made with what is now asked for.

    Raises
    ------
    CaloforgeError
        Naming the first entry, by its dotted key, that differs.
    """
    for key, value in expected.items():
        difference = _first_difference(key, content[key], value)
        if difference:
            name, found, wanted = difference
            raise CaloforgeError(
                f"{path}: checkpoint of another model: {name} is {found!r}, expected {wanted!r}"
            )


def _first_difference(name: str, found: Any, wanted: Any) -> tuple[str, Any, Any] | None:
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted(found.keys() | wanted.keys()):
            difference = _first_difference(f"{name}.{key}", found.get(key), wanted.get(key))
            if difference:
                return difference
        return None
    return None if found == wanted else (name, found, wanted)
