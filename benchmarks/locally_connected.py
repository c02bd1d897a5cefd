"""Time of locally connected layers, forward and backward, against a loop over positions and a convolution.

python benchmarks/locally_connected.py [--batch 256] [--threads 1]

For the layers of CaloGAN. The convolution has the same arithmetic, with one kernel for all positions.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from caloforge.models.layer_stack.layers import LocallyConnected2d

LAYERS = {
    "discriminator, front, 64 to 16": (64, 16, (3, 3), (5, 98), (1, 2)),
    "discriminator, front, 16 to 8": (16, 8, (2, 2), (5, 50), (1, 1)),
    "discriminator, middle, 64 to 16": (64, 16, (3, 3), (14, 14), (1, 2)),
    "generator, front, 16 to 6": (16, 6, (2, 2), (5, 98), (1, 1)),
    "generator, front, 6 to 1": (6, 1, (2, 2), (4, 97), (1, 1)),
    "attention, middle, 2 to 2": (2, 2, (3, 3), (14, 14), (1, 1)),
}


class Loop(LocallyConnected2d):
    """The same layer, one position after the other."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve."""
        rows, columns = self.positions
        out = []
        for row in range(rows):
            for column in range(columns):
                top, left = row * self.stride[0], column * self.stride[1]
                window = x[:, :, top : top + self.kernel[0], left : left + self.kernel[1]]
                position = row * columns + column
                out.append(
                    window.permute(0, 2, 3, 1).flatten(1) @ self.weight[position] + self.bias[position]
                )
        return torch.stack(out, dim=2).unflatten(2, self.positions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(f"batch {options.batch}, {options.threads} threads, shortest of {options.runs} runs [ms]")
    print(f"{'':34}{'here':>8}{'loop':>8}{'conv':>8}{'loop/here':>11}{'here/conv':>11}")
    for name, (n_in, n_out, kernel, size, stride) in LAYERS.items():
        x = torch.randn(options.batch, n_in, *size, requires_grad=True)
        layers = (
            LocallyConnected2d(n_in, n_out, kernel, size, stride),
            Loop(n_in, n_out, kernel, size, stride),
            nn.Conv2d(n_in, n_out, kernel, stride),
        )
        here, loop, convolution = (shortest_ms(step(layer, x), options.runs) for layer in layers)
        print(
            f"{name:34}{here:8.1f}{loop:8.1f}{convolution:8.1f}{loop / here:11.1f}{here / convolution:11.2f}"
        )


def step(layer: nn.Module, x: Tensor) -> Callable[[], object]:
    """Forward pass and gradients of input, weight and bias."""
    learnt = (x, layer.weight, layer.bias)
    towards = torch.randn_like(layer(x))
    return lambda: torch.autograd.grad(layer(x), learnt, towards)


def shortest_ms(run: Callable[[], object], runs: int) -> float:
    """Shortest time of `runs` runs after a warm-up [ms]."""
    run()
    times_ms = []
    for _ in range(runs):
        started = time.perf_counter()
        run()
        times_ms.append(1000 * (time.perf_counter() - started))
    return min(times_ms)


if __name__ == "__main__":
    main()
