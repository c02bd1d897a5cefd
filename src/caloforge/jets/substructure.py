"""What jets are made of, in numbers."""

import awkward as ak
import fastjet
import numpy as np

from caloforge.config.stages import JetSettings
from caloforge.jets.particles import flat

_AXES = {"exclusive_kt": "KT_Axes", "one_pass": "OnePass_KT_Axes"}
_PAIRS = 1 << 15
"""Pairs of constituents held in memory at a time, if those of one jet are not more."""


def substructure(jets: ak.Array, settings: JetSettings) -> dict[str, np.ndarray]:
    """Numbers that describe jets, from their constituents alone.

    A jet is the sum of its constituents (E scheme). Distances are ΔR = √(Δy² + Δφ²) with the rapidity y, that
    of massless constituents being their pseudorapidity. With the sums over constituents i:

    - `pt`, `mass`, `eta`, `phi`: pT and mass of the jet [GeV], its pseudorapidity and azimuth [rad].
    - `girth`: Σ pT_i ΔR_i / pT with ΔR_i to the jet (J. Gallicchio and M. D. Schwartz, JHEP 04 (2013) 090).
    - `tau1`, `tau2`: N-subjettiness Σ pT_i min_a ΔR_ia / Σ pT_i R over N axes a, where R is the radius of the
      clustering (J. Thaler and K. Van Tilburg, JHEP 03 (2011) 015). Axes are the N exclusive kt subjets or,
      with `one_pass`, what one minimisation makes of these (the same, JHEP 02 (2012) 093).
    - `tau21`: `tau2` / `tau1`.
    - `two_point_moment`: Σ_i<j pT_i pT_j ΔR_ij / pT². CALPAGAN gives no formula of its own; with Σ pT_i for
      pT this is the energy correlation e2 below, the ratio C1 of Larkoski, Salam and Thaler.
    - `c2`, `d2`: e3 / e2² and e3 / e2³ of the energy correlations with exponent 1,
      e2 = Σ_i<j z_i z_j ΔR_ij and e3 = Σ_i<j<k z_i z_j z_k ΔR_ij ΔR_ik ΔR_jk with z_i = pT_i / Σ pT_j
      (A. J. Larkoski, G. P. Salam and J. Thaler, JHEP 06 (2013) 108; A. J. Larkoski, I. Moult and D. Neill,
      JHEP 12 (2014) 009).
    - `softdrop_mass`: mass [GeV] after soft drop of the constituents, reclustered with Cambridge/Aachen, with
      the radius of the clustering as R0 (A. J. Larkoski, S. Marzani, G. Soyez and J. Thaler, JHEP 05 (2014)
      146).
    - `constituents`: their number.

    N-subjettiness and soft drop are computed by FastJet contrib (https://fastjet.hepforge.org/contrib).

    Parameters
    ----------
    jets
        Constituents of m jets, at least one each, see `jets.particles`.
    settings
        Radius, axes and soft drop.

    Returns
    -------
    dict
        Name to values, shape (m,). Masses, girth, moment, `tau1` and `tau2` of a single constituent are 0;
        its `tau21`, `c2` and `d2` are NaN. `tau2`, `c2` and `d2` of two constituents are 0.
    """
    counts, particle = flat(jets)
    single = counts == 1
    jet = np.repeat(np.arange(len(counts)), counts)

    def summed(values: np.ndarray) -> np.ndarray:
        return np.bincount(jet, weights=values, minlength=len(counts))

    px, py, pz, energy = (summed(component) for component in particle.values())
    pt, phi = np.hypot(px, py), np.arctan2(py, px)
    mass = np.sqrt(np.maximum((energy - pz) * (energy + pz) - pt**2, 0))

    pt_i = np.hypot(particle["px"], particle["py"])
    y_i, phi_i = np.arcsinh(particle["pz"] / pt_i), np.arctan2(particle["py"], particle["px"])
    to_axis = np.hypot(y_i - np.arctanh(pz / energy)[jet], wrapped(phi_i - phi[jet]))
    girth = summed(pt_i * to_axis) / pt
    e2, e3 = energy_correlations(counts, pt_i, y_i, phi_i)
    spread = np.where(e2 > 0, e2, np.nan)

    sequence = fastjet.ClusterSequence(
        jets, fastjet.JetDefinition(fastjet.kt_algorithm, fastjet.JetDefinition.max_allowable_R)
    )
    tau1, tau2 = (
        ak.to_numpy(
            sequence.njettiness("NormalizedMeasure", _AXES[settings.axes], [1, 2], R0=settings.radius)
        )
        .reshape(-1, 2)
        .T
    )
    softdrop_mass = ak.to_numpy(
        sequence.exclusive_jets_softdrop_grooming(
            beta=settings.soft_drop.beta, symmetry_cut=settings.soft_drop.z_cut, R0=settings.radius
        ).msoftdrop
    )
    return {
        "pt": pt,
        "mass": np.where(single, 0, mass),
        "eta": np.arcsinh(pz / pt),
        "phi": phi,
        "girth": np.where(single, 0, girth),
        "tau1": tau1,
        "tau2": tau2,
        "tau21": tau2 / np.where(tau1 > 0, tau1, np.nan),
        "two_point_moment": e2 * (summed(pt_i) / pt) ** 2,
        "c2": e3 / spread**2,
        "d2": e3 / spread**3,
        "softdrop_mass": np.maximum(softdrop_mass, 0),
        "constituents": counts,
    }


def energy_correlations(
    counts: np.ndarray, pt: np.ndarray, y: np.ndarray, phi: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The energy correlations e2 and e3 of `substructure`, both of shape (m,).

    With the symmetric matrix M_ij = √(z_i z_j) ΔR_ij of a jet, e2 = Σ √z_i M_ij √z_j / 2 and e3 = tr M³ / 6.

    Parameters
    ----------
    counts
        Number of constituents of each jet, at least one, shape (m,).
    pt, y, phi
        pT, rapidity and azimuth [rad] of the constituents of all jets one after the other.
    """
    first = np.cumsum(counts) - counts
    e2, e3 = np.zeros(len(counts)), np.zeros(len(counts))
    by_size = np.argsort(-counts, kind="stable")
    start = 0
    while start < len(counts):
        most = counts[by_size[start]]
        jets = by_size[start : start + max(1, _PAIRS // most**2)]
        start += len(jets)
        place = np.arange(most)
        filled = place < counts[jets][:, None]
        slot = np.where(filled, first[jets][:, None] + place, 0)
        z = np.where(filled, pt[slot], 0)
        root_z = np.sqrt(z / z.sum(axis=1, keepdims=True))
        delta_y = y[slot][:, :, None] - y[slot][:, None, :]
        delta_phi = np.abs(phi[slot][:, :, None] - phi[slot][:, None, :])
        delta_phi = np.minimum(delta_phi, 2 * np.pi - delta_phi)
        matrix = np.sqrt(delta_y**2 + delta_phi**2) * root_z[:, :, None] * root_z[:, None, :]
        e2[jets] = np.einsum("ji,jik,jk->j", root_z, matrix, root_z, optimize=True) / 2
        e3[jets] = np.einsum("jik,jik->j", matrix @ matrix, matrix) / 6
    return e2, e3


def wrapped(angle: np.ndarray) -> np.ndarray:
    """Angles [rad] from -π up to but not including π."""
    return (angle + np.pi) % (2 * np.pi) - np.pi
