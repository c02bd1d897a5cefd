"""Fitted, invertible transforms between showers in MeV and what networks see."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from scipy import optimize, special, stats

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
        incident energy [GeV].
    mean, std
        Of each input over the training set; 0 and 1 where inputs are not standardised.
    response
        Coefficients c of the mean visible over incident energy, sum_k c_k ln(E / GeV)^k at incident energy E.
    """

    readout_threshold_MeV: float
    power: float | None
    scale: float
    inputs: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    response: tuple[float, ...]

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

    def network_inputs(self, batch: Showers) -> np.ndarray:
        """Network inputs of the showers in `batch`: float32, shape (n, inputs)."""
        values = _columns(self.inputs, batch)
        return ((values - self.mean) / self.std).astype(np.float32)

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


def fit_preprocessing(
    settings: PreprocessingSettings, *, train: Path, readout_threshold_MeV: float, output: Path, record: Path
) -> None:
    """Fit the transforms on the training set and write them to `output` (JSON).

    The response is a parabola in the logarithm of the incident energy, fitted by least squares to the visible
    over the incident energy of every shower with weights proportional to the energy, as the relative variance
    of a sampling calorimeter falls with it; a constant where the energy hardly varies.

    The power, unless fixed, maximises the Box-Cox likelihood (scipy.stats.boxcox_llf) of up to a million
    non-empty cells from the start of the training set, between 0 and 1: a negative power would map every
    energy below a finite bound and leave larger network outputs without a meaning.

    Raises
    ------
    CaloforgeError
        If no cell is above the readout threshold or an input does not vary.
    """
    with (
        recorded(record, stage="preprocess", inputs=[train], settings=settings.model_dump(mode="json")),
        ShowerFile(train) as file,
    ):
        power, scale = None, 1000.0
        if settings.energies == "box_cox":
            ratio = _non_empty_cells(file, readout_threshold_MeV) / readout_threshold_MeV
            power = _likely_power(ratio) if settings.power == "fit" else settings.power
            scale = float(np.sqrt(np.mean(special.boxcox(ratio, power) ** 2)))
        inputs = settings.inputs or tuple(file.units)
        mean, std, response = _moments_and_response(file, inputs, readout_threshold_MeV)
        preprocessing = Preprocessing(
            readout_threshold_MeV=readout_threshold_MeV,
            power=power,
            scale=scale,
            inputs=inputs,
            mean=mean if settings.standardise else (0.0,) * len(inputs),
            std=std if settings.standardise else (1.0,) * len(inputs),
            response=response,
        )
        write_json(output, preprocessing.as_dict())


def _non_empty_cells(file: ShowerFile, readout_threshold_MeV: float) -> np.ndarray:
    found: list[np.ndarray] = []
    for block in _blocks(file):
        found.append(block.showers[block.showers > readout_threshold_MeV])
        if sum(map(len, found)) >= _POWER_FIT_CELLS:
            break
    cells = np.concatenate(found)[:_POWER_FIT_CELLS].astype(np.float64)
    if not len(cells):
        raise CaloforgeError(
            f"{file.path}: no cell is above the readout threshold of {readout_threshold_MeV} MeV"
        )
    return cells


def _likely_power(ratio: np.ndarray) -> float:
    fit = optimize.minimize_scalar(
        lambda power: -stats.boxcox_llf(power, ratio), bounds=(0, 1), method="bounded"
    )
    return round(float(fit.x), 4)


def _moments_and_response(
    file: ShowerFile, inputs: tuple[str, ...], readout_threshold_MeV: float
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each input, and the response, from one pass over the file."""
    total, squares = np.zeros(len(inputs)), np.zeros(len(inputs))
    normal, moments = np.zeros((3, 3)), np.zeros(3)
    for block in _blocks(file):
        values = _columns(inputs, block)
        total += values.sum(axis=0)
        squares += (values**2).sum(axis=0)
        incident_MeV = block.incident_energies[:, 0].astype(np.float64)
        visible_MeV = read_out(block.showers, readout_threshold_MeV).sum(axis=1, dtype=np.float64)
        known = incident_MeV > 0
        powers = np.vander(np.log(incident_MeV[known] / 1000), 3, increasing=True)
        normal += (powers * incident_MeV[known, None]).T @ powers
        moments += powers.T @ visible_MeV[known]
    mean = total / len(file)
    std = np.sqrt(np.maximum(squares / len(file) - mean**2, 0))
    for name, centre, spread in zip(inputs, mean, std, strict=True):
        if not spread > 1e-6 * abs(centre):
            raise CaloforgeError(
                f"{file.path}: the input {name} is the same for every shower, expected it to vary"
            )
    return tuple(map(float, mean)), tuple(map(float, std)), _parabola(normal, moments)


def _parabola(normal: np.ndarray, moments: np.ndarray) -> tuple[float, ...]:
    """Coefficients of the response from its normal equations; see `fit_preprocessing`."""
    log_mean = normal[0, 1] / normal[0, 0]
    log_spread = np.sqrt(max(normal[1, 1] / normal[0, 0] - log_mean**2, 0))
    if log_spread < _LEAST_LOG_SPREAD:
        return (float(moments[0] / normal[0, 0]),)
    return tuple(map(float, np.linalg.solve(normal, moments)))


def _blocks(file: ShowerFile) -> Iterator[Showers]:
    return file.blocks(max(1, _BLOCK_CELLS // file.geometry.n_cells))


def _columns(inputs: tuple[str, ...], batch: Showers) -> np.ndarray:
    """The input expressions for every shower of `batch`: float64, shape (n, inputs)."""
    return np.stack([_evaluate(expression, batch) for expression in inputs], axis=1)


def _evaluate(expression: str, batch: Showers) -> np.ndarray:
    """An input expression for every shower of `batch`: float64, shape (n,)."""
    values: Mapping[str, np.ndarray] = {**batch.conditions, "energy": batch.incident_energies[:, 0] / 1000}
    if argument := re.fullmatch(r"log\((\w+)\)", expression):
        return np.log(values[argument[1]].astype(np.float64))
    numerator, _, denominator = expression.partition("/")
    value = values[numerator].astype(np.float64)
    return value / values[denominator] if denominator else value
