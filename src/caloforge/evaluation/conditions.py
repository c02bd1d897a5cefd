"""What a network reads off showers, beside what they were asked for.

Three-dimensional GANs are judged like that by F. Carminati et al., Three dimensional Generative Adversarial
Networks for fast simulation, J. Phys. Conf. Ser. 1085 (2018) 032016, section 5: mean and width of the energy
that the discriminator reads off generated and off fully simulated showers of 100, 150 and 300 GeV.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from caloforge.config.stages import EvaluationSettings
from caloforge.errors import CaloforgeError
from caloforge.evaluation.observables import Observables
from caloforge.evaluation.samples import Samples, counted_note, energy_range, measured, windows_at
from caloforge.figures import conditions
from caloforge.figures.album import Drawn
from caloforge.figures.edges import is_wide
from caloforge.figures.ranges import deviation_in_ranges, mean_in_ranges

RANGES = 10
"""Ranges of the requested value with equally many showers."""
_SECTION = "Requested and reconstructed conditions"


@dataclass(frozen=True)
class Readings:
    """Requested and reconstructed inputs of n showers.

    Attributes
    ----------
    event
        Event number of each shower, shape (n,).
    requested, reconstructed
        Float64, shape (n, k).
    """

    event: np.ndarray
    requested: np.ndarray
    reconstructed: np.ndarray

    @property
    def residuals(self) -> np.ndarray:
        """Reconstructed minus requested, shape (n, k)."""
        return self.reconstructed - self.requested


@dataclass(frozen=True)
class Reconstruction:
    """Content of a reconstruction file.

    Attributes
    ----------
    path
        The file.
    names, labels, units
        Of the k inputs, as in the preprocessing and as text.
    samples
        `Readings` of each sample.
    """

    path: Path
    names: tuple[str, ...]
    labels: tuple[str, ...]
    units: tuple[str, ...]
    samples: Samples


def read_reconstruction(path: Path) -> Reconstruction:
    """Read what `caloforge.reconstruction` wrote.

    Raises
    ------
    CaloforgeError
        If the file is missing or damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            return Reconstruction(
                path,
                *(tuple(map(str, file.attrs[key])) for key in ("names", "labels", "units")),
                Samples(*(_read(file[sample]) for sample in ("reference", "generated", "independent"))),
            )
    except FileNotFoundError:
        raise CaloforgeError(f"{path}: no such file, expected reconstructed conditions (HDF5)") from None
    except (OSError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise CaloforgeError(f"{path}: not a readable file of reconstructed conditions: {reason}") from None


def _read(group: h5py.Group) -> Readings:
    return Readings(
        group["event"][:], *(group[kind][:].astype(np.float64) for kind in ("requested", "reconstructed"))
    )


def check_events(reconstruction: Reconstruction, full: Observables) -> None:
    """Make sure that conditions were read off the reference and what was generated for it.

    Parameters
    ----------
    reconstruction
        What was read.
    full
        Observables of the reference.

    Raises
    ------
    CaloforgeError
        If they were read off other showers.
    """
    for name in ("full", "generated"):
        if not np.array_equal(getattr(reconstruction.samples, name).event, full.event):
            raise CaloforgeError(f"{reconstruction.path}: events of {name} are not those of {full.path}")


def compare(
    settings: EvaluationSettings, reconstruction: Reconstruction
) -> tuple[dict[str, Any], list[Drawn]]:
    """Numbers and figures on what a network reads off generated showers and off those of the full simulation.

    The floor has showers of the full simulation that the network was not trained on, those of the validation
    set, in place of the generated ones. Errors are by bootstrap, see `samples.measured`.

    - `reconstructed_<input>_bias`, `reconstructed_<input>_resolution`: mean and standard deviation of
      reconstructed minus requested, over all showers of a sample; the note has those of the reference.
    - `reconstructed_energy_mean_ratio_100GeV`, `reconstructed_energy_width_ratio_100GeV`: mean and standard
      deviation of the reconstructed energy at about this requested energy E, over those of the full
      simulation, where `energy` or `log(energy)` is reconstructed. The reconstructed energy of each shower is
      scaled by E over its own requested energy, as if all had been asked for E.

    Returns
    -------
    tuple
        Name to label, unit, `generated` and `floor` with value and error each (None where undefined) and a
        note; and the figures.
    """
    numbers: dict[str, Any] = {}
    drawn: list[Drawn] = []
    for column in range(len(reconstruction.names)):
        numbers |= _residual_numbers(settings, reconstruction, column)
        drawn += _residual_figure(reconstruction, column)
    energies_GeV = _energies(reconstruction)
    if energies_GeV:
        windows = windows_at(
            Samples(*(requested_GeV for requested_GeV, _ in energies_GeV)),
            settings.reconstructed_energies_GeV,
            settings.regular_grid.shape_half_width_GeV,
            settings.regular_grid.window_showers,
        )
        scaled_GeV = [_scaled(energies_GeV, window) for window in windows]
        for window, values_GeV in zip(windows, scaled_GeV, strict=True):
            numbers |= _energy_numbers(settings, window, values_GeV)
        drawn += _energy_figure(windows, scaled_GeV)
    return numbers, drawn


def _residual_numbers(
    settings: EvaluationSettings, reconstruction: Reconstruction, column: int
) -> dict[str, Any]:
    name, label, unit = _identifier(reconstruction.names[column]), *_texts(reconstruction, column)
    labels = {
        f"reconstructed_{name}_bias": (f"Mean of reconstructed minus requested {label}", unit),
        f"reconstructed_{name}_resolution": (
            f"Standard deviation of reconstructed minus requested {label}",
            unit,
        ),
    }
    residuals = Samples(*([readings.residuals[:, column]] for readings in reconstruction.samples))
    mean, deviation = _moments(residuals.full[0])
    note = counted_note("all showers", (values for (values,) in residuals))
    note += f"; of the reference itself {mean:.3g}, standard deviation {deviation:.3g}"
    return measured(settings, residuals, lambda _, other: _moments(other[0]), labels, note=note)


def _residual_figure(reconstruction: Reconstruction, column: int) -> Iterator[Drawn]:
    """Bias and resolution against the requested value, unless that is the same for all showers."""
    label, unit = _texts(reconstruction, column)
    requested = reconstruction.samples.full.requested[:, column]
    edges = np.unique(np.quantile(requested, np.linspace(0, 1, RANGES + 1)))
    if len(edges) < 2:
        return
    edges[-1] = np.nextafter(edges[-1], np.inf)
    pairs = [
        (readings.requested[:, column], readings.residuals[:, column])
        for readings in (reconstruction.samples.full, reconstruction.samples.generated)
    ]
    yield Drawn(
        f"reconstructed_{_identifier(reconstruction.names[column])}.svg",
        _SECTION,
        f"Reconstructed {label}",
        f"Mean (bias) and standard deviation (resolution) of reconstructed minus requested {label}, with "
        "statistical errors, in ranges of the requested value with equally many showers. A network of the "
        "model reads off full simulation and off showers generated for the same primaries.",
        conditions.bias_and_resolution(
            tuple(mean_in_ranges(*pair, edges) for pair in pairs),
            tuple(deviation_in_ranges(*pair, edges) for pair in pairs),
            edges,
            label=label,
            unit=unit,
            log_x=_fills_the_low_end(edges),
        ),
    )


def _fills_the_low_end(edges: np.ndarray) -> bool:
    """Whether values with these quantiles span a wide range and half of them lie in its lower quarter."""
    low, middle, high = edges[0], np.median(edges), edges[-1]
    return is_wide(low, high) and middle < low + (high - low) / 4


def _energies(reconstruction: Reconstruction) -> Samples | None:
    """Requested and reconstructed energies [GeV] of each sample, None where no energy is reconstructed."""
    for name, transform in (("energy", np.asarray), ("log(energy)", np.exp)):
        if name in reconstruction.names:
            column = reconstruction.names.index(name)
            return Samples(
                *(
                    (transform(readings.requested[:, column]), transform(readings.reconstructed[:, column]))
                    for readings in reconstruction.samples
                )
            )
    return None


def _scaled(energies_GeV: Samples, windows: Samples) -> Samples:
    """Reconstructed energies [GeV] of the showers in a window, as if all had been asked for its centre."""
    return Samples(
        *(
            reconstructed_GeV[window.rows] * (window.energy_GeV / requested_GeV[window.rows])
            for (requested_GeV, reconstructed_GeV), window in zip(energies_GeV, windows, strict=True)
        )
    )


def _energy_numbers(settings: EvaluationSettings, windows: Samples, scaled_GeV: Samples) -> dict[str, Any]:
    at = f"{windows.full.energy_GeV:g} GeV"
    labels = {
        f"reconstructed_energy_{name}_ratio_{at.replace(' ', '')}": (
            f"{text} of the reconstructed energy at {at} over full simulation",
            "1",
        )
        for name, text in (("mean", "Mean"), ("width", "Standard deviation"))
    }
    note = counted_note(energy_range(windows.full), scaled_GeV)
    data = Samples(*([values_GeV] for values_GeV in scaled_GeV))
    return measured(settings, data, _ratios, labels, note=note)


def _energy_figure(windows: Sequence[Samples], scaled_GeV: Sequence[Samples]) -> Iterator[Drawn]:
    known = {
        window.full.energy_GeV: (values_GeV.full, values_GeV.generated)
        for window, values_GeV in zip(windows, scaled_GeV, strict=True)
        if len(values_GeV.full) > 1
    }
    if known:
        ranges = ", ".join(energy_range(window.full) for window in windows)
        yield Drawn(
            "reconstructed_energies.svg",
            _SECTION,
            "Reconstructed energies",
            f"Energies that a network of the model reads off showers of {ranges}, each scaled from its "
            "requested energy to the middle of its range. The outermost bins also hold the showers beyond "
            "them.",
            conditions.energies(known),
        )


def _moments(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of at least two values."""
    return values.mean(), values.std(ddof=1)


def _ratios(full: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> list[float]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return [np.divide(*pair) for pair in zip(_moments(other[0]), _moments(full[0]), strict=True)]


def _texts(reconstruction: Reconstruction, column: int) -> tuple[str, str]:
    return reconstruction.labels[column], reconstruction.units[column]


def _identifier(expression: str) -> str:
    """An input as part of a file name: `px/pz` as `px_over_pz`, `log(energy)` as `log_energy`."""
    return re.sub(r"\W", "", expression.replace("/", "_over_").replace("(", "_"))
