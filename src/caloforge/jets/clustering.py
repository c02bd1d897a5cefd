"""Anti-kt jets of particles, and trimming."""

from dataclasses import dataclass

import awkward as ak
import fastjet
import numpy as np

from caloforge.config.stages import JetSettings, TrimmingSettings
from caloforge.jets.particles import pick

LEADING = 2
"""Jets of an event that are looked into."""


@dataclass(frozen=True)
class LeadingJets:
    """The leading jets of n events, one after the other.

    Attributes
    ----------
    counts
        Number of jets in each event, leading ones or not, shape (n,).
    event, rank
        Event of each leading jet, from 0, and its rank by pT, from 0: shape (m,).
    constituents
        Their particles, `m * var * {px, py, pz, E}` [GeV], never none.
    """

    counts: np.ndarray
    event: np.ndarray
    rank: np.ndarray
    constituents: ak.Array


def leading_jets(particles: ak.Array, settings: JetSettings) -> LeadingJets:
    """The two jets with the most pT of each event, trimmed.

    Anti-kt (M. Cacciari, G. P. Salam and G. Soyez, JHEP 04 (2008) 063) in the E scheme. Jets are cut in pT
    and in eta, put in order of pT and counted as they are; then the leading ones are trimmed and keep their
    ranks, so that trimming never exchanges jets 1 and 2. A jet of which trimming leaves nothing is counted
    but not among those returned.

    Parameters
    ----------
    particles
        Of n events, see `jets.particles`.
    settings
        Radius, cuts and trimming.
    """
    anti_kt = fastjet.JetDefinition(fastjet.antikt_algorithm, settings.radius)
    sequence = fastjet.ClusterSequence(particles, anti_kt)
    jets = sequence.inclusive_jets(settings.pt_min_GeV)
    index = sequence.constituent_index(settings.pt_min_GeV)
    pt_GeV = np.hypot(jets.px, jets.py)
    if settings.eta_max is not None:
        inside = np.abs(np.arcsinh(jets.pz / pt_GeV)) <= settings.eta_max
        pt_GeV, index = pt_GeV[inside], index[inside]
    order = ak.argsort(pt_GeV, axis=1, ascending=False, stable=True)[:, :LEADING]
    event = np.repeat(np.arange(len(particles)), ak.to_numpy(ak.num(order)))
    rank = ak.to_numpy(ak.flatten(ak.local_index(order)))
    constituents = pick(particles, event, ak.flatten(index[order]))
    if settings.trimming:
        constituents = trimmed(constituents, settings.trimming)
        left = ak.to_numpy(ak.num(constituents)) > 0
        event, rank, constituents = event[left], rank[left], ak.to_packed(constituents[left])
    return LeadingJets(ak.to_numpy(ak.num(pt_GeV)), event, rank, constituents)


def trimmed(jets: ak.Array, settings: TrimmingSettings) -> ak.Array:
    """Constituents of jets without those of soft subjets.

    Subjets are inclusive kt jets of the constituents of one jet; those whose pT is below a fraction of the pT
    of the jet, before trimming, are taken away (D. Krohn, J. Thaler and L.-T. Wang, JHEP 02 (2010) 084).

    Parameters
    ----------
    jets
        Constituents of m jets, see `jets.particles`.
    settings
        Radius of the subjets and the fraction.
    """
    sequence = fastjet.ClusterSequence(jets, fastjet.JetDefinition(fastjet.kt_algorithm, settings.radius))
    subjets = sequence.inclusive_jets(0)
    pt_GeV = np.hypot(ak.sum(jets.px, axis=1), ak.sum(jets.py, axis=1))
    kept = np.hypot(subjets.px, subjets.py) >= settings.pt_fraction * pt_GeV
    return pick(jets, np.arange(len(jets)), ak.flatten(sequence.constituent_index(0)[kept], axis=2))
