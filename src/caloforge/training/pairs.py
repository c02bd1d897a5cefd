"""How far generated images of collisions are from those of the full simulation, as distributions."""

from collections.abc import Sequence

import numpy as np

from caloforge.metrics.frechet import frechet_distance, principal_components

_COMPONENTS = 64
_OF_A_JET = ("pt", "mass", "eta", "phi", "girth", "tau1", "tau2", "two_point_moment")
JET_FEATURES = (*(f"jet{n}_{name}" for n in (1, 2) for name in _OF_A_JET), "delta_phi")
"""Observables of the two leading jets that the paper compares, without the difference of two of them."""


class FrechetDistances:
    """Fréchet distances of samples of images from the full simulation.

    Figure 5 of E. Simsek et al., CALPAGAN (2024), has the distance of all pixels against the epoch, whose
    covariance takes more events than there are pixels and is that of the hottest towers: with 838 events it
    does not tell a fast from the full simulation. Here it is

    - `jets`: of the `JET_FEATURES`, in standard deviations of the full simulation; events without two jets
      are left out;
    - `pixels`: of log(1 + E / GeV) of the towers, in the first 64 principal components of the full simulation
      or as many as its events have.

    Every other event of a sample is compared with the others of the full simulation, and the other way round;
    the mean of both counts. Images of the same events have their fluctuations in common, and would be closer
    than independent ones of the full simulation are: this way the distance of a perfect model is the floor.

    Attributes
    ----------
    constants
        The distances of the fast simulation, `fast`, and of the full simulation itself, `floor`; None where
        undefined.

    Parameters
    ----------
    names
        Of the observables.
    full, fast
        Values of all observables, shape (n, observables), and cells [MeV], shape (n, V), of both simulations.
    """

    def __init__(
        self, names: Sequence[str], full: tuple[np.ndarray, np.ndarray], fast: tuple[np.ndarray, np.ndarray]
    ) -> None:
        self._columns = [list(names).index(name) for name in JET_FEATURES]
        jets = self._jets(full[0])
        spread = jets.std(axis=0) if len(jets) else np.ones(len(JET_FEATURES))
        self._scale = np.where(spread > 0, spread, 1)
        self._mean, self._components = principal_components(_logarithms(full[1]), _COMPONENTS)
        self._full = self._halves(*full)
        self.constants = {
            name: {of: value if np.isfinite(value) else None for of, value in self(*sample).items()}
            for name, sample in (("fast", fast), ("floor", full))
        }

    def __call__(self, observables: np.ndarray, cells_MeV: np.ndarray) -> dict[str, float]:
        """Distances of a sample of the same events; NaN where too few of them have two jets."""
        sample = self._halves(observables, cells_MeV)
        crossed = list(zip(sample, reversed(self._full), strict=True))
        return {
            name: float(np.mean([frechet_distance(full[name], part[name]) for part, full in crossed]))
            for name in ("jets", "pixels")
        }

    def _halves(self, observables: np.ndarray, cells_MeV: np.ndarray) -> list[dict[str, np.ndarray]]:
        """Features of every other event, and of the others."""
        return [
            {
                "jets": self._jets(observables[half::2]) / self._scale,
                "pixels": (_logarithms(cells_MeV[half::2]) - self._mean) @ self._components.T,
            }
            for half in (0, 1)
        ]

    def _jets(self, observables: np.ndarray) -> np.ndarray:
        """The `JET_FEATURES` of events with two jets."""
        features = observables[:, self._columns].astype(np.float64)
        return features[np.isfinite(features).all(axis=1)]


def _logarithms(cells_MeV: np.ndarray) -> np.ndarray:
    return np.log1p(cells_MeV / 1000)
