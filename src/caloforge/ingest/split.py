"""Which events train, validate and test: by a hash of the event number, or by their file."""

from pathlib import Path, PurePath

import numpy as np

from caloforge.config.dataset import Split

SPLITS = ("train", "val", "test")


def splitmix64(number: np.ndarray) -> np.ndarray:
    """First output of the generator SplitMix64 seeded with `number`.

    Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, figure 17,
    with the output function that its authors publish for the 64-bit generator (Stafford's variant 13).

    Parameters
    ----------
    number
        int64 of any shape; negative numbers count modulo 2**64.

    Returns
    -------
    np.ndarray
        uint64 of the same shape.
    """
    z = np.asarray(number, dtype=np.int64).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def assign(event: np.ndarray, split: Split, *, test_file: bool = False) -> np.ndarray:
    """The split of each event of a file, as an index into `SPLITS`.

    The upper 53 bits of the hash make a number in [0, 1), which falls into the cumulative shares
    train, train + val, 1. It depends on the event number alone.

    Parameters
    ----------
    event
        Event numbers, int64, shape (n,).
    split
        The shares.
    test_file
        Whether the file is set aside for the test.

    Returns
    -------
    np.ndarray
        Integers, shape (n,).
    """
    if test_file:
        return np.full(len(event), SPLITS.index("test"))
    uniform = (splitmix64(event) >> np.uint64(11)) * 2.0**-53
    borders = [split.train] if split.test_files else [split.train, split.train + split.val]
    return np.searchsorted(borders, uniform, side="right")


def names_file(pattern: str, file: Path | str) -> bool:
    """Whether an entry of `Split.test_files` means a source file, which may be a URL."""
    return pattern == str(file) or PurePath(file).match(pattern)
