"""High-level features of showers: all their observables, as vectors."""

import numpy as np

from caloforge.evaluation.observables import Observables

INCIDENT_ENERGY = "incident_energy_GeV"


def feature_names(full: Observables) -> list[str]:
    """Columns of `feature_matrix`: the incident energy, where showers have one, and all observables."""
    energy = [INCIDENT_ENERGY] if full.geometry.kind != "eta_phi" else []
    return [*energy, *sorted(full.scalars)]


def feature_matrix(full: Observables, sample: Observables, rows: np.ndarray | slice) -> np.ndarray:
    """Features of showers, as the CaloChallenge takes them for its distances and classifiers.

    C. Krause et al., CaloChallenge 2022, arXiv:2410.21611, take energies as logarithms to the base of 10 and
    give widths and centres of empty layers the value 0. So do all observables with a logarithmic axis and
    undefined values here; a value that has no logarithm counts as the smallest one of the full simulation.

    Parameters
    ----------
    full
        Of the full simulation: which features there are.
    sample
        Of the showers, which may be the full simulation.
    rows
        Row numbers of the showers.

    Returns
    -------
    np.ndarray
        Finite, float64, shape (n, number of features), in the order of `feature_names`.
    """
    columns = []
    for name in feature_names(full):
        if name == INCIDENT_ENERGY:
            columns.append(np.log10(sample.incident_energy_GeV[rows], dtype=np.float64))
            continue
        observable, reference = full.scalars[name]
        values = sample.scalars[name][1][rows].astype(np.float64)
        if observable.log:
            least = np.min(reference, where=reference > 0, initial=np.inf)
            values = np.log10(np.fmax(values, least if np.isfinite(least) else 1.0))
        columns.append(np.nan_to_num(values, nan=0.0))
    return np.stack(columns, axis=1)
