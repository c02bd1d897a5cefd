"""The model of a parametrised shower: what its parameters are, and showers made with them."""

from typing import Any, NamedTuple

import numpy as np

from caloforge.baselines.fluctuations import Fluctuations, powers
from caloforge.baselines.longitudinal import layer_shares
from caloforge.baselines.primaries import Primaries
from caloforge.baselines.radial import cell_shares, profile_at
from caloforge.baselines.slices import Calorimeter


class Parameters(NamedTuple):
    """The showers of one particle type.

    Attributes
    ----------
    fluctuations
        Of ln(visible over incident energy) and, for several slices of a calorimeter, of ln(a) and ln(m) of
        `longitudinal.layer_shares`, m along the flight; an image does not tell how these fluctuate.
    layers
        What the energy of each layer is multiplied by, at ln E = 0, and its slope: shape (2, L).
    radial
        The radial profile of each layer, as `RowSums.fit` gives it: shape (L, 2, 3).
    spot_MeV
        Mean energy of a spot in each layer [MeV], shape (L,).
    """

    fluctuations: Fluctuations
    layers: np.ndarray
    radial: np.ndarray
    spot_MeV: np.ndarray

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        own = {name: values for name, values in self._asdict().items() if name != "fluctuations"}
        return {name: values.tolist() for name, values in (self.fluctuations._asdict() | own).items()}


def showers_MeV(
    parameters: Parameters, calorimeter: Calorimeter, primaries: Primaries, rngs: list[np.random.Generator]
) -> np.ndarray:
    """Showers of primaries.

    Parameters
    ----------
    parameters, calorimeter
        Of the showers.
    primaries
        Of n showers.
    rngs
        A generator of random numbers for each.

    Returns
    -------
    np.ndarray
        Cells [MeV], shape (n, V).
    """
    geometry = calorimeter.geometry
    noise = np.stack([rng.standard_normal(len(parameters.fluctuations.correlations)) for rng in rngs])
    drawn = parameters.fluctuations.values(primaries.energy_GeV, noise)
    factors = np.maximum(powers(primaries.energy_GeV) @ parameters.layers, 0)
    shares = slice_shares(calorimeter, primaries, drawn) * factors[:, calorimeter.layer_of_slice]
    slices_MeV = 1000 * (primaries.energy_GeV * np.exp(drawn[:, 0]))[:, None] * shares
    expected_MeV = expected_energies_MeV(parameters.radial, calorimeter, primaries, slices_MeV)
    spot_MeV = np.repeat(parameters.spot_MeV, np.diff(geometry.offsets()))
    cells_MeV = np.zeros_like(expected_MeV)
    for rng, shower_MeV, mean_MeV in zip(rngs, cells_MeV, expected_MeV, strict=True):
        spots = rng.poisson(mean_MeV / spot_MeV)
        hit = np.flatnonzero(spots)
        shower_MeV[hit] = spot_MeV[hit] * rng.standard_gamma(spots[hit])
    total_MeV = cells_MeV.sum(axis=1)
    return cells_MeV * (expected_MeV.sum(axis=1) / np.where(total_MeV > 0, total_MeV, 1))[:, None]


def slice_shares(calorimeter: Calorimeter, primaries: Primaries, values: np.ndarray) -> np.ndarray:
    """Shares of the visible energy in slices (n, S), not corrected, for values of the fluctuations (n, k)."""
    if len(calorimeter.depth_mm) == 1:
        return np.ones((len(values), 1))
    return layer_shares(values[:, 1], values[:, 2] - log_path(primaries), calorimeter.edges)


def expected_energies_MeV(
    radial: np.ndarray, calorimeter: Calorimeter, primaries: Primaries, slices_MeV: np.ndarray
) -> np.ndarray:
    """Mean energies of cells [MeV] (n, V) for energies of slices [MeV] (n, S).

    `radial` is that of `Parameters`.
    """
    geometry = calorimeter.geometry
    log_energy = np.log(primaries.energy_GeV)
    profiles = [profile_at(lines, log_energy) for lines in radial]
    expected_MeV = np.zeros((len(log_energy), geometry.n_cells))
    offsets = geometry.offsets()
    for number, layer in enumerate(calorimeter.layer_of_slice):
        axis_mm = primaries.entry_mm + calorimeter.depth_mm[number] * primaries.slopes
        shares = cell_shares(profiles[layer], axis_mm, geometry.layers[layer])
        expected_MeV[:, offsets[layer] : offsets[layer + 1]] += slices_MeV[:, [number]] * shares
    return expected_MeV


def log_path(primaries: Primaries) -> np.ndarray:
    """Logarithm of the path along the flight over the depth, shape (n,)."""
    return np.log1p((primaries.slopes**2).sum(axis=1)) / 2
