"""Observables of a collision: of its jets, and of its image in pseudorapidity and azimuth.

The observables of jets are those by which E. Simsek et al., CALPAGAN: Calorimetry for Particles using GANs,
section 4, compare images, and more of their substructure; `jets.substructure` defines them.
"""

from collections.abc import Callable, Collection, Mapping

import awkward as ak
import numpy as np

from caloforge.config.stages import JetSettings
from caloforge.errors import CaloforgeError
from caloforge.geometry import Geometry
from caloforge.jets.clustering import LEADING, LeadingJets, leading_jets
from caloforge.jets.particles import pixel_centres, pixel_particles
from caloforge.jets.substructure import substructure, wrapped
from caloforge.observables.observable import Observable, Profile
from caloforge.showers import ShowerFile, Showers

_JET_SCALARS = {
    "pt": ("transverse momentum", "GeV", True),
    "mass": ("mass", "GeV", False),
    "eta": ("pseudorapidity", "1", False),
    "phi": ("azimuth", "rad", False),
    "girth": ("girth", "1", False),
    "tau1": ("1-subjettiness τ₁", "1", False),
    "tau2": ("2-subjettiness τ₂", "1", False),
    "tau21": ("subjettiness ratio τ₂ / τ₁", "1", False),
    "two_point_moment": ("two-point moment", "1", False),
    "c2": ("energy correlation ratio C₂", "1", False),
    "d2": ("energy correlation ratio D₂", "1", False),
    "softdrop_mass": ("soft-drop mass", "GeV", False),
    "constituents": ("number of constituents", "1", False),
}
"""Label, unit and whether the axis is logarithmic of what is known of each leading jet."""

_SCALARS = {
    **{
        f"jet{number}_{name}": Observable(f"Jet {number}: {label}", unit, log=log)
        for number in range(1, LEADING + 1)
        for name, (label, unit, log) in _JET_SCALARS.items()
    },
    "delta_eta": Observable("Jets 1 and 2: Δη", "1"),
    "delta_phi": Observable("Jets 1 and 2: |Δφ|", "rad"),
    "jets": Observable("Jets", "1"),
    "total_energy": Observable("Energy", "MeV", log=True),
    "transverse_energy": Observable("Transverse energy", "GeV", log=True),
    "hit_cells": Observable("Hit cells", "1"),
    "hottest_energy": Observable("Energy of the hottest cell", "MeV", log=True),
}


class CollisionObservables:
    """The observables of collisions in a single layer of towers in eta and phi.

    Parameters
    ----------
    settings
        Of the jets.
    towers
        Gives the particles of the events with some numbers, int64 of shape (n,), as `jets.particles`
        describes them. None for those that the pixels of the images make.
    """

    CONDITIONS: Mapping[str, str] = {}
    """Collisions have no conditions."""

    def __init__(self, settings: JetSettings, towers: Callable[[np.ndarray], ak.Array] | None = None) -> None:
        self._settings, self._towers = settings, towers

    def scalars(self, _geometry: Geometry, _conditions: Collection[str]) -> dict[str, Observable]:
        """The observables with one number per event: the same for all of them."""
        return _SCALARS

    def profiles(self, geometry: Geometry) -> dict[str, Profile]:
        """The profiles of an event: `eta`, the energy in each ring of towers at the same pseudorapidity."""
        return {
            "eta": Profile(
                x=geometry.layers[0].edges(0),
                edges=True,
                x_label="Pseudorapidity",
                x_unit="1",
                label="Energy per ring of towers",
                unit="GeV",
                log_x=False,
                log_y=False,
            )
        }

    def check(self, file: ShowerFile) -> None:
        """Make sure that a file holds images of collisions.

        Raises
        ------
        CaloforgeError
            If the geometry has several layers.
        """
        layers = len(file.geometry.layers)
        if layers != 1:
            raise CaloforgeError(
                f"{file.path}: geometry {file.geometry.name} has {layers} layers, observables of collisions "
                "are defined for one"
            )

    def compute(self, batch: Showers, geometry: Geometry) -> dict[str, np.ndarray]:
        """All observables of a batch of n events.

        - `jet1_pt`... and `jet2_pt`...: those of `jets.substructure` of the jet with the most pT before
          trimming and of the next one, see `jets.clustering`.
        - `delta_eta`, `delta_phi`: η of jet 1 less that of jet 2; absolute difference in azimuth, at most π.
        - `jets`: number of jets above the cuts.
        - `total_energy`: sum of the cells [MeV]; `transverse_energy`: Σ E / cosh η with η of the centres of
          the cells [GeV]; `hottest_energy`: energy of the cell with most [MeV].
        - `hit_cells`: number of cells that are not zero.
        - `eta`: energy of the cells at the same η [GeV].

        Parameters
        ----------
        batch
            Images after the readout threshold [MeV].
        geometry
            One layer of cells in eta and phi.

        Returns
        -------
        dict
            Name to values: shape (n,) for `scalars`, (n, K) for `profiles`. Observables of jets are NaN where
            there is no such jet; `jets` and those of the image are 0 in an event without energy.
        """
        (layer,) = geometry.layers
        particles = self._towers(batch.event) if self._towers else pixel_particles(batch.showers, layer)
        eta, _ = pixel_centres(layer)
        ring_MeV = batch.showers.reshape(len(batch), *layer.shape).sum(axis=2, dtype=np.float64)
        return {
            **_of_jets(leading_jets(particles, self._settings), self._settings),
            "total_energy": ring_MeV.sum(axis=1),
            "transverse_energy": batch.showers @ (1 / np.cosh(eta)) / 1000,
            "hit_cells": np.count_nonzero(batch.showers, axis=1),
            "hottest_energy": batch.showers.max(axis=1),
            "eta": ring_MeV / 1000,
        }


def _of_jets(jets: LeadingJets, settings: JetSettings) -> dict[str, np.ndarray]:
    """The observables of the jets of n events, each of shape (n,)."""
    found: dict[str, np.ndarray] = {"jets": jets.counts}
    for name, values in substructure(jets.constituents, settings).items():
        of_ranks = np.full((len(jets.counts), LEADING), np.nan)
        of_ranks[jets.event, jets.rank] = values
        found |= {f"jet{number}_{name}": column for number, column in enumerate(of_ranks.T, start=1)}
    found["delta_eta"] = found["jet1_eta"] - found["jet2_eta"]
    found["delta_phi"] = np.abs(wrapped(found["jet1_phi"] - found["jet2_phi"]))
    return found
