"""What only shows on GPUs."""

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from caloforge.config.stages import TrainingSettings
from caloforge.errors import CaloforgeError
from caloforge.gpu_allocation import allocated_gpus, visible_gpus
from caloforge.models.family import Trainable
from caloforge.training.data_parallel import in_processes, process_number
from caloforge.training.loop import fit

GPUS = visible_gpus()

one_gpu = pytest.mark.skipif(len(GPUS) < 1, reason="no GPU found")
two_gpus = pytest.mark.skipif(len(GPUS) < 2, reason=f"{len(GPUS)} GPUs found, needs two")


def in_a_process(call: Callable[..., None], *arguments: Any) -> None:
    """A new one, whatever the other tests have done with CUDA in this one."""
    process = multiprocessing.get_context("spawn").Process(target=call, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == 0


@one_gpu
def test_a_process_sees_the_gpus_that_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    in_a_process(use_one_gpu)


def use_one_gpu() -> None:
    with allocated_gpus(1) as gpus:
        assert os.environ["CUDA_VISIBLE_DEVICES"] == gpus[0]
        assert torch.cuda.device_count() == 1
        assert torch.ones(2, device="cuda").sum().item() == 2


@one_gpu
def test_more_gpus_than_there_are_is_one_error():
    in_a_process(use_too_many_gpus)


def use_too_many_gpus() -> None:
    with pytest.raises(CaloforgeError, match=rf"{len(GPUS) + 1} GPUs are wanted, {len(GPUS)} can be used"):
        in_processes(len(GPUS) + 1, "cuda", lambda: None)


class Line(Trainable):
    """Learns the sum of the cells, without anything random."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.line = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 1))

    @property
    def product(self) -> nn.Module:
        return self.line

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return {"line": torch.optim.Adam(self.line.parameters(), 0.01, fused=True)}

    def training_step(self, step, showers, inputs, optimisers, rng):
        optimisers["line"].zero_grad()
        loss = (self.line(showers) - inputs).square().mean()
        loss.backward()
        optimisers["line"].step()
        return {"loss": loss.detach()}


class RandomBatches:
    def in_epoch(self, _epoch: int) -> int:
        return 10

    def epoch(self, _epoch: int, device: torch.device, start: int):
        showers = torch.rand(160, 8, generator=torch.Generator().manual_seed(3)).to(device)
        yield from zip(showers.split(16), showers.sum(dim=1, keepdim=True).split(16), strict=True)


@two_gpus
def test_two_gpus_train_as_one_does_with_the_same_batches(tmp_path: Path):
    found = []
    for n in (1, 2):
        in_a_process(train_in_processes, n, tmp_path / str(n))
        found.append(torch.load(tmp_path / str(n) / "done", weights_only=True))
    (alone, weights), (together, same_weights) = found
    for row, other in zip(together, alone, strict=True):
        assert row == pytest.approx(other, rel=1e-4)
    torch.testing.assert_close(same_weights, weights, rtol=1e-3, atol=1e-5)


def train_in_processes(n: int, work: Path) -> None:
    in_processes(n, "cuda", lambda: train(work))


def train(work: Path) -> None:
    network = Line().to("cuda")
    assert next(network.parameters()).device.index == process_number()
    done = fit(
        network,
        TrainingSettings(epochs=3, keep="last"),
        RandomBatches(),
        validate=lambda: {"validation": 1.0},
        seed=1,
        identity="",
        work=work,
    )
    if done:
        torch.save((done.history, network.cpu().state_dict()), work / "done")
