"""Observables of generated showers against those of the full simulation."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from caloforge.config.stages import EvaluationSettings
from caloforge.errors import CaloforgeError
from caloforge.figures import comparison, energy
from caloforge.figures.album import Drawn
from caloforge.figures.comparison import Estimates
from caloforge.geometry import Geometry
from caloforge.metrics.distributions import bin_edges, compare, has_bins
from caloforge.observables.observable import Observable
from caloforge.seeds import derive_seed

_BLOCK_SHOWERS = 10_000
"""Showers whose profiles are held in memory at a time."""
_SCALAR_ATTRIBUTES = ("label", "unit", "log")
_PROFILE_ATTRIBUTES = ("x", "x_label", "x_unit", "label", "unit", "log_x", "log_y")


@dataclass(frozen=True)
class Observables:
    """Content of an observables file; profiles are reduced to their mean and its standard error.

    Attributes
    ----------
    path, geometry, readout_threshold_MeV
        The file, and what its showers are.
    scalars
        Name to the observable and its values, shape (N,).
    profiles
        Name to text and units of the axes, as `figures.comparison.profile` takes them, and the mean.
    mean_shower_MeV
        Mean energy per cell [MeV], shape (V,).
    incident_energy_GeV, event
        Of each shower, shape (N,).
    """

    path: Path
    geometry: Geometry
    readout_threshold_MeV: float
    scalars: dict[str, tuple[Observable, np.ndarray]]
    profiles: dict[str, tuple[dict[str, Any], Estimates]]
    mean_shower_MeV: np.ndarray
    incident_energy_GeV: np.ndarray
    event: np.ndarray

    def __len__(self) -> int:
        return len(self.event)


def read_observables(path: Path) -> Observables:
    """Read an observables file.

    Raises
    ------
    CaloforgeError
        If the file is missing or damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            return Observables(
                path,
                Geometry.model_validate_json(file.attrs["geometry"]),
                float(file.attrs["readout_threshold_MeV"]),
                {name: (_observable(data.attrs), data[:]) for name, data in file["scalars"].items()},
                {
                    name: ({key: _plain(data.attrs[key]) for key in _PROFILE_ATTRIBUTES}, mean_profile(data))
                    for name, data in file["profiles"].items()
                },
                file["mean_shower"][:],
                file["incident_energy_GeV"][:],
                file["event"][:],
            )
    except FileNotFoundError:
        raise CaloforgeError(f"{path}: no such file, expected observables (HDF5)") from None
    except (OSError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise CaloforgeError(f"{path}: not a readable observables file: {reason}") from None


def _observable(attributes: h5py.AttributeManager) -> Observable:
    known = {key: _plain(attributes[key]) for key in _SCALAR_ATTRIBUTES}
    return Observable(**known, shown=_plain(attributes.get("shown", True)))


def _plain(attribute: Any) -> Any:
    return bool(attribute) if isinstance(attribute, np.bool_) else attribute


def mean_profile(data: h5py.Dataset | np.ndarray) -> Estimates:
    """Mean of a profile over the showers and its standard error, read in blocks.

    Parameters
    ----------
    data
        Shape (N, K); NaN where undefined, such showers are left out of their column.
    """
    n, total, squares = (np.zeros(data.shape[1]) for _ in range(3))
    for start in range(0, len(data), _BLOCK_SHOWERS):
        block = data[start : start + _BLOCK_SHOWERS].astype(np.float64)
        defined = np.isfinite(block)
        block[~defined] = 0
        n += defined.sum(axis=0)
        total += block.sum(axis=0)
        squares += (block**2).sum(axis=0)
    return mean_and_error(n, total, squares, len(data))


def mean_and_error(n: np.ndarray | int, total: np.ndarray, squares: np.ndarray, n_showers: int) -> Estimates:
    """Mean and its standard error from the number, sum and sum of squares of values."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / n
        variance = np.maximum(squares - n * mean**2, 0) / (n - 1)
        return Estimates(mean, np.sqrt(variance / n), n_showers)


def check_comparable(full: Observables, sample: Observables) -> None:
    """Make sure that two files hold the same observables of the same calorimeter.

    Raises
    ------
    CaloforgeError
        If they do not.
    """
    for quantity, found, expected in (
        ("geometry", sample.geometry, full.geometry),
        ("readout_threshold_MeV", sample.readout_threshold_MeV, full.readout_threshold_MeV),
        ("scalars", sorted(sample.scalars), sorted(full.scalars)),
        ("profiles", sorted(sample.profiles), sorted(full.profiles)),
    ):
        if found != expected:
            raise CaloforgeError(f"{sample.path}: {quantity} {found}, expected {expected} as in {full.path}")


def distances(
    settings: EvaluationSettings,
    full: Observables,
    sample: Observables,
    other: Observables,
    independent: np.ndarray,
) -> dict[str, Any]:
    """Distances of every shown observable with one number per shower, each beside its floor.

    Parameters
    ----------
    full, sample, other
        Of the reference, of generated and of independent showers.
    independent
        Row numbers of the independent showers behind the floor.
    """
    found = {}
    for name, (observable, reference) in full.scalars.items():
        if not observable.shown:
            continue
        options = {"log": observable.log, "bins": settings.bins, "bootstrap": settings.bootstrap}
        generated = sample.scalars[name][1]
        floor = other.scalars[name][1][independent]
        found[name] = {
            "label": observable.label,
            "unit": observable.unit,
            "undefined": {
                "generated": int(np.isnan(generated).sum()),
                "reference": int(np.isnan(reference).sum()),
            },
            "generated": compare(reference, generated, seed=derive_seed(settings.seed, name), **options),
            "floor": compare(reference, floor, seed=derive_seed(settings.seed, name, "floor"), **options),
        }
    return found


def observable_figures(full: Observables, sample: Observables, bins: int) -> Iterator[Drawn]:
    """Distribution of every shown observable that the full simulation defines, then all profiles."""
    for name, (observable, reference) in full.scalars.items():
        is_defined = np.isfinite(reference).sum() >= 2 and has_bins(reference, log=observable.log)
        if not (observable.shown and is_defined):
            continue
        yield Drawn(
            f"distribution_{name}.svg",
            "Observables",
            observable.label,
            "Band and bars: statistical errors. The outermost bins also hold the showers beyond them.",
            comparison.distribution(
                reference,
                sample.scalars[name][1],
                bin_edges(reference, log=observable.log, bins=bins),
                label=observable.label,
                unit=observable.unit,
                log=observable.log,
            ),
        )
    for name, (axes, reference) in full.profiles.items():
        yield Drawn(
            f"profile_{name}.svg",
            "Observables",
            f"{axes['label']} against {axes['x_label'].lower()}",
            "Mean over the showers with its standard error.",
            comparison.profile(reference, sample.profiles[name][1], **axes),
        )


def energy_figures(full: Observables, sample: Observables, edges_GeV: tuple[float, ...]) -> Iterator[Drawn]:
    """Response and resolution in the ranges of energy between the first and the last that hold showers."""
    filled = np.flatnonzero(np.histogram(full.incident_energy_GeV, edges_GeV)[0] > 1)
    if not len(filled):
        return
    edges_GeV = edges_GeV[filled[0] : filled[-1] + 2]
    points = [(data.incident_energy_GeV, data.scalars["response"][1]) for data in (full, sample)]
    yield Drawn(
        "response.svg",
        "Energy",
        "Energy response",
        "Mean of visible over incident energy, in ranges of the incident energy.",
        energy.response(*points, edges_GeV),
    )
    yield Drawn(
        "resolution.svg",
        "Energy",
        "Energy resolution",
        "Standard deviation over mean of visible over incident energy, in ranges of the incident energy, "
        "over all positions and angles.",
        energy.resolution(*points, edges_GeV),
    )
