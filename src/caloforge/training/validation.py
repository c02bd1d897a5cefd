"""How good generated showers are while a model trains."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from scipy import stats

from caloforge.config.stages import JetSettings
from caloforge.metrics.shower_shapes import shape_error
from caloforge.models.family import Family
from caloforge.observables import as_observed, block_showers, module_for
from caloforge.preprocessing import Preprocessing
from caloforge.showers import ShowerFile, Showers, read_out
from caloforge.training.pairs import FrechetDistances

_SHOWERS = 2000
_BATCH = 256


class ShowerValidation:
    """Score of generated showers beside those of the validation set; the lower the better.

    Takes up to 2000 showers from the start of the validation set and asks the model for the same conditions,
    always with the same noise. Cells count after the readout threshold.

    - `observables`: mean Kolmogorov-Smirnov distance of all shower observables. Averages the two-sample
      statistic (0 to 1) over the observables with one number per shower; one that no generated shower defines
      counts 1, one that no simulated shower defines is left out.
    - `shower_shapes`: `metrics.shower_shapes.shape_error`, for grids of several layers.

    Of models that are given images of a fast simulation it also says the `FrechetDistances`.

    Attributes
    ----------
    constants
        `frechet`: the Fréchet distances that do not depend on the model; empty for other models.

    Parameters
    ----------
    path
        Canonical showers of the validation set.
    preprocessing
        Of the model.
    score
        Which of the scores.
    jets
        Definition of jets, for collisions.
    seed
        Of the noise.

    Raises
    ------
    CaloforgeError
        If no observables are defined for the showers, or the file lacks what they need.
    """

    def __init__(
        self,
        path: Path,
        preprocessing: Preprocessing,
        score: Literal["observables", "shower_shapes"] = "observables",
        jets: JetSettings | None = None,
        *,
        seed: int,
    ) -> None:
        self.preprocessing, self.seed = preprocessing, seed
        self.batches = []
        simulated, pairs = [], []
        with ShowerFile(path) as file:
            module = module_for(file, jets)
            self.score = _SCORES[score](file, module)
            n, step = min(len(file), _SHOWERS), min(_BATCH, block_showers(file.geometry))
            for start in range(0, n, step):
                block = file.read(start, min(start + step, n))
                observed = as_observed(block, file, module, preprocessing.readout_threshold_MeV)
                simulated.append(self.score.summary(observed))
                if preprocessing.paired:
                    fast_MeV = read_out(block.reference, preprocessing.readout_threshold_MeV)
                    fast = self.score.summary(replace(observed, showers=fast_MeV))
                    pairs.append((observed.showers, fast, fast_MeV))
                inputs = torch.from_numpy(preprocessing.network_inputs(block))
                primaries = replace(observed, showers=np.empty((len(block), 0), np.float32))
                self.batches.append((inputs, primaries))
        self.simulated = np.concatenate(simulated)
        self.frechet, self.constants = None, {}
        if preprocessing.paired:
            full_MeV, fast, fast_MeV = map(np.concatenate, zip(*pairs, strict=True))
            self.frechet = FrechetDistances(self.score.names, (self.simulated, full_MeV), (fast, fast_MeV))
            self.constants = {"frechet": self.frechet.constants}
        self.energy_GeV = (
            np.concatenate([primaries.incident_energies[:, 0] for _, primaries in self.batches]) / 1000
        )

    def __call__(self, model: Family) -> dict[str, float]:
        """Score the model, which must be in evaluation mode: `validation`, and numbers beside it."""
        device = next(model.parameters()).device
        rng = torch.Generator(device).manual_seed(self.seed)
        generated, images_MeV = [], []
        for inputs, primaries in self.batches:
            showers = model.generate(inputs.to(device), rng).float().cpu().numpy()
            cells_MeV = read_out(
                self.preprocessing.inverse(showers), self.preprocessing.readout_threshold_MeV
            )
            generated.append(self.score.summary(replace(primaries, showers=cells_MeV)))
            if self.frechet:
                images_MeV.append(cells_MeV)
        summary = np.concatenate(generated)
        found = {"validation": self.score.distance(self.simulated, summary, self.energy_GeV)}
        if self.frechet:
            distances = self.frechet(summary, np.concatenate(images_MeV))
            found |= {f"validation_frechet_{name}": distance for name, distance in distances.items()}
        return found


class _Observables:
    """Mean Kolmogorov-Smirnov distance of the observables with one number per shower."""

    def __init__(self, file: ShowerFile, module: Any) -> None:
        self.geometry, self.module = file.geometry, module
        self.names = list(module.scalars(file.geometry, file.units))

    def summary(self, batch: Showers) -> np.ndarray:
        """The observables, shape (n, observables)."""
        values = self.module.compute(batch, self.geometry)
        return np.stack([values[name] for name in self.names], axis=1)

    def distance(self, simulated: np.ndarray, generated: np.ndarray, _energy_GeV: np.ndarray) -> float:
        distances = [
            _ks(expected[np.isfinite(expected)], observed[np.isfinite(observed)])
            for expected, observed in zip(simulated.T, generated.T, strict=True)
            if np.isfinite(expected).any()
        ]
        return float(np.mean(distances))


class _ShowerShapes:
    """Relative error of the mean profiles along the axes of a grid and of their moments."""

    def __init__(self, file: ShowerFile, _module: Any) -> None:
        self.shape = (len(file.geometry.layers), *file.geometry.layers[0].shape)

    def summary(self, batch: Showers) -> np.ndarray:
        """Energy in each slice along z, x and y [MeV], shape (n, slices of all axes)."""
        cells = batch.showers.reshape(len(batch), *self.shape)
        return np.concatenate([cells.sum(axis=other) for other in ((2, 3), (1, 3), (1, 2))], axis=1)

    def distance(self, simulated: np.ndarray, generated: np.ndarray, energy_GeV: np.ndarray) -> float:
        borders = np.cumsum(self.shape)[:-1]
        profiles = (np.split(slices, borders, axis=1) for slices in (simulated, generated))
        return shape_error(*profiles, energy_GeV)


_SCORES = {"observables": _Observables, "shower_shapes": _ShowerShapes}


def _ks(simulated: np.ndarray, generated: np.ndarray) -> float:
    return stats.ks_2samp(simulated, generated, method="asymp").statistic if len(generated) else 1.0
