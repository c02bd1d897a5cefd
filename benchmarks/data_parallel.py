"""Showers per second that a training of a configured model learns from with 1 and 2 processes.

python benchmarks/data_parallel.py --model lhcb_paper --config config/paper/lhcb.yaml --device cuda
python benchmarks/data_parallel.py --threads 1

Every process has a GPU of its own or, with --device cpu, --threads threads. The steps are those of the loop
of all trainings, with the same batches for any number of processes.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import torch
from configured import Configured, configured
from torch import Tensor

from caloforge.devices import device_name
from caloforge.gpu_allocation import visible_gpus
from caloforge.models.family import build
from caloforge.showers import ShowerFile
from caloforge.training.batches import TrainingBatches
from caloforge.training.data_parallel import in_processes, process_number
from caloforge.training.loop import fit
from caloforge.training.run import prepare_torch


class TimedBatches(TrainingBatches):
    """A single epoch of so many batches, of which the first ones do not count."""

    steps: int
    warm_up: int
    counted_s: float

    def in_epoch(self, _epoch: int) -> int:
        return self.warm_up + self.steps

    def epoch(self, _epoch: int, device: torch.device, **_: int) -> Iterator[tuple[Tensor, Tensor]]:
        endless = chain.from_iterable(super(TimedBatches, self).epoch(epoch, device) for epoch in count())
        yield from islice(endless, self.warm_up)
        began_s = _now_s(device)
        yield from islice(endless, self.steps)
        self.counted_s = _now_s(device) - began_s


def _now_s(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def measure(n: int, start: Configured, training: Any, steps: int, warm_up: int, work: Path) -> None:
    """Train in `n` processes and print what that gives."""

    def train() -> None:
        device = prepare_torch(training)
        torch.manual_seed(0)
        with ShowerFile(start.train) as file:
            model = build(start.settings, file.geometry, start.preprocessing).to(device)
        batches = TimedBatches(
            start.train,
            start.preprocessing,
            batch_size=training.batch_size,
            seed=0,
            memory_budget_MB=training.memory_budget_MB,
        )
        batches.steps, batches.warm_up = steps, warm_up
        validate = partial(dict, validation=0.0)
        fit(model, training, batches, validate=validate, seed=0, identity="", work=work)
        if process_number() == 0:
            showers = steps * training.batch_size
            print(
                f"{n} x {device_name(device)}: {showers / batches.counted_s:.0f} showers per second, "
                f"{1000 * batches.counted_s / steps:.1f} ms per step",
                flush=True,
            )

    in_processes(n, training.device, train)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="cwgan", help="name under models, with a run (%(default)s)")
    parser.add_argument(
        "--config", type=Path, nargs="*", default=[], help="overlays of config.yaml, in order"
    )
    parser.add_argument("--batch-size", type=int, help="instead of that of the model")
    parser.add_argument("--threads", type=int, default=1, help="of each process (%(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(%(default)s)")
    parser.add_argument("--warm-up", type=int, default=5, help="steps that do not count (%(default)s)")
    parser.add_argument("--steps", type=int, default=50, help="steps that count (%(default)s)")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as directory:
        start = configured(options.model, options.config, Path(directory))
        batch_size = options.batch_size or start.settings.training.batch_size
        training = start.settings.training.model_copy(
            update={
                "batch_size": batch_size,
                "threads": options.threads,
                "device": options.device,
                "epochs": 1,
                "checkpoint_minutes": 1e6,
            }
        )
        print(f"{options.model}: batches of {batch_size}, {training.precision}", flush=True)
        for n in (1, 2):
            if options.device == "cuda" and len(visible_gpus()) < n:
                print(f"{n} GPUs: not measured, {len(visible_gpus())} found")
                continue
            work = Path(directory, f"work{n}")
            process = multiprocessing.get_context("fork").Process(
                target=measure, args=(n, start, training, options.steps, options.warm_up, work)
            )
            process.start()
            process.join()


if __name__ == "__main__":
    main()
