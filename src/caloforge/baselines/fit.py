"""The parameters of showers, fitted to a training set in a few passes over its file."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from caloforge.baselines.fluctuations import Fluctuations, fit_fluctuations, fitted_powers
from caloforge.baselines.longitudinal import fit_shapes, usual_log_shape
from caloforge.baselines.model import Parameters, expected_energies_MeV, log_path, slice_shares
from caloforge.baselines.primaries import Primaries, particle_codes, read_primaries
from caloforge.baselines.radial import RowSums
from caloforge.baselines.slices import Calorimeter
from caloforge.errors import CaloforgeError
from caloforge.showers import ShowerFile

_LEAST_SHOWERS = 20
_RANGES = 5
"""Ranges of energy, each with as many showers, that radial profiles are fitted to."""
_SPOT_SHOWERS = 3000
"""Showers that the size of spots is fitted to, at most."""
_NEAR_THRESHOLD = 10
"""Cells tell the size of spots that are expected to have less than this many times the readout threshold."""
_STRAIGHT = 0.1
"""Share of the showers that count as not inclined."""
_LEAST_SHARE = 1e-12
_LEAST_DEPTH_X0 = 0.5


@dataclass(frozen=True)
class TrainingSet:
    """The showers of one particle type in a file.

    Attributes
    ----------
    file
        Canonical showers.
    calorimeter
        Its slices.
    particle
        PDG code, 0 where conditions do not have it.
    """

    file: ShowerFile
    calorimeter: Calorimeter
    particle: int

    def blocks(self) -> Iterator[tuple[Primaries, np.ndarray]]:
        """Primaries and cells [MeV], shape (n, V), of those with energy.

        Raises
        ------
        CaloforgeError
            If a value is none of a shower.
        """
        for block in self.file.image_blocks(self.calorimeter.block_showers(), "showers"):
            primaries = read_primaries(block, self.file)
            finite = np.isfinite(block.showers).all(axis=1)
            if not finite.all():
                event = block.event[np.argmin(finite)]
                raise CaloforgeError(f"{self.file.path}: event {event} has a cell energy that is not finite")
            rows = np.flatnonzero((particle_codes(block) == self.particle) & (block.showers.sum(axis=1) > 0))
            yield primaries.of(rows), block.showers[rows]


def fit_parameters(showers: TrainingSet, readout_threshold_MeV: float, seed: int) -> Parameters:
    """The parameters of showers.

    Layer by layer, energies are right on average, and on average weighted with ln E; the random numbers of
    `seed` draw the showers that tell how to correct them.

    Raises
    ------
    CaloforgeError
        If a value is none of a shower, or there are fewer than 20 showers with energy.
    """
    calorimeter = showers.calorimeter
    primaries, layers_MeV = _layer_energies(showers)
    energy_GeV = primaries.energy_GeV
    responses = layers_MeV / (1000 * energy_GeV[:, None])
    quantities = [np.log(responses.sum(axis=1))]
    if len(layers_MeV.T) > 1:
        log_shape, log_depth = fit_shapes(layers_MeV, calorimeter.layer_edges(), readout_threshold_MeV)
        quantities += [log_shape, log_depth + log_path(primaries)]
    elif len(calorimeter.depth_mm) > 1:
        log_depth = _fit_log_depth(showers, energy_GeV)
        quantities += [usual_log_shape(calorimeter.geometry, energy_GeV), log_depth]
    fluctuations = fit_fluctuations(energy_GeV, np.stack(quantities, axis=1))
    noise = np.random.default_rng(seed).standard_normal((len(energy_GeV), len(quantities)))
    drawn = fluctuations.values(energy_GeV, noise)
    shares = calorimeter.layer_sums(slice_shares(calorimeter, primaries, drawn))
    layers = _fit_layers(energy_GeV, np.exp(drawn[:, :1]) * shares, responses)
    radial = _fit_radial(showers, fluctuations, primaries)
    spot_MeV = _fit_spots(showers, fluctuations, radial, len(energy_GeV), readout_threshold_MeV)
    return Parameters(fluctuations, layers, radial, spot_MeV)


def _layer_energies(showers: TrainingSet) -> tuple[Primaries, np.ndarray]:
    """Primaries of the showers with energy, and their energy in each layer [MeV], shape (n, L)."""
    starts = showers.calorimeter.geometry.offsets()[:-1]
    parts, layers_MeV = [], []
    for primaries, cells_MeV in showers.blocks():
        parts.append(primaries)
        layers_MeV.append(np.add.reduceat(cells_MeV, starts, axis=1, dtype=np.float64))
    found = sum(map(len, layers_MeV))
    if found < _LEAST_SHOWERS:
        particle = f" of the particle {showers.particle}" if showers.particle else ""
        raise CaloforgeError(
            f"{showers.file.path}: {found} showers{particle} with energy found, expected at least "
            f"{_LEAST_SHOWERS} for parametrised showers"
        )
    return Primaries(*map(np.concatenate, zip(*parts, strict=True))), np.concatenate(layers_MeV)


def _fit_log_depth(showers: TrainingSet, energy_GeV: np.ndarray) -> np.ndarray:
    """Logarithm of the mean depth [X0] of showers in an image along their flight, shape (n,).

    The depth is a line in ln E, by least squares of the centre of gravity less the entry point, which is the
    depth times the direction of flight.
    """
    geometry = showers.calorimeter.geometry
    (layer,) = geometry.layers
    columns = fitted_powers(energy_GeV)
    squares, products = np.zeros((2, 2)), np.zeros(2)
    first = 0
    for primaries, cells_MeV in showers.blocks():
        of_block = columns[first : first + len(cells_MeV)]
        first += len(cells_MeV)
        image_MeV = cells_MeV.reshape(-1, *layer.shape).astype(np.float64)
        for axis in (0, 1):
            rows_MeV = image_MeV.sum(axis=2 - axis)
            centre_mm = rows_MeV @ layer.centres_mm(axis) / rows_MeV.sum(axis=1)
            direction = primaries.slopes[:, axis] / np.exp(log_path(primaries))
            terms = of_block * direction[:, None] * geometry.radiation_length_mm
            squares += terms.T @ terms
            products += terms.T @ (centre_mm - primaries.entry_mm[:, axis])
    depth_X0 = columns @ np.linalg.lstsq(squares, products)[0]
    return np.log(np.maximum(depth_X0, _LEAST_DEPTH_X0))


def _fit_layers(energy_GeV: np.ndarray, drawn: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Lines in ln E that drawn energies of layers over E (n, L) are multiplied by: shape (2, L).

    With them the sum over the showers, and that weighted with ln E, is as found.
    """
    columns = fitted_powers(energy_GeV)
    lines = [
        np.linalg.lstsq(columns.T @ (columns * response[:, None]), columns.T @ target)[0]
        for response, target in zip(drawn.T, found.T, strict=True)
    ]
    return np.stack(lines, axis=1)


