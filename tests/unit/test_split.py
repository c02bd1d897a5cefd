import numpy as np
import pytest

from caloforge.config.dataset import Split
from caloforge.ingest.split import SPLITS, assign, splitmix64

GAMMA = 0x9E3779B97F4A7C15


def reference(seed: int) -> int:
    z = (seed + GAMMA) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


@pytest.mark.parametrize(
    ("seed", "output"),
    [
        (0, 0xE220A8397B1DCDAF),
        (GAMMA, 0x6E789E6AA1B965F4),  # the second output of seed 0
        (2 * GAMMA, 0x06C45D188009454F),
        (1234567, 6457827717110365317),
        (1234567 + GAMMA, 3203168211198807973),
    ],
)
def test_published_outputs(seed, output):
    assert reference(seed) == output
    number = np.array([seed % 2**64], dtype=np.uint64).view(np.int64)
    assert splitmix64(number)[0] == output


def test_hash_of_any_number():
    numbers = np.random.default_rng(1).integers(-(2**63), 2**63, size=500, dtype=np.int64)
    assert splitmix64(numbers).tolist() == [reference(int(number)) for number in numbers]


def test_hand_worked_assignment():
    # 0xE220A8397B1DCDAF / 2**64 = 0.883, 6457827717110365317 / 2**64 = 0.350
    events = np.array([0, 1234567])
    assert assign(events, Split(train=0.8, val=0.1, test=0.1)).tolist() == [1, 0]
    assert assign(events, Split(train=0.3, val=0.1, test=0.6)).tolist() == [2, 1]


@pytest.mark.parametrize("first", [0, 1_000_000, -50_000, 2**40])
def test_shares(first):
    split = Split(train=0.7, val=0.1, test=0.2)
    n = 100_000
    counts = np.bincount(assign(np.arange(first, first + n), split), minlength=3)
    for name, count in zip(SPLITS, counts, strict=True):
        share = getattr(split, name)
        assert abs(count - n * share) < 5 * np.sqrt(n * share * (1 - share))


def test_an_event_keeps_its_split_in_other_company():
    split = Split()
    events = np.random.default_rng(2).permutation(10_000)
    everyone = dict(zip(events.tolist(), assign(events, split).tolist(), strict=True))
    some = events[::7]
    assert assign(some, split).tolist() == [everyone[event] for event in some.tolist()]
