"""The primaries of showers, as baselines take them."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from caloforge.errors import CaloforgeError
from caloforge.showers import ShowerFile, Showers
from caloforge.units import unit_factor

MOMENTUM = ("px", "py", "pz")
PARTICLE = "pdg"


class Primaries(NamedTuple):
    """Primaries of n showers.

    Attributes
    ----------
    energy_GeV
        Incident energy [GeV], shape (n,).
    slopes
        dx/dz and dy/dz of the flight, 0 without the conditions px, py and pz: shape (n, 2).
    entry_mm
        Where they reach the face [mm], 0 without the conditions x0 and y0: shape (n, 2).
    """

    energy_GeV: np.ndarray
    slopes: np.ndarray
    entry_mm: np.ndarray

    def of(self, rows: np.ndarray) -> "Primaries":
        """Those of some showers."""
        return Primaries(*(values[rows] for values in self))


def read_primaries(block: Showers, file: ShowerFile) -> Primaries:
    """The primaries of a block of a file.

    Raises
    ------
    CaloforgeError
        If an energy or a condition is none of a primary, or a condition has an unexpected unit.
    """
    _check(block, file)
    n = len(block)
    slopes, entry_mm = np.zeros((n, 2)), np.zeros((n, 2))
    if has_direction(file):
        px, py, pz = (block.conditions[name] * _factor(file, name, "GeV") for name in MOMENTUM)
        _require(pz > 0, block, file, "pz that is not positive, not into the calorimeter")
        slopes = np.stack([px / pz, py / pz], axis=1)
    for axis, name in enumerate(("x0", "y0")):
        if name in file.units:
            entry_mm[:, axis] = block.conditions[name] * _factor(file, name, "mm")
    return Primaries(block.incident_energies[:, 0] / 1000.0, slopes, entry_mm)


def has_direction(file: ShowerFile) -> bool:
    """Whether the conditions say where primaries fly to."""
    return file.units.keys() >= {*MOMENTUM}


def particle_codes(block: Showers) -> np.ndarray:
    """PDG code of each primary, 0 where the condition `pdg` does not tell: int64, shape (n,)."""
    return block.conditions.get(PARTICLE, np.zeros(len(block))).astype(np.int64)


def of_each_particle(block: Showers) -> Iterator[tuple[int, np.ndarray]]:
    """The PDG codes of a block, rising, each with the numbers of its rows."""
    codes = particle_codes(block)
    for code in np.unique(codes):
        yield int(code), np.flatnonzero(codes == code)


def particles(file: ShowerFile) -> list[int]:
    """The PDG codes in a file, rising; 0 alone where the condition `pdg` does not tell."""
    return np.unique(file.condition(PARTICLE)).astype(int).tolist() if PARTICLE in file.units else [0]


def unknown_particle(block: Showers, code: int, file: ShowerFile, known: Iterable[int]) -> CaloforgeError:
    """That a block of a file has showers of a particle that is not among those of the training set."""
    event = block.event[np.argmax(particle_codes(block) == code)]
    particles = ", ".join(map(str, known))
    return CaloforgeError(
        f"{file.path}: event {event} has {PARTICLE} {code}, expected one of the training set: {particles}"
    )


def _check(block: Showers, file: ShowerFile) -> None:
    energies_MeV = block.incident_energies[:, 0]
    _require(
        np.isfinite(energies_MeV) & (energies_MeV > 0), block, file, "an incident energy that is not positive"
    )
    for name, values in block.conditions.items():
        _require(np.isfinite(values), block, file, f"a condition {name} that is not finite")


def _factor(file: ShowerFile, name: str, unit: str) -> float:
    try:
        return unit_factor(file.units[name], unit)
    except ValueError as error:
        raise CaloforgeError(f"{file.path}: condition {name} has an unexpected unit: {error}") from None


def _require(valid: np.ndarray, block: Showers, file: ShowerFile, otherwise: str) -> None:
    if not valid.all():
        raise CaloforgeError(f"{file.path}: event {block.event[np.argmin(valid)]} has {otherwise}")