def _fit_radial(showers: TrainingSet, fluctuations: Fluctuations, primaries: Primaries) -> np.ndarray:
    """The radial profile of each layer: shape (L, 2, 3).

    Rows of cells along x count of those showers whose |dx/dz| is small, likewise y: the depth of a layer
    hardly smears them.
    """
    calorimeter, energy_GeV = showers.calorimeter, primaries.energy_GeV
    inner_edges = _range_edges(energy_GeV)
    number = np.searchsorted(inner_edges, energy_GeV)
    log_energy = np.bincount(number, np.log(energy_GeV)) / np.bincount(number)
    steepest = np.quantile(np.abs(primaries.slopes), _STRAIGHT, axis=0)
    layers = [RowSums(layer, len(log_energy)) for layer in calorimeter.geometry.layers]
    offsets = calorimeter.geometry.offsets()
    for chosen, cells_MeV in showers.blocks():
        shares = _mean_shares(calorimeter, fluctuations, chosen)
        depth_mm = calorimeter.layer_sums(shares * calorimeter.depth_mm) / calorimeter.layer_sums(shares)
        axes_mm = chosen.entry_mm[:, None] + depth_mm[:, :, None] * chosen.slopes[:, None]
        number = np.searchsorted(inner_edges, chosen.energy_GeV)
        for axis in (0, 1):
            rows = np.flatnonzero(np.abs(chosen.slopes[:, axis]) <= steepest[axis])
            for layer, sums in enumerate(layers):
                of_layer = cells_MeV[rows, offsets[layer] : offsets[layer + 1]]
                sums.add(axis, of_layer, axes_mm[rows, layer, axis], number[rows])
    return np.stack([sums.fit(log_energy) for sums in layers])


def _range_edges(energy_GeV: np.ndarray) -> np.ndarray:
    """Energies [GeV] between ranges of as many showers each; none where energies hardly vary."""
    if not fitted_powers(energy_GeV)[:, 1].any():
        return np.empty(0)
    edges = np.unique(np.quantile(energy_GeV, np.arange(1, _RANGES) / _RANGES))
    return edges[edges < energy_GeV.max()]


def _mean_shares(calorimeter: Calorimeter, fluctuations: Fluctuations, primaries: Primaries) -> np.ndarray:
    """Shares of slices (n, S) of the mean shower of each primary."""
    n, k = len(primaries.energy_GeV), len(fluctuations.correlations)
    mean = fluctuations.values(primaries.energy_GeV, np.zeros((n, k)))
    return np.maximum(slice_shares(calorimeter, primaries, mean), _LEAST_SHARE)


def _fit_spots(
    showers: TrainingSet,
    fluctuations: Fluctuations,
    radial: np.ndarray,
    n: int,
    readout_threshold_MeV: float,
) -> np.ndarray:
    """Mean energy of a spot in each layer [MeV]: shape (L,).

    The energy of a cell has the variance 2 s m, where m is its mean and s the mean energy of a spot: a sum of
    a Poisson number of exponential energies. s is half the sum of (energy - m)² over that of m, over the
    cells where m is small: in the core showers differ in more than in their spots.
    """
    calorimeter = showers.calorimeter
    starts = calorimeter.geometry.offsets()[:-1]
    squares, means_MeV = np.zeros(len(starts)), np.zeros(len(starts))
    every, seen = -(-n // _SPOT_SHOWERS), 0
    for primaries, cells_MeV in showers.blocks():
        rows = np.flatnonzero((seen + np.arange(len(cells_MeV))) % every == 0)
        seen += len(cells_MeV)
        chosen, cells_MeV = primaries.of(rows), cells_MeV[rows]
        shares = _mean_shares(calorimeter, fluctuations, chosen)
        layers_MeV = np.add.reduceat(cells_MeV, starts, axis=1, dtype=np.float64)
        scale_MeV = layers_MeV / calorimeter.layer_sums(shares)
        slices_MeV = shares * scale_MeV[:, calorimeter.layer_of_slice]
        mean_MeV = expected_energies_MeV(radial, calorimeter, chosen, slices_MeV)
        small = mean_MeV < _NEAR_THRESHOLD * readout_threshold_MeV
        squares += np.add.reduceat(np.sum((cells_MeV - mean_MeV) ** 2, axis=0, where=small), starts)
        means_MeV += np.add.reduceat(np.sum(mean_MeV, axis=0, where=small), starts)
    known = (squares > 0) & (means_MeV > 0)
    return np.where(known, squares / np.where(known, 2 * means_MeV, 1), readout_threshold_MeV)
