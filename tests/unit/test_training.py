import csv
import json
import multiprocessing
import os
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from caloforge.config.stages import TrainingSettings
from caloforge.errors import CaloforgeError, StoppedError
from caloforge.geometry import Geometry
from caloforge.models.family import Trainable
from caloforge.preprocessing import Preprocessing
from caloforge.seeds import derive_seed
from caloforge.showers import Showers, ShowerWriter
from caloforge.training.batches import BLOCK_EVENTS, TrainingBatches
from caloforge.training.loop import DivergedError, fit, locked, write_history
from caloforge.training.run import run_training

GEOMETRY = Geometry(name="box", layers=[{"shape": (2, 2), "cell_size_mm": (10, 10)}])
PREPROCESSING = Preprocessing(0.5, 1.0, 1.0, ("px",), (0.0,), (1.0,), (0.2,), (0.1, 0.0), (), 0.0)


@pytest.fixture
def showers(tmp_path):
    """A file whose condition px is the number of the shower."""

    def write(n: int):
        path = tmp_path / f"{n}.h5"
        with ShowerWriter(path, GEOMETRY, {"px": "GeV"}) as writer:
            rng = np.random.default_rng(0)
            number = np.arange(n)
            cells = rng.uniform(1, 9, (n, 4)).astype(np.float32)
            px = number.astype(np.float32)
            writer.append(Showers(cells, np.ones((n, 1), np.float32), {"px": px}, number))
        return path

    return write


def batches(path, *, batch_size=32, seed=1, memory_budget_MB=100):
    return TrainingBatches(
        path, PREPROCESSING, batch_size=batch_size, seed=seed, memory_budget_MB=memory_budget_MB
    )


def numbers(of: TrainingBatches, epoch: int, start: int = 0) -> list[int]:
    found = [inputs[:, 0] for _, inputs in of.epoch(epoch, torch.device("cpu"), start)]
    return torch.cat(found).int().tolist() if found else []


def test_an_epoch_is_a_random_order_of_all_showers(showers):
    of = batches(showers(320))
    order = numbers(of, 0)
    assert sorted(order) == list(range(320))
    assert order != sorted(order)
    assert numbers(of, 1) != order
    assert numbers(batches(showers(320)), 0) == order
    assert numbers(batches(showers(320), seed=2), 0) != order


def test_batches_hold_preprocessed_cells_and_their_own_inputs(showers):
    path = showers(64)
    rng = np.random.default_rng(0)
    cells = rng.uniform(1, 9, (64, 4)).astype(np.float32)
    for transformed, inputs in batches(path).epoch(0, torch.device("cpu")):
        expected = cells[inputs[:, 0].int()] / 0.5 - 1
        np.testing.assert_allclose(transformed, expected, rtol=1e-6)


@pytest.mark.parametrize("memory_budget_MB", [100, 0.05])
def test_starting_in_the_middle_of_an_epoch_skips_what_came_before(showers, memory_budget_MB):
    of = batches(showers(5000), memory_budget_MB=memory_budget_MB)
    whole = numbers(of, 3)
    for start in (1, 40, 70, of.in_epoch(3)):
        assert numbers(of, 3, start) == whole[32 * start :]


