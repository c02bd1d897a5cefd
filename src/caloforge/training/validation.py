"""How good generated showers are while a model trains."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from caloforge.models.family import Family
from caloforge.observables import as_observed, block_showers, module_for
from caloforge.preprocessing import Preprocessing
from caloforge.showers import ShowerFile, Showers

_SHOWERS = 2000
_BATCH = 256


class ShowerValidation:
    """Mean Kolmogorov-Smirnov distance of all shower observables, full simulation against generated.

    Takes up to 2000 showers from the start of the validation set, asks the model for the same conditions,
    always with the same noise, and averages the two-sample statistic (0 to 1) over the observables with one
    number per shower; one that no generated shower defines counts 1, one that no simulated shower defines is
    left out.

    Raises
    ------
    CaloforgeError
        If no observables are defined for the showers, or the file lacks what they need.
    """

    def __init__(self, path: Path, preprocessing: Preprocessing, *, seed: int) -> None:
        self.preprocessing, self.seed = preprocessing, seed
        self.batches = []
        simulated = []
        with ShowerFile(path) as file:
            self.geometry = file.geometry
            self.module = module_for(file)
            self.names = list(self.module.scalars(file.geometry, file.units))
            n, step = min(len(file), _SHOWERS), min(_BATCH, block_showers(file.geometry))
            for start in range(0, n, step):
                block = file.read(start, min(start + step, n))
                observed = as_observed(block, file, self.module, preprocessing.readout_threshold_MeV)
                simulated.append(self._scalars(observed))
                inputs = torch.from_numpy(preprocessing.network_inputs(block))
                primaries = replace(observed, showers=np.empty((len(block), 0), np.float32))
                self.batches.append((inputs, primaries))
        self.simulated = np.concatenate(simulated)

    def __call__(self, model: Family) -> float:
        """Score the model; it must be in evaluation mode."""
        device = next(model.parameters()).device
        rng = torch.Generator(device).manual_seed(self.seed)
        generated = []
        for inputs, primaries in self.batches:
            showers = model.generate(inputs.to(device), rng).float().cpu().numpy()
            generated.append(self._scalars(replace(primaries, showers=self.preprocessing.inverse(showers))))
        distances = [
            _ks(expected[np.isfinite(expected)], observed[np.isfinite(observed)])
            for expected, observed in zip(self.simulated.T, np.concatenate(generated).T, strict=True)
            if np.isfinite(expected).any()
        ]
        return float(np.mean(distances))

    def _scalars(self, batch: Showers) -> np.ndarray:
        """The observables with one number per shower, shape (n, observables)."""
        values = self.module.compute(batch, self.geometry)
        return np.stack([values[name] for name in self.names], axis=1)


def _ks(simulated: np.ndarray, generated: np.ndarray) -> float:
    return stats.ks_2samp(simulated, generated, method="asymp").statistic if len(generated) else 1.0
