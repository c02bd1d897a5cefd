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
    covariance takes more events than there are pixels. Here it is

    - `jets`: of the `JET_FEATURES`, in standard deviations of the full simulation; events without two jets
      are left out;
    - `pixels`: of the first 64 principal components of the full simulation, in GeV^2, or of as many as its
      events have.

    Attributes
    ----------
    constants
        The distances of the fast simulation, `fast`, and of one half of the full simulation, every other
        event, from the other, `floor`: what a perfect model would have with independent samples of so many
        events. None where undefined.

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
        self._mean, self._components = principal_components(full[1] / 1000, _COMPONENTS)
        self._full = self._features(*full)
        halves = (self._features(*(part[half::2] for part in full)) for half in (0, 1))
        self.constants = {
            name: {key: value if np.isfinite(value) else None for key, value in distances.items()}
            for name, distances in (("fast", self(*fast)), ("floor", _distances(*halves)))
        }

    def __call__(self, observables: np.ndarray, cells_MeV: np.ndarray) -> dict[str, float]:
        """Distances of a sample; NaN where too few of its events have two jets."""
        return _distances(self._full, self._features(observables, cells_MeV))

    def _jets(self, observables: np.ndarray) -> np.ndarray:
        features = observables[:, self._columns].astype(np.float64)
        return features[np.isfinite(features).all(axis=1)]

    def _features(self, observables: np.ndarray, cells_MeV: np.ndarray) -> dict[str, np.ndarray]:
        return {
            "jets": self._jets(observables) / self._scale,
            "pixels": (cells_MeV / 1000 - self._mean) @ self._components.T,
        }


def _distances(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> dict[str, float]:
    return {name: frechet_distance(first[name], second[name]) for name in first}
