"""What networks cost: parameters, arithmetic, memory."""

import resource
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def n_parameters(network: nn.Module) -> int:
    """Number of weights and biases, trained or frozen."""
    return sum(weight.numel() for weight in network.parameters())


def n_dense_parameters(network: nn.Module) -> int:
    """Number of weights and biases in the fully connected layers (`torch.nn.Linear`)."""
    return sum(n_parameters(layer) for layer in network.modules() if isinstance(layer, nn.Linear))


def count_flop(call: Callable[[], Any]) -> int:
    """Floating-point operations in the convolutions and matrix products of a call.

    A multiplication with the addition that follows it counts as two; biases, normalisations and activations
    count nothing. Per shower and pair of channels, a convolution multiplies as often as its kernel has taps,
    times the cells of its output, a transposed convolution times those of its input, padding or not.

    This is the arithmetic of what runs, not of the layers in a paper: an upsampling and a convolution that
    run as one transposed convolution count as that, with the making of its kernel once per call. The
    published generator of `gan3d_conv3d` has 511 MFLOP layer by layer, and here 251.
    """
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def peak_memory(device: torch.device) -> dict[str, float | None]:
    """The most memory that this process has held at any time, for the record of a stage.

    Returns
    -------
    `peak_memory_MB`, resident memory as the kernel counts it, which on Linux is never less than what the
    process that started this one held then; and `peak_gpu_memory_MB`, what tensors took on the GPU, None on a
    CPU.
    """
    unit_bytes = 1 if sys.platform == "darwin" else 1024  # getrusage(2) of macOS and of Linux
    gpu_bytes = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return {
        "peak_memory_MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes / 1e6,
        "peak_gpu_memory_MB": gpu_bytes and gpu_bytes / 1e6,
    }
