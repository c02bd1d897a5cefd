"""Where networks run."""

import logging

import torch

from caloforge.errors import CaloforgeError

logger = logging.getLogger(__name__)


def device_name(device: torch.device, n: int = 1) -> str:
    """What the device, or each of n alike, is called in records: cpu, or the model of the GPU."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return name if n == 1 else f"{n} x {name}"


def choose_device(wanted: str) -> torch.device:
    """The device that `wanted` (auto, cpu or cuda) means here; the log says when auto means the CPU.

    Raises
    ------
    CaloforgeError
        If CUDA is demanded and there is none.
    """
    if wanted == "cpu" or torch.cuda.is_available():
        return torch.device("cpu" if wanted == "cpu" else "cuda")
    if wanted == "cuda":
        raise CaloforgeError("device: cuda is demanded but PyTorch finds no CUDA device; use auto or cpu")
    logger.info("device: auto is the CPU here, PyTorch finds no CUDA device")
    return torch.device("cpu")
