"""Fitted, invertible transforms between showers in MeV and what networks see."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import scipy  # loads what is only fitted with, optimize and stats, when it is used
from scipy import special

from caloforge.atomic import write_json
from caloforge.config.stages import PreprocessingSettings
from caloforge.errors import CaloforgeError
from caloforge.provenance import recorded
from caloforge.showers import ShowerFile, Showers, read_out

_BLOCK_CELLS = 4_500_000
"""Cells held in memory at a time."""
_POWER_FIT_CELLS = 1_000_000
_LEAST_LOG_SPREAD = 0.1
"""Standard deviation of ln(E) below which the response is a constant."""
_RARE = 0.1
"""Share of the showers below which a cell is rarely hit."""
_QUANTILES = 101
_LOGARITHM = re.compile(r"log\((\w+)\)")
_REFERENCE = ("reference",)
"""Inputs of networks that are given images of the fast simulation."""


@dataclass(frozen=True)
class Preprocessing:
    """Cell energies to a scale for networks, conditions to network inputs, and the response of the detector.

    On the Box-Cox scale a cell of energy E [MeV] above the readout threshold t becomes b(E / t) / `scale`
    with the transform b(u) = (u^power - 1) / power, or ln(u) for power 0 (G. E. P. Box and D. R. Cox, J. R.
    Stat. Soc. B 26 (1964) 211). A cell at or below the threshold becomes 0. The image of the threshold is 0
    too, so that a network with a ReLU output sees one continuous, censored scale, and what it leaves at zero
    reads as an empty cell. On the linear scale a cell above the threshold stays E / `scale`.

    Attributes
    ----------
    readout_threshold_MeV
        Cells at or below this energy are empty.
    power
        Box-Cox power, between 0 and 1; None for the linear scale.
    scale
        Root mean square of the transformed non-empty cells of the training set; 1000, for GeV, on the linear
        scale.
    inputs
        Network inputs in order: a condition, a ratio `a/b` of two or a logarithm `log(a)`; `energy` is the
        incident energy [GeV]. Or `reference` alone: every cell of the image of the fast simulation, on the
        scale of the cells.
    mean, std
        Of each input over the training set; 0 and 1 where inputs are not standardised.
    response
        Coefficients c of the mean visible over incident energy, sum_k c_k ln(E / GeV)^k at incident energy E.
    response_spread
        a and b of the relative standard deviation of the visible energy, sqrt(a^2 / (E / GeV) + b^2).
    mean_shower
        Share of each cell in the visible energy of all showers of the training set, V numbers.
    rare_hit_MeV
        Mean energy above the threshold of the non-empty cells among those that less than a tenth of the
        showers reach; 0 where there is none.
    centre_x_quantiles_mm, centre_y_quantiles_mm
        Of the centres of gravity of the showers of the training set, all cells in the plane of the face, at
        equal steps from the least to the greatest; none where cells are not rectangular.
    """

    readout_threshold_MeV: float
    power: float | None
    scale: float
    inputs: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    response: tuple[float, ...]
    response_spread: tuple[float, float]
    mean_shower: tuple[float, ...]
    rare_hit_MeV: float
    centre_x_quantiles_mm: tuple[float, ...] = ()
    centre_y_quantiles_mm: tuple[float, ...] = ()

    def forward(self, showers: np.ndarray) -> np.ndarray:
        """Transform cell energies [MeV] of any shape, >= 0; float32 of the same shape, >= 0."""
        if self.power is None:
            return (read_out(showers, self.readout_threshold_MeV) / np.float32(self.scale)).astype(np.float32)
        ratio = np.maximum(np.asarray(showers, np.float64) / self.readout_threshold_MeV, 1)
        return (special.boxcox(ratio, self.power) / self.scale).astype(np.float32)

    def inverse(self, transformed: np.ndarray) -> np.ndarray:
        """Undo `forward`: cell energies [MeV], float32; exactly 0 where `transformed` is <= 0."""
        if self.power is None:
            return (np.maximum(transformed, 0) * np.float32(self.scale)).astype(np.float32)
        filled = transformed > 0
        boxcox = np.where(filled, transformed, 0).astype(np.float64) * self.scale
        energy = special.inv_boxcox(boxcox, self.power) * self.readout_threshold_MeV
        return np.where(filled, energy, 0).astype(np.float32)

    @property
    def paired(self) -> bool:
        """Whether networks are given the image of the fast simulation of each event."""
        return self.inputs == _REFERENCE

    def require_inputs(self, file: ShowerFile) -> None:
        """Check that a file has what the network inputs are made of.

        Raises
        ------
        CaloforgeError
            If it has no images of the fast simulation and networks are given them.
        """
        if self.paired:
            _require_pairs(file)

    def network_inputs(self, batch: Showers) -> np.ndarray:
        """Network inputs of the showers in `batch`: float32, shape (n, inputs), or (n, V) if `paired`."""
        if self.paired:
            return self.forward(batch.reference)
        values = _columns(self.inputs, batch)
        return ((values - self.mean) / self.std).astype(np.float32)

    def input_values(self, network_inputs: np.ndarray, which: slice = slice(None)) -> np.ndarray:
        """Undo shift and scale of network inputs: the values of their expressions, float64, shape (n, k).

        Parameters
        ----------
        network_inputs
            Shape (n, k).
        which
            Of `inputs`, k of them.
        """
        return network_inputs.astype(np.float64) * self.std[which] + self.mean[which]

    def as_dict(self) -> dict[str, Any]:
        """Plain data, equal to what `load` reads from a file with the same content."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self).items()}

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `fit_preprocessing` wrote.

        Raises
        ------
        CaloforgeError
            If the file is missing or is not such a file.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls(
                **{key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
            )
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise CaloforgeError(f"{path}: not a preprocessing file: {error}") from None


def describe_input(expression: str, units: Mapping[str, str]) -> tuple[str, str]:
    """Text and unit of an input expression, such as `log(energy / GeV)` and `1`.

    Parameters
    ----------
    expression
        One of `Preprocessing.inputs`.
    units
        Condition name to unit.
    """
    units = {**units, "energy": "GeV"}
    if argument := _LOGARITHM.fullmatch(expression):
        unit = units[argument[1]]
        return (expression if unit == "1" else f"log({argument[1]} / {unit})"), "1"
    numerator, _, denominator = expression.partition("/")
    if not denominator:
        return expression, units[expression]
    above, below = units[numerator], units[denominator]
    return expression, "1" if above == below else f"{above} / {below}"


def fit_preprocessing(
    settings: PreprocessingSettings, *, train: Path, readout_threshold_MeV: float, output: Path, record: Path
) -> None:
    """Fit the transforms on the training set and write them to `output` (JSON).

    The response is a parabola in the logarithm of the incident energy, fitted by least squares to the visible
    over the incident energy of every shower with weights proportional to the energy, as the relative variance
    of a sampling calorimeter falls with it; a constant where the energy hardly varies. Its spread, a
    stochastic and a constant term in quadrature as is usual for calorimeters (C. W. Fabjan and F. Gianotti,
    Rev. Mod. Phys. 75 (2003) 1243), is fitted to the squares of the relative deviations of single showers,
    with the same weights and both terms >= 0.

    The power, unless fixed, maximises the Box-Cox likelihood (scipy.stats.boxcox_llf) of up to a million
    non-empty cells from the start of the training set, between 0 and 1: a negative power would map every
    energy below a finite bound and leave larger network outputs without a meaning.

    Raises
    ------
    CaloforgeError
        If no cell is above the readout threshold, no incident energy above 0, an input does not vary or the
        file lacks the images that inputs are made of.
    """
    with (
        recorded(
            record,
            stage="preprocess",
            inputs=[train],
            outputs=[output],
            settings=settings.model_dump(mode="json"),
        ),
        ShowerFile(train) as file,
    ):
        power, scale = None, 1000.0
        if settings.energies == "box_cox":
            ratio = _non_empty_cells(file, readout_threshold_MeV) / readout_threshold_MeV
            power = _likely_power(ratio) if settings.power == "fit" else settings.power
            scale = float(np.sqrt(np.mean(special.boxcox(ratio, power) ** 2)))
        inputs = settings.inputs or tuple(file.units)
        if inputs == _REFERENCE:
            _require_pairs(file)
        moments = _moments(file, () if inputs == _REFERENCE else inputs, readout_threshold_MeV)
        known = moments.incident_GeV > 0
        if not known.any():
            raise CaloforgeError(f"{file.path}: every incident energy is 0, expected some above")
        incident_GeV, visible_GeV = moments.incident_GeV[known], moments.visible_GeV[known]
        response = _response(incident_GeV, visible_GeV)
        preprocessing = Preprocessing(
            readout_threshold_MeV=readout_threshold_MeV,
            power=power,
            scale=scale,
            inputs=inputs,
            mean=moments.mean if settings.standardise else (0.0,) * len(inputs),
            std=moments.std if settings.standardise else (1.0,) * len(inputs),
            response=response,
            response_spread=_response_spread(incident_GeV, visible_GeV, response),
            mean_shower=moments.mean_shower,
            rare_hit_MeV=moments.rare_hit_MeV,
            centre_x_quantiles_mm=_quantiles(moments.centres_mm[:, 0]),
            centre_y_quantiles_mm=_quantiles(moments.centres_mm[:, 1]),
        )
        write_json(output, preprocessing.as_dict())


def _require_pairs(file: ShowerFile) -> None:
    if not file.paired:
        raise CaloforgeError(f"{file.path}: no data set reference, expected images of the fast simulation")


def _non_empty_cells(file: ShowerFile, readout_threshold_MeV: float) -> np.ndarray:
    found: list[np.ndarray] = []
    for block in _blocks(file):
        found.append(block.showers[block.showers > readout_threshold_MeV])
        if sum(map(len, found)) >= _POWER_FIT_CELLS:
            break
    cells = np.concatenate(found)[:_POWER_FIT_CELLS].astype(np.float64)
    if not len(cells):
        raise CaloforgeError(_no_cell(file, readout_threshold_MeV))
    return cells


def _no_cell(file: ShowerFile, readout_threshold_MeV: float) -> str:
    return f"{file.path}: no cell is above the readout threshold of {readout_threshold_MeV} MeV"


def _likely_power(ratio: np.ndarray) -> float:
    fit = scipy.optimize.minimize_scalar(
        lambda power: -scipy.stats.boxcox_llf(power, ratio), bounds=(0, 1), method="bounded"
    )
    return round(float(fit.x), 4)


class _Moments(NamedTuple):
    """Of the inputs, the visible energy and the cells over the training set."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    incident_GeV: np.ndarray
    visible_GeV: np.ndarray
    mean_shower: tuple[float, ...]
    rare_hit_MeV: float
    centres_mm: np.ndarray


def _moments(file: ShowerFile, inputs: tuple[str, ...], readout_threshold_MeV: float) -> _Moments:
    """What one pass over the file gives; of every shower only its energies are kept."""
    total, squares = np.zeros(len(inputs)), np.zeros(len(inputs))
    cells_MeV, hits = np.zeros(file.geometry.n_cells), np.zeros(file.geometry.n_cells, np.int64)
    rectangular = file.geometry.kind == "cartesian"
    of_cells_mm = file.geometry.cell_centres_mm() if rectangular else None
    incident_GeV, visible_GeV, centres_mm = [], [], [np.empty((0, 2))]
    for block in _blocks(file):
        values = _columns(inputs, block)
        total += values.sum(axis=0)
        squares += (values**2).sum(axis=0)
        showers_MeV = read_out(block.showers, readout_threshold_MeV)
        cells_MeV += showers_MeV.sum(axis=0, dtype=np.float64)
        hits += np.count_nonzero(showers_MeV, axis=0)
        incident_GeV.append(block.incident_energies[:, 0] / 1000)
        visible_GeV.append(showers_MeV.sum(axis=1, dtype=np.float64) / 1000)
        if rectangular:
            filled = visible_GeV[-1] > 0
            centres_mm.append(showers_MeV[filled] @ of_cells_mm / (1000 * visible_GeV[-1][filled, None]))
    mean = total / len(file)
    std = np.sqrt(np.maximum(squares / len(file) - mean**2, 0))
    for name, centre, spread in zip(inputs, mean, std, strict=True):
        if not spread > 1e-6 * abs(centre):
            raise CaloforgeError(
                f"{file.path}: the input {name} is the same for every shower, expected it to vary"
            )
    if not cells_MeV.any():
        raise CaloforgeError(_no_cell(file, readout_threshold_MeV))
    rare = (hits > 0) & (hits < _RARE * len(file))
    excess_MeV = cells_MeV[rare].sum() - readout_threshold_MeV * hits[rare].sum()
    return _Moments(
        tuple(map(float, mean)),
        tuple(map(float, std)),
        np.concatenate(incident_GeV).astype(np.float64),
        np.concatenate(visible_GeV),
        tuple(float(f"{share:.4g}") for share in cells_MeV / cells_MeV.sum()),
        float(excess_MeV / max(hits[rare].sum(), 1)),
        np.concatenate(centres_mm),
    )


def _quantiles(values: np.ndarray) -> tuple[float, ...]:
    """At equal steps of the rank, from the least to the greatest; none of none."""
    if not len(values):
        return ()
    return tuple(float(f"{value:.5g}") for value in np.quantile(values, np.linspace(0, 1, _QUANTILES)))


def _response(incident_GeV: np.ndarray, visible_GeV: np.ndarray) -> tuple[float, ...]:
    """Coefficients of the response; see `fit_preprocessing`."""
    logarithm = np.log(incident_GeV)
    mean = np.average(logarithm, weights=incident_GeV)
    spread = np.sqrt(np.average((logarithm - mean) ** 2, weights=incident_GeV))
    powers = np.vander(logarithm, 3 if spread > _LEAST_LOG_SPREAD else 1, increasing=True)
    weights = np.sqrt(incident_GeV)
    fit, *_ = np.linalg.lstsq(powers * weights[:, None], visible_GeV / incident_GeV * weights)
    return tuple(map(float, fit))


def _response_spread(
    incident_GeV: np.ndarray, visible_GeV: np.ndarray, response: tuple[float, ...]
) -> tuple[float, float]:
    """Stochastic and constant term; see `fit_preprocessing`."""
    mean_GeV = incident_GeV * np.polynomial.polynomial.polyval(np.log(incident_GeV), response)
    deviation = visible_GeV / mean_GeV - 1
    terms = np.stack([1 / incident_GeV, np.ones_like(incident_GeV)], axis=1)
    squares, _ = scipy.optimize.nnls(terms * incident_GeV[:, None], deviation**2 * incident_GeV)
    return tuple(map(float, np.sqrt(squares)))


def _blocks(file: ShowerFile) -> Iterator[Showers]:
    return file.blocks(max(1, _BLOCK_CELLS // file.geometry.n_cells))


def _columns(inputs: tuple[str, ...], batch: Showers) -> np.ndarray:
    """The input expressions for every shower of `batch`: float64, shape (n, inputs)."""
    values = [_evaluate(expression, batch) for expression in inputs]
    return np.reshape(values, (len(inputs), len(batch))).T


def _evaluate(expression: str, batch: Showers) -> np.ndarray:
    """An input expression for every shower of `batch`: float64, shape (n,)."""
    values: Mapping[str, np.ndarray] = {**batch.conditions, "energy": batch.incident_energies[:, 0] / 1000}
    if argument := _LOGARITHM.fullmatch(expression):
        return np.log(values[argument[1]].astype(np.float64))
    numerator, _, denominator = expression.partition("/")
    value = values[numerator].astype(np.float64)
    return value / values[denominator] if denominator else value
