"""Where networks run."""

import torch

from caloforge.errors import CaloforgeError


def device_name(device: torch.device, n: int = 1) -> str:
    """What the device, or each of n alike, is called in records: cpu, or the model of the GPU."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return name if n == 1 else f"{n} x {name}"


def choose_device(wanted: str) -> torch.device:
    """The device that `wanted` (auto, cpu or cuda) means here.

    Raises
    ------
    CaloforgeError
        If CUDA is demanded and there is none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise CaloforgeError("device: cuda is demanded but PyTorch finds no CUDA device; use auto or cpu")
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)
