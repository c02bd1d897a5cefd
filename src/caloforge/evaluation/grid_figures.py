"""Figures of the comparison of showers in regular grids."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from caloforge.evaluation.grid_sample import SPECTRUM_EDGES_MEV, GridSample
from caloforge.evaluation.observables import Observables
from caloforge.figures import comparison, grid
from caloforge.figures.album import Drawn
from caloforge.figures.comparison import Estimates
from caloforge.metrics.shower_shapes import Window, cell_response

AXIS_PROFILES = {"x": "transverse_x", "y": "transverse_y", "z": "longitudinal"}
"""Profiles of stacks whose axis is that of the slices."""


def shape_figures(
    full: Observables, samples: Sequence[GridSample], windows: Sequence[Sequence[Window]]
) -> Iterator[Drawn]:
    """Mean energy in the slices along each axis, and those along z in ranges of energy.

    Parameters
    ----------
    full
        Observables of the full simulation.
    samples
        Full simulation, generated and independent showers.
    windows
        Ranges of energy, in each of the samples.
    """
    reference, generated, _ = samples
    for number, (axis, name) in enumerate(AXIS_PROFILES.items()):
        axes, _ = full.profiles[name]
        for log_y in (False, True):
            yield Drawn(
                f"shape_{axis}{'_log' if log_y else ''}.svg",
                "Shower shapes",
                f"Shape along {axis}, {'logarithmic' if log_y else 'linear'}",
                "Mean energy in the slices across the axis with its standard error, after the readout "
                "threshold.",
                comparison.profile(
                    _mean(reference.slices_MeV[number]),
                    _mean(generated.slices_MeV[number]),
                    axes["x"],
                    x_label=axes["x_label"],
                    x_unit=axes["x_unit"],
                    label="Mean energy per slice",
                    unit="MeV",
                    log_y=log_y,
                ),
            )
    if windows:
        axes, _ = full.profiles["longitudinal"]
        yield Drawn(
            "longitudinal_shapes.svg",
            "Shower shapes",
            "Longitudinal shapes",
            "Mean energy per layer of showers of about the same energy: lines and bands for the full "
            "simulation, points for generated showers.",
            grid.longitudinal_shapes(
                {
                    f"{full_window.energy_GeV:g} ± {full_window.half_width_GeV:g} GeV": (
                        _mean(reference.slices_MeV[2][full_window.rows]),
                        _mean(generated.slices_MeV[2][window.rows]),
                    )
                    for full_window, window, _ in windows
                },
                axes["x"],
                x_label=axes["x_label"],
                x_unit=axes["x_unit"],
            ),
        )


def cell_figures(samples: Sequence[GridSample], window: Window) -> Iterator[Drawn]:
    """Energies of single cells, and the response of those in the core of showers.

    Parameters
    ----------
    samples
        Full simulation, generated and independent showers.
    window
        Of the energies of the showers whose core was kept.
    """
    reference, generated, independent = samples
    filled = np.flatnonzero(reference.spectrum.value + generated.spectrum.value)
    if len(filled):
        shown = slice(0, filled[-1] + 1)
        yield Drawn(
            "cell_energies.svg",
            "Cells",
            "Energies of cells",
            "Mean number of cells per shower, before the readout threshold, with its standard error. Ten "
            f"bins per decade from {SPECTRUM_EDGES_MEV[0]:g} MeV.",
            comparison.profile(
                *(_part(sample.spectrum, shown) for sample in (reference, generated)),
                SPECTRUM_EDGES_MEV[: filled[-1] + 2],
                x_label="Energy of a cell",
                x_unit="MeV",
                label="Cells per shower and bin",
                unit="1",
                log_x=True,
                log_y=True,
            ),
        )
    ratios = {
        "Generated": cell_response(reference.core_MeV, generated.core_MeV),
        "Independent full simulation": cell_response(reference.core_MeV, independent.core_MeV),
    }
    if all(np.isfinite(values).any() for pair in ratios.values() for values in pair):
        yield Drawn(
            "core_response.svg",
            "Cells",
            "Cells in the core",
            f"Mean (left) and standard deviation (right) of the energy of each of the "
            f"{reference.core_MeV.shape[1]} cells in the core over that of the full simulation, at "
            f"{window.energy_GeV:g} ± {window.half_width_GeV:g} GeV.",
            grid.core_response(ratios),
        )


def similarity_figure(similarities: Mapping[str, np.ndarray], range_MeV: float) -> Drawn:
    """Structural similarities within the full simulation, within generated showers and between them."""
    shown = {
        "Full – full simulation": similarities["full_full"],
        "Generated – generated": similarities["generated_generated"],
        "Full simulation – generated": similarities["full_generated"],
    }
    n = len(similarities["full_full"])
    return Drawn(
        "similarity.svg",
        "Similarity",
        "Structural similarity",
        f"Of {n} random pairs of showers each, without a common shower, for a range of cell energies of "
        f"L = {range_MeV:g} MeV; 1 for equal showers.",
        grid.similarity(shown),
    )


def _mean(values: np.ndarray) -> Estimates:
    """Mean over the showers and its standard error, of values of shape (n, K)."""
    n = len(values)
    values = values.astype(np.float64)
    if n < 2:
        return Estimates(*np.full((2, values.shape[1]), np.nan), n)
    return Estimates(values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(n), n)


def _part(estimates: Estimates, bins: slice) -> Estimates:
    return Estimates(estimates.value[bins], estimates.error[bins], estimates.n)