def test_a_set_beyond_the_memory_budget_is_read_in_shuffled_groups(showers):
    """A group holds whole blocks of the file, mixed; nothing comes twice, only remainders are left out."""
    path = showers(5000)
    of = batches(path, memory_budget_MB=2.5 * BLOCK_EVENTS * 5 * 4 / 1e6)
    assert of.blocks_per_group == 2
    order = numbers(of, 0)
    assert len(set(order)) == len(order) == 32 * of.in_epoch(0)
    assert len(order) >= 5000 - 3 * 31
    first_group = {number // BLOCK_EVENTS for number in order[:1500]}
    assert len(first_group) == 2
    assert np.abs(np.diff([number // BLOCK_EVENTS for number in order[:1500]])).max() > 0


def test_inputs_of_pairs_count_in_the_memory_budget(tmp_path):
    """Blocks of 1024 events with two images of four cells; the fast image is the input."""
    n = 4 * BLOCK_EVENTS
    full, fast = np.random.default_rng(0).uniform(1, 9, (2, n, 4)).astype(np.float32)
    fast[:, 0] = 1 + np.arange(n)
    with ShowerWriter(tmp_path / "pairs.h5", GEOMETRY, {}, paired=True) as writer:
        writer.append(Showers(full, np.ones((n, 1), np.float32), {}, np.arange(n), fast))
    preprocessing = replace(PREPROCESSING, power=None, scale=1000.0, inputs=("reference",))
    of = TrainingBatches(
        tmp_path / "pairs.h5",
        preprocessing,
        batch_size=256,
        seed=1,
        memory_budget_MB=2.1 * BLOCK_EVENTS * 8 * 4 / 1e6,
    )
    assert of.blocks_per_group == 2
    (_, first), *_ = of.epoch(0, torch.device("cpu"))
    events = (1000 * first[:, 0]).round().int().numpy() - 1
    np.testing.assert_allclose(first, fast[events] / 1000, rtol=1e-6)
    with pytest.raises(CaloforgeError, match=r"no data set reference, expected images of the fast"):
        TrainingBatches(_unpaired(tmp_path), preprocessing, batch_size=1, seed=1, memory_budget_MB=1)


def _unpaired(folder):
    with ShowerWriter(folder / "alone.h5", GEOMETRY, {}) as writer:
        writer.append(Showers(np.ones((3, 4), np.float32), np.ones((3, 1)), {}, np.arange(3)))
    return folder / "alone.h5"


def test_fewer_showers_than_a_batch_are_refused(showers):
    with pytest.raises(CaloforgeError, match=r"20\.h5: 20 showers found, expected at least one batch of 32"):
        batches(showers(20))


class Line(Trainable):
    """Learns the mean of the first cell, with noise; slow and poisoned on demand."""

    def __init__(self, poison_step=None, pause_s=0.0):
        super().__init__()
        torch.manual_seed(0)
        self.line = torch.nn.Linear(4, 1)
        self.poison_step, self.pause_s = poison_step, pause_s

    @property
    def product(self):
        return self.line

    def optimisers(self):
        return {"line": torch.optim.Adam(self.line.parameters(), 0.01)}

    def training_step(self, step, showers, inputs, optimisers, rng):
        time.sleep(self.pause_s)
        optimisers["line"].zero_grad()
        noise = torch.randn(len(showers), 1, generator=rng)
        loss = (self.line(showers) - showers[:, :1] - noise).square().mean()
        if step == self.poison_step:
            loss = loss * float("nan")
        loss.backward()
        optimisers["line"].step()
        return {"loss": loss.detach()}


def run(
    path,
    work,
    *,
    network=None,
    pause_s=0.0,
    poison_step=None,
    identity="one",
    scores=None,
    beside=None,
    validate=None,
    validated=None,
    **settings,
):
    network = network or Line(poison_step, pause_s)
    scores = iter(scores or [])
    done = fit(
        network,
        TrainingSettings(**{"epochs": 4, "batch_size": 32, "checkpoint_minutes": 0} | settings),
        batches(path),
        validate=validate
        or (
            lambda: (
                {"validation": next(scores, None) or network.line.weight.square().sum().item()}
                | (beside or {})
            )
        ),
        seed=5,
        identity=identity,
        work=work,
        validated=validated,
    )
    return done, {name: value.clone() for name, value in network.line.state_dict().items()}


@pytest.mark.parametrize("settings", [{}, {"ema_decay": 0.9}, {"keep": "last", "schedule": "cosine"}])
@pytest.mark.parametrize("wait_s", [0.3, 1.1])
def test_a_killed_training_goes_on_to_the_same_weights_and_history(showers, tmp_path, settings, wait_s):
    path = showers(1000)
    undisturbed, weights = run(path, tmp_path / "undisturbed", **settings)
    child = multiprocessing.get_context("fork").Process(
        target=run, args=(path, tmp_path / "killed"), kwargs={"pause_s": 0.02} | settings
    )
    child.start()
    while not (tmp_path / "killed" / "state.pt").exists():
        time.sleep(0.01)
    time.sleep(wait_s)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert child.exitcode == -signal.SIGKILL
    state = torch.load(tmp_path / "killed" / "state.pt", weights_only=True)
    assert 0 < state["step"] < undisturbed.history[-1]["step"]
    resumed, again = run(path, tmp_path / "killed", **settings)
    assert resumed.history == undisturbed.history
    assert (resumed.epoch, resumed.validation) == (undisturbed.epoch, undisturbed.validation)
    torch.testing.assert_close(again, weights, rtol=0, atol=0)


def test_a_state_of_other_settings_is_not_resumed(showers, tmp_path):
    path = showers(320)
    first, _ = run(path, tmp_path / "work")
    torch.save(
        torch.load(tmp_path / "work" / "state.pt", weights_only=True) | {"history": []},
        tmp_path / "work" / "state.pt",
    )
    resumed, _ = run(path, tmp_path / "work")
    assert resumed.history == []
    fresh, _ = run(path, tmp_path / "work", identity="two")
    assert fresh.history == first.history


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_state(showers, tmp_path):
    path = showers(1000)
    with pytest.raises(
        DivergedError, match=r"loss loss became nan in epoch 2 at step 40: .* is kept in .*work"
    ):
        run(path, tmp_path / "work", poison_step=35)
    state = torch.load(tmp_path / "work" / "state.pt", weights_only=True)
    assert state["step"] == 20
    assert all(torch.isfinite(weight).all() for weight in state["network"].values())


def test_the_best_or_the_last_weights_are_kept(showers, tmp_path):
    path = showers(320)
    scores = [3.0, 1.0, 2.0, 4.0]
    best, best_weights = run(path, tmp_path / "best", scores=scores)
    last, last_weights = run(path, tmp_path / "last", scores=scores, keep="last")
    _, two_epochs = run(path, tmp_path / "two", scores=scores, epochs=2, keep="last")
    assert (best.epoch, best.validation) == (2, 1.0)
    assert (last.epoch, last.validation) == (4, 4.0)
    torch.testing.assert_close(best_weights, two_epochs, rtol=0, atol=0)
    assert not torch.equal(best_weights["weight"], last_weights["weight"])


def test_who_watches_a_training_hears_of_validations_and_may_end_it(showers, tmp_path):
    class EndError(Exception):
        pass

    heard = []

    def watch(epoch, score):
        heard.append((epoch, score))
        if epoch == 4:
            raise EndError

    scores = [0.5, 0.25, 0.75]
    with pytest.raises(EndError):
        run(showers(320), tmp_path / "work", epochs=6, validate_every=2, scores=scores, validated=watch)
    assert heard == [(2, 0.5), (4, 0.25)]
    with locked(tmp_path / "work"):
        pass


def test_averaged_weights_follow_the_formula(showers, tmp_path):
    """After one step: decay * initial + (1 - decay) * trained."""
    path = showers(32)
    _, trained = run(path, tmp_path / "plain", epochs=1)
    _, averaged = run(path, tmp_path / "averaged", epochs=1, ema_decay=0.9)
    initial = Line().line.weight.detach()
    torch.testing.assert_close(averaged["weight"], 0.9 * initial + 0.1 * trained["weight"])


def test_history_means_are_those_of_the_steps(showers, tmp_path):
    done, _ = run(showers(1000), tmp_path / "work", validate_every=3)
    losses = []
    network, rng = Line(), torch.Generator()
    optimisers, of = network.optimisers(), batches(tmp_path / "1000.h5")
    for step, (cells, inputs) in enumerate(of.epoch(0, torch.device("cpu"))):
        rng.manual_seed(derive_seed(5, step, 0))
        losses.append(network.training_step(step, cells, inputs, optimisers, rng)["loss"].item())
    assert done.history[0]["loss"] == pytest.approx(np.mean(losses), rel=1e-6)
    assert [row["validation"] is None for row in done.history] == [True, True, False, False]


def test_numbers_beside_the_score_are_in_the_history_where_they_are_finite(showers, tmp_path):
    beside = {"a": 2.0, "b": float("nan")}
    done, _ = run(showers(320), tmp_path / "work", validate_every=3, beside=beside)
    assert [row.get("a", "none") for row in done.history] == ["none", "none", 2.0, 2.0]
    assert [row.get("b", "none") for row in done.history] == ["none", "none", None, None]


def test_a_work_folder_in_use_is_refused(tmp_path):
    with locked(tmp_path / "work"), pytest.raises(CaloforgeError, match="another process trains here"):  # noqa: SIM117
        with locked(tmp_path / "work"):
            pass
    with locked(tmp_path / "work"):
        pass


def test_history_leaves_empty_what_an_epoch_lacks(tmp_path):
    rows = [
        {"epoch": 1, "step": 3, "a": 0.5, "validation": None},
        {"epoch": 2, "step": 6, "a": 0.25, "b": 2.0, "validation": 0.1},
    ]
    write_history(tmp_path / "history.csv", rows)
    with (tmp_path / "history.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["epoch", "step", "a", "b", "validation"],
            ["1", "3", "0.5", "", ""],
            ["2", "6", "0.25", "2.0", "0.1"],
        ]


def test_the_cosine_schedule_is_half_a_cosine(showers, tmp_path):
    path, rates = showers(32), []

    class Watched(Line):
        def training_step(self, step, showers, inputs, optimisers, rng):
            rates.append(optimisers["line"].param_groups[0]["lr"])
            return super().training_step(step, showers, inputs, optimisers, rng)

    settings = TrainingSettings(epochs=4, batch_size=32, schedule="cosine")
    fit(
        Watched(),
        settings,
        batches(path),
        validate=lambda: {"validation": 1.0},
        seed=5,
        identity="",
        work=tmp_path / "work",
    )
    assert rates == pytest.approx([0.01, 0.01 * (2 + 2**0.5) / 4, 0.005, 0.01 * (2 - 2**0.5) / 4])


def test_train_and_validation_showers_of_different_sources_are_refused(tmp_path):
    files = {"train": tmp_path / "train.h5", "val": tmp_path / "val.h5"}
    for name, path in files.items():
        with ShowerWriter(path, GEOMETRY, {"px": "GeV"}, {"source": f'{{"{name}.root": "0a1b"}}'}):
            pass
    preprocessing = tmp_path / "preprocessing.json"
    preprocessing.write_text(json.dumps(PREPROCESSING.as_dict()))
    with pytest.raises(CaloforgeError, match=r"val\.h5: made from other source files than .*train\.h5"):
        run_training(
            lambda *_: Line(),
            lambda _: lambda: {"validation": 0.0},
            score="distance",
            stage="train",
            kind="line",
            settings={},
            training=TrainingSettings(epochs=1),
            inputs=files | {"preprocessing": preprocessing},
            seed=1,
            code="",
            work=tmp_path / "work",
            checkpoint=tmp_path / "checkpoint.pt",
            history=tmp_path / "history.csv",
            record=tmp_path / "train.json",
        )
    assert not (tmp_path / "checkpoint.pt").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_training_that_is_asked_to_stop_goes_on_to_the_same_weights_and_history(showers, tmp_path, number):
    """In the middle of an epoch, with checkpoints hours apart: only the request makes it save its state."""
    path, work = showers(1000), tmp_path / "stopped"
    undisturbed, weights = run(path, tmp_path / "undisturbed")
    signals = iter([None] * 44 + [number])

    class Stopped(Line):
        def training_step(self, *arguments):
            if asked := next(signals):
                os.kill(os.getpid(), asked)
            return super().training_step(*arguments)

    before = signal.getsignal(number)
    with pytest.raises(
        StoppedError, match=r"asked to stop in epoch 2 after step 45: the state is saved in .*"
    ):
        run(path, work, network=Stopped(), checkpoint_minutes=1000)
    assert signal.getsignal(number) is before
    state = torch.load(work / "state.pt", weights_only=True)
    assert (state["epoch"], state["step"]) == (1, 45)
    resumed, again = run(path, work)
    assert resumed.history == undisturbed.history
    torch.testing.assert_close(again, weights, rtol=0, atol=0)


def test_a_request_to_stop_in_a_validation_is_heard_after_it(showers, tmp_path):
    path = showers(320)

    def validate():
        os.kill(os.getpid(), signal.SIGTERM)
        return {"validation": 1.0}

    with pytest.raises(StoppedError, match=r"in epoch 2 after step 11:"):
        run(path, tmp_path / "work", validate=validate)
    state = torch.load(tmp_path / "work/state.pt", weights_only=True)
    assert [row["validation"] for row in state["history"]] == [1.0]
