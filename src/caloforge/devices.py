"""Where networks run."""

import logging
from typing import Literal

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


def choose_precision(
    wanted: Literal["auto", "float32", "bfloat16"], device: torch.device
) -> Literal["float32", "bfloat16"]:
    """The precision that `wanted` means on the device: auto is bfloat16 if it has instructions for that."""
    if wanted == "auto":
        return "bfloat16" if _computes_bfloat16(device.type) else "float32"
    return wanted


def announce_precision(wanted: str, device: torch.device) -> None:
    """Log what auto means on the device, or that bfloat16 is emulated there."""
    if wanted == "auto":
        logger.info("precision: auto is %s on this device", choose_precision(wanted, device))
    elif wanted == "bfloat16" and not _computes_bfloat16(device.type):
        logger.warning(
            "precision: bfloat16 has no instructions on this device and may take many times as long as "
            "float32; use auto or float32"
        )


def _computes_bfloat16(device_type: str) -> bool:
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return any(there for name, there in torch.cpu.get_capabilities().items() if "bf16" in name)
