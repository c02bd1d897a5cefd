"""Maps cut down to a size, for networks whose layers make them too large."""

from collections.abc import Sequence

from torch import Tensor


def centre(maps: Tensor, sides: Sequence[int]) -> Tensor:
    """The middle of maps (B, ..., *larger sides): shape (B, ..., *sides).

    Where an odd number of cells is too many, one more is cut off at the end.
    """
    for axis, side in zip(range(-len(sides), 0), sides, strict=True):
        maps = maps.narrow(axis, (maps.shape[axis] - side) // 2, side)
    return maps
