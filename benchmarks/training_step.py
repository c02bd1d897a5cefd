"""Where the time of a training step of a configured model goes, and how much memory it takes.

python benchmarks/training_step.py --model lhcb_paper --config config/paper/lhcb.yaml
python benchmarks/training_step.py --model conv3d_paper --config config/paper/3dgan.yaml

Steps are those of the training on showers of its data set, without averaging of weights and validation.
Forward passes are timed by network, whichever network is updated; backward passes, with those of a gradient
penalty, by the network that is updated next. The rest happens outside of networks: noise, losses.
"""

import argparse
import itertools
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from configured import configured
from torch import nn

from caloforge.cost import peak_memory
from caloforge.models.family import Family, build
from caloforge.showers import ShowerFile
from caloforge.training.batches import TrainingBatches
from caloforge.training.run import prepare_torch


class Stopwatch:
    """Time by part of a step; a part that begins within itself counts once."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.parts_s: dict[str, float] = defaultdict(float)
        self._depth: dict[str, int] = defaultdict(int)
        self._started: dict[str, float] = {}

    def now(self) -> float:
        """After all that the device was asked for."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def begin(self, part: str) -> None:
        if self._depth[part] == 0:
            self._started[part] = self.now()
        self._depth[part] += 1

    def end(self, part: str) -> None:
        self._depth[part] -= 1
        if self._depth[part] == 0:
            self.parts_s[part] += self.now() - self._started[part]

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        self.begin(name)
        yield
        self.end(name)

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **keywords: Any) -> Any:
            with self.part(name):
                return call(*arguments, **keywords)

        return run


def watch(stopwatch: Stopwatch, model: Family, optimisers: dict[str, torch.optim.Optimizer]) -> None:
    """Have networks and optimisers tell the stopwatch when they begin and end."""

    def forward(part: str, module: nn.Module) -> None:
        module.register_forward_pre_hook(lambda *_: stopwatch.begin(part))
        module.register_forward_hook(lambda *_: stopwatch.end(part))

    def update(name: str, optimiser: torch.optim.Optimizer) -> None:
        def before(*_: Any) -> None:
            pending_s = stopwatch.parts_s.pop("backward", 0)
            stopwatch.parts_s[f"backward, update of {name}"] += pending_s
            stopwatch.begin(f"optimiser of {name}")

        optimiser.register_step_pre_hook(before)
        optimiser.register_step_post_hook(lambda *_: stopwatch.end(f"optimiser of {name}"))

    for name, network in model.named_children():
        for module in network.modules():
            forward(f"forward, {name}", module)
    for name, optimiser in optimisers.items():
        update(name, optimiser)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="cwgan", help="name under models, with a run (%(default)s)")
    parser.add_argument(
        "--config", type=Path, nargs="*", default=[], help="overlays of config.yaml, in order"
    )
    parser.add_argument("--batch-size", type=int, help="instead of that of the model")
    parser.add_argument("--threads", type=int, default=2, help="(%(default)s)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="cpu", help="(%(default)s)")
    parser.add_argument("--warm-up", type=int, default=3, help="steps that do not count (%(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="steps that count (%(default)s)")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as directory:
        start = configured(options.model, options.config, Path(directory))
        batch_size = options.batch_size or start.settings.training.batch_size
        training = start.settings.training.model_copy(
            update={"batch_size": batch_size, "threads": options.threads, "device": options.device}
        )
        device = prepare_torch(training)
        torch.manual_seed(0)
        with ShowerFile(start.train) as file:
            model = build(start.settings, file.geometry, start.preprocessing).to(device)
        batches = TrainingBatches(
            start.train,
            start.preprocessing,
            batch_size=batch_size,
            seed=0,
            memory_budget_MB=training.memory_budget_MB,
        )
        before = peak_memory(device)
        optimisers, stopwatch = model.optimisers(), Stopwatch(device)
        watch(stopwatch, model, optimisers)
        rng = torch.Generator(device).manual_seed(0)
        epochs = itertools.chain.from_iterable(batches.epoch(epoch, device) for epoch in itertools.count())
        backward = stopwatch.timed("backward", torch.autograd.backward)
        grad = stopwatch.timed("backward", torch.autograd.grad)
        with patch("torch.autograd.backward", backward), patch("torch.autograd.grad", grad):
            model.train()
            for step in range(options.warm_up + options.steps):
                if step == options.warm_up:
                    stopwatch.parts_s.clear()
                with stopwatch.part("step"):
                    with stopwatch.part("data"):
                        showers, inputs = next(epochs)
                    model.training_step(step, showers, inputs, optimisers, rng)
    step_s = stopwatch.parts_s.pop("step") / options.steps
    parts_s = {part: total / options.steps for part, total in stopwatch.parts_s.items()}
    parts_s["rest"] = step_s - sum(parts_s.values())
    print(
        f"{options.model}: batches of {batch_size}, {training.precision}, {options.threads} threads, {device}"
    )
    print(f"mean of {options.steps} steps: {step_s:.3f} s, {1000 * step_s / batch_size:.3f} ms per shower")
    for part, seconds in sorted(parts_s.items(), key=lambda item: -item[1]):
        print(f"  {part:36}{seconds:10.4f} s{100 * seconds / step_s:7.1f} %")
    for name, peak in peak_memory(device).items():
        if peak is not None:
            print(f"{name}: {peak:.0f}, before the first step {before[name]:.0f}")


if __name__ == "__main__":
    main()
