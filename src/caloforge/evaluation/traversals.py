"""Attribute traversals: mean generated showers while one condition is stepped and the noise stays.

As in L. de Oliveira, M. Paganini and B. Nachman, Controlling Physical Attributes in GAN-Accelerated
Simulation of Electromagnetic Calorimeters (2017), arXiv:1711.08813, figures 3 to 5.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from caloforge.config.stages import TraversalSettings, attributes
from caloforge.errors import CaloforgeError
from caloforge.evaluation.observables import Observables
from caloforge.figures import traversals
from caloforge.figures.album import Drawn
from caloforge.showers import ShowerFile, read_out

DIRECTIONS = ("px", "py", "theta", "phi")
"""Conditions whose steps are also drawn as differences to the one in the middle."""
_BLOCK_CELLS = 1 << 20


def traversal_figures(settings: TraversalSettings, showers: Path, full: Observables) -> Iterator[Drawn]:
    """The mean shower of every step of every condition, after the readout threshold.

    Parameters
    ----------
    settings
        Of the traversals.
    showers
        What was sampled for them.
    full
        Observables of the full simulation, for its geometry and readout threshold.

    Raises
    ------
    CaloforgeError
        If the showers are not those of the settings or of another calorimeter.
    """
    with ShowerFile(showers) as file:
        if file.geometry != full.geometry:
            raise CaloforgeError(f"{showers}: another geometry found, expected that of {full.path}")
        expected = settings.repeats * sum(map(len, settings.steps.values()))
        if len(file) != expected:
            raise CaloforgeError(
                f"{showers}: holds {len(file)} showers, expected {expected} for the traversals"
            )
        start = 0
        for name, values in settings.steps.items():
            starts = start + settings.repeats * np.arange(len(values))
            asked = [_asked(file, first) for first in starts]
            if not np.allclose([step[name] for step in asked], values, rtol=1e-5, atol=0):
                raise CaloforgeError(f"{showers}: its showers are not those of the steps {values} of {name}")
            means_MeV = np.stack(
                [
                    _mean_MeV(file, first, first + settings.repeats, full.readout_threshold_MeV)
                    for first in starts
                ]
            )
            titles = [_stated(name, value, file) for value in values]
            caption = (
                f"Mean of {settings.repeats:,} showers per step after the readout threshold, with the same "
                f"noise at every step; {_others(name, asked[0], file)}."
            )
            yield Drawn(
                f"traversal_{name}.svg",
                "Attribute traversals",
                f"Steps of {name}",
                caption,
                traversals.steps(full.geometry, titles, means_MeV),
            )
            if name in DIRECTIONS:
                yield Drawn(
                    f"traversal_{name}_difference.svg",
                    "Attribute traversals",
                    f"Steps of {name}: difference to the step in the middle",
                    caption,
                    traversals.differences(full.geometry, titles, means_MeV),
                )
            start += settings.repeats * len(values)


def _asked(file: ShowerFile, row: int) -> dict[str, float]:
    """What a shower was asked for, by the names of `attributes`."""
    shower = file.read(row, row + 1)
    values = {"energy": shower.incident_energies[0] / 1000, **shower.conditions}
    return {name: float(values[name].item()) for name in attributes(file.units)}


def _mean_MeV(file: ShowerFile, start: int, stop: int, readout_threshold_MeV: float) -> np.ndarray:
    """Mean energy per cell [MeV] of the showers from `start` up to but not including `stop`: shape (V,)."""
    total_MeV = np.zeros(file.geometry.n_cells)
    step = max(1, _BLOCK_CELLS // file.geometry.n_cells)
    for first in range(start, stop, step):
        block = file.read(first, min(first + step, stop))
        total_MeV += read_out(block.showers, readout_threshold_MeV).sum(axis=0, dtype=np.float64)
    return total_MeV / (stop - start)


def _stated(name: str, value: float, file: ShowerFile) -> str:
    unit = file.units.get(name, "GeV")
    return f"{name} = {value:.3g}".replace("-", "−") + ("" if unit == "1" else f" {unit}")


def _others(stepped: str, asked: dict[str, float], file: ShowerFile) -> str:
    others = [_stated(name, value, file) for name, value in asked.items() if name != stepped]
    return ", ".join(others) if others else "the energy is all that showers are asked for"
