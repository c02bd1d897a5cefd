"""How good generated showers are while a model trains."""

from pathlib import Path

import numpy as np
import torch
from scipy import stats

from caloforge.models.family import Family
from caloforge.observables import image
from caloforge.preprocessing import Preprocessing
from caloforge.showers import ShowerFile, Showers, read_out

_SHOWERS = 2000


class ShowerValidation:
    """Mean Kolmogorov-Smirnov distance of all shower observables, full simulation against generated.

    Takes up to 2000 showers from the start of the validation set, asks the model for the same conditions,
    always with the same noise, and averages the two-sample statistic (0 to 1) over the observables; an
    observable that no generated shower defines counts 1.
    """

    def __init__(self, path: Path, preprocessing: Preprocessing, *, seed: int) -> None:
        with ShowerFile(path) as file:
            self.geometry = file.geometry
            self.real = file.read(0, min(len(file), _SHOWERS))
        self.preprocessing, self.seed = preprocessing, seed
        self.inputs = torch.from_numpy(preprocessing.network_inputs(self.real))
        self.expected = self._observables(read_out(self.real.showers, preprocessing.readout_threshold_MeV))

    def __call__(self, model: Family) -> float:
        """Score the model; it must be in evaluation mode."""
        device = next(model.parameters()).device
        rng = torch.Generator(device).manual_seed(self.seed)
        generated = torch.cat([model.generate(part.to(device), rng).cpu() for part in self.inputs.split(256)])
        observed = self._observables(self.preprocessing.inverse(generated.float().numpy()))
        return float(np.mean([_ks(self.expected[name], observed[name]) for name in self.expected]))

    def _observables(self, showers: np.ndarray) -> dict[str, np.ndarray]:
        batch = Showers(showers, self.real.incident_energies, self.real.conditions, self.real.event)
        values = image.compute(batch, self.geometry)
        return {name: values[name][np.isfinite(values[name])] for name in image.SCALARS}


def _ks(expected: np.ndarray, observed: np.ndarray) -> float:
    if not (len(expected) and len(observed)):
        return 1.0
    return stats.ks_2samp(expected, observed, method="asymp").statistic
