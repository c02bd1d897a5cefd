"""How long a trained model takes for a shower, against the batch size and on several devices."""

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from caloforge.config.stages import TimingSettings
from caloforge.devices import device_name
from caloforge.errors import CaloforgeError
from caloforge.models.family import Family
from caloforge.preprocessing import Preprocessing
from caloforge.progress import Progress
from caloforge.provenance import recorded
from caloforge.sampling import generate
from caloforge.seeds import derive_seed
from caloforge.showers import ShowerFile, Showers
from caloforge.trained import load_model

WARM_UP = 2
"""Passes before those that are timed: libraries choose algorithms and reserve memory in them."""
QUANTILES = {"low": 0.16, "median": 0.5, "high": 0.84}
"""Of the times of passes: median, and ends of the middle 68 %."""

Clock = Callable[[], float]
"""Says the time [s]."""


class Hardware(NamedTuple):
    """Where showers are to be generated.

    Attributes
    ----------
    label
        For people.
    devices
        Those that share every batch.
    lacking
        Why there are no devices; None where there are some.
    """

    label: str
    devices: Sequence[torch.device]
    lacking: str | None = None


def time_generation(
    model: Any,
    settings: TimingSettings,
    *,
    checkpoint: Path,
    preprocessing: Path,
    test: Path,
    seed: int,
    record: Path,
    clock: Clock = time.perf_counter,
) -> None:
    """Time the generation of showers on the CPU and on GPUs, for every batch size.

    This is figure 13 of E. Simsek et al. (CALPAGAN) for any model. The paper does not say what its time
    includes; here a pass goes from conditions, or images of the fast simulation, to cell energies in MeV as
    `caloforge.sampling.generate` does: preprocessing and transfers count, reading and writing do not. The
    paper splits its model over two GPUs; here each of them has the whole model and a share of the batch.

    The record lists `devices`. Each has a `label`, the names of its `gpus`, in `not_measured` what is missing
    and why, and for every `batch_size` an entry of `times`: the number of timed passes in `repeats` and, in
    `ms_per_shower`, their `median` and the ends `low` and `high` of their middle 68 %.

    Parameters
    ----------
    model
        Settings of the model that the checkpoint must have been made with.
    settings
        What is timed.
    checkpoint, preprocessing
        What training and `fit_preprocessing` wrote.
    test
        Canonical showers. A batch has the conditions of the first of them, again and again when it is larger.
    seed
        Of the noise.
    record
        Output (JSON).
    clock
        Times the passes.

    Raises
    ------
    CaloforgeError
        If the checkpoint is of another model, geometry or preprocessing, or an input cannot be used.
    """
    with (
        recorded(
            record,
            stage="time_generation",
            inputs=[checkpoint, preprocessing, test],
            outputs=(),
            settings=settings.model_dump(mode="json"),
            seed=seed,
        ) as facts,
        ShowerFile(test) as reference,
    ):
        if not len(reference):
            raise CaloforgeError(f"{test}: holds no showers, expected at least one")
        transforms = Preprocessing.load(preprocessing)
        network = load_model(model, reference, transforms, checkpoint)
        n = max(settings.batch_sizes)
        requested = reference.read(0, min(n, len(reference)))[np.arange(n) % len(reference)]
        torch.set_num_threads(settings.threads)
        facts |= {"threads": settings.threads, "warm_up": WARM_UP, "devices": []}
        choices = choose_hardware(settings, torch.cuda.device_count())
        with Progress("timing generation", len(choices)) as progress:
            for done, hardware in enumerate(choices, start=1):
                if hardware.devices:
                    with batch_sharing(network, transforms, hardware.devices) as generator:
                        times, not_measured = _times(generator, requested, settings, seed, clock)
                else:
                    times, not_measured = [], hardware.lacking
                gpus = [device_name(device) for device in hardware.devices if device.type == "cuda"]
                facts["devices"].append(
                    {"label": hardware.label, "gpus": gpus, "times": times, "not_measured": not_measured}
                )
                progress.update(done, {})


def choose_hardware(settings: TimingSettings, cuda_devices: int) -> list[Hardware]:
    """The CPU and each number of GPUs in the settings, on a machine with so many CUDA devices."""
    choices = [Hardware(_counted("CPU, {} thread", settings.threads), [torch.device("cpu")])]
    for n in settings.gpus:
        lacking = None if n <= cuda_devices else f"PyTorch finds {_counted('{} CUDA device', cuda_devices)}"
        devices = [] if lacking else [torch.device("cuda", number) for number in range(n)]
        choices.append(Hardware(_counted("{} GPU", n), devices, lacking))
    return choices


@contextmanager
def batch_sharing(
    network: Family, preprocessing: Preprocessing, devices: Sequence[torch.device]
) -> Iterator[Callable[[Showers, int], np.ndarray]]:
    """Let `devices` share every batch, each with a copy of `network` and, beyond one device, its own thread.

    Yields a function of the requested showers and a seed, which returns showers [MeV], shape (n, V): those of
    `caloforge.sampling.generate` for consecutive parts of the batch, one per device and of equal size to
    within one shower. Devices without a shower rest.
    """
    replicas = [(copy.deepcopy(network).to(device), device) for device in devices]

    def generator(requested: Showers, seed: int) -> np.ndarray:
        ends = [len(requested) * number // len(replicas) for number in range(len(replicas) + 1)]
        parts = [
            (replica, preprocessing, requested[start:end], derive_seed(seed, number), device)
            for number, ((replica, device), (start, end)) in enumerate(
                zip(replicas, pairwise(ends), strict=True)
            )
            if end > start
        ]
        if len(parts) == 1:
            return generate(*parts[0])
        return np.concatenate(list(threads.map(lambda part: generate(*part), parts)))

    with ThreadPoolExecutor(len(replicas)) as threads:
        yield generator


def pass_times_s(run: Callable[[int], Any], settings: TimingSettings, clock: Clock) -> np.ndarray:
    """Time [s] of each pass after the warm-up, at least one; `run` is given the number of the pass.

    Neither limit of the settings counts the warm-up.
    """
    for number in range(WARM_UP):
        run(number)
    readings_s = [clock()]
    while len(readings_s) <= settings.repeats and readings_s[-1] - readings_s[0] < settings.time_limit_s:
        run(WARM_UP + len(readings_s) - 1)
        readings_s.append(clock())
    return np.diff(readings_s)


def _times(
    generator: Callable[[Showers, int], np.ndarray],
    requested: Showers,
    settings: TimingSettings,
    seed: int,
    clock: Clock,
) -> tuple[list[dict[str, Any]], str | None]:
    """`times` and `not_measured` of the record, for batches from the start of `requested`."""
    times: list[dict[str, Any]] = []
    for size in settings.batch_sizes:
        batch = requested[:size]
        try:
            times_s = pass_times_s(
                lambda number, batch=batch: generator(batch, derive_seed(seed, "time_generation", number)),
                settings,
                clock,
            )
        except torch.OutOfMemoryError:
            return times, f"no GPU memory for batches of {size} or more"
        ms_per_shower = {
            name: 1000 * float(np.quantile(times_s, quantile)) / size for name, quantile in QUANTILES.items()
        }
        times.append({"batch_size": size, "repeats": len(times_s), "ms_per_shower": ms_per_shower})
    return times, None


def _counted(text: str, n: int) -> str:
    """`text` with the number in it and, unless that is 1, in the plural."""
    return text.format(n or "no") + ("" if n == 1 else "s")
