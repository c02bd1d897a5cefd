"""Showers in a regular grid of cells, compared as in the papers on 3D GANs: mean shapes, cells, similarity.

The numbers and figures are those of F. Rehm, S. Vallecorsa, K. Borras and D. Krücker, Physics Validation of
Novel Convolutional 2D Architectures for Speeding Up High Energy Physics Simulations, EPJ Web Conf. 251 (2021)
03042, and of F. Carminati et al., Three dimensional Generative Adversarial Networks for fast simulation,
J. Phys. Conf. Ser. 1085 (2018) 032016.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from caloforge.config.stages import EvaluationSettings
from caloforge.evaluation.grid_figures import cell_figures, shape_figures, similarity_figure
from caloforge.evaluation.grid_sample import GridSample, Selection, gather
from caloforge.evaluation.observables import Observables
from caloforge.evaluation.samples import (
    Samples,
    counted_note,
    energy_range,
    measured,
    windows_around,
    windows_at,
)
from caloforge.figures.album import Drawn
from caloforge.geometry import Geometry
from caloforge.metrics.shower_shapes import cell_response, moment_error, profile_ks, profile_mse
from caloforge.metrics.similarity import ssim
from caloforge.seeds import derive_seed

LEAST_CELLS = 8
"""Along each axis of a grid that is compared."""
LEAST_CELLS_SSIM = 11
"""Along both sides of a face on which showers have a structural similarity: one window."""
CORE_CELLS = 7
"""Along each axis of the core."""
PAPER_SHAPE = (25, 25, 25)
"""Grid of the papers, whose core is that of Rehm et al.: cells 10 to 16 along each axis, counted from 1."""
_BLOCK_PAIRS = 16
AXES = "xyz"


class Pairs(NamedTuple):
    """Positions of the partners of random pairs among the picked showers, shape (pairs,) each."""

    first: np.ndarray
    second: np.ndarray


def is_comparable(geometry: Geometry) -> bool:
    """Whether a calorimeter is a regular grid of enough rectangular cells."""
    shape = len(geometry.layers), *geometry.layers[0].shape
    return geometry.kind == "cartesian" and geometry.is_grid and min(shape) >= LEAST_CELLS


def compare(
    settings: EvaluationSettings,
    observables: Sequence[Observables],
    showers: Sequence[Path],
    independent_rows: np.ndarray,
) -> tuple[dict[str, Any], list[Drawn]]:
    """Numbers that whole samples of showers in a grid have, each beside its floor, and their figures.

    Cells count after the readout threshold. The floor is the same number with independent showers of the full
    simulation in place of the generated ones. Errors are by bootstrap: full and generated showers of the same
    primaries are drawn together, independent ones on their own. Those of similarities are standard errors of
    the mean over pairs without a common shower.

    - `profile_mse`, `moment_error` and, for each axis, `profile_ks_x`: see `metrics.shower_shapes`.
    - `profile_ks_x_100GeV`: the same of showers with about this energy. Energies beyond those of the full
      simulation are left out.
    - `core_mean_ratio`, `core_std_ratio`: mean over the cells of the core of `cell_response`, at one energy.
    - `ssim_within`: mean structural similarity of random pairs of showers of a sample.
    - `ssim_between`: the same, each pair with one shower of the reference.

    Parameters
    ----------
    settings
        Of the evaluation.
    observables, showers
        Of the full simulation, of the generated showers and of the independent ones.
    independent_rows
        Rows of the independent showers to take, increasing.

    Returns
    -------
    tuple
        Name to label, unit, `generated` and `floor` with value and error each (None where undefined) and a
        note; and the figures. Of every shower memory holds the sums over slices alone, of those around one
        energy the core, and of `ssim_pairs` pairs all cells.
    """
    grid = settings.regular_grid
    full, sample, other = observables
    rows = Samples(np.arange(len(full)), np.arange(len(sample)), independent_rows)
    of_primaries_GeV = full.incident_energy_GeV
    energies_GeV = Samples(of_primaries_GeV, of_primaries_GeV, other.incident_energy_GeV[independent_rows])
    core_windows = windows_around(
        energies_GeV, grid.core_energy_GeV, grid.core_half_width_GeV, grid.window_showers
    )
    picks, pairs = _picks(settings, full.geometry, rows)
    core = core_cells(full.geometry, full.mean_shower_MeV)
    samples = Samples(
        *(
            gather(path, data, Selection(some, _mask(len(some), window.rows), _mask(len(some), pick)), core)
            for path, data, some, window, pick in zip(
                showers, observables, rows, core_windows, picks, strict=True
            )
        )
    )
    shape_windows = windows_at(
        energies_GeV, grid.shape_energies_GeV, grid.shape_half_width_GeV, grid.window_showers
    )
    numbers = _shape_numbers(settings, samples)
    for windows in shape_windows:
        numbers |= _window_numbers(settings, samples, windows)
    numbers |= _core_numbers(settings, samples, core_windows, core)
    drawn = [
        *shape_figures(full, samples, shape_windows),
        *cell_figures(samples, core_windows.full),
    ]
    if pairs:
        similarities = _similarities(samples, pairs, grid.ssim_range_MeV)
        numbers |= _similarity_numbers(grid.ssim_range_MeV, similarities)
        drawn.append(similarity_figure(similarities, grid.ssim_range_MeV))
    return numbers, drawn


def core_cells(geometry: Geometry, mean_shower: np.ndarray) -> tuple[slice, slice, slice]:
    """Layers and cells along x and y of the core of showers.

    The seven cells in the middle along x and y and the seven layers around the mean depth; in the grid of the
    papers the seven layers in the middle, as there.

    Parameters
    ----------
    geometry
        A regular grid.
    mean_shower
        Mean energy per cell, shape (V,).
    """
    shape = len(geometry.layers), *geometry.layers[0].shape
    centres = [n // 2 for n in shape]
    layer_energy = mean_shower.reshape(shape[0], -1).sum(axis=1)
    if shape != PAPER_SHAPE and layer_energy.any():
        centres[0] = round(np.average(np.arange(shape[0]), weights=layer_energy))
    starts = [
        min(max(centre - CORE_CELLS // 2, 0), n - CORE_CELLS)
        for centre, n in zip(centres, shape, strict=True)
    ]
    return tuple(slice(start, start + CORE_CELLS) for start in starts)


def _picks(settings: EvaluationSettings, geometry: Geometry, rows: Samples) -> tuple[Samples, Pairs | None]:
    """Positions of random showers of each sample, and how they form pairs, if there are enough of them.

    Full and generated showers are picked for the same primaries, but a pair always has two different ones.
    """
    n_pairs = min(settings.regular_grid.ssim_pairs, min(map(len, rows)) // 2)
    if min(geometry.layers[0].shape) < LEAST_CELLS_SSIM or n_pairs < 2:
        return Samples(*[np.empty(0, int)] * 3), None
    rng = np.random.default_rng(derive_seed(settings.seed, "ssim"))
    primaries, independent = (
        rng.choice(len(some), 2 * n_pairs, replace=False) for some in (rows.full, rows.independent)
    )
    return Samples(primaries, primaries, independent), Pairs(*np.split(rng.permutation(2 * n_pairs), 2))


def _mask(n: int, positions: np.ndarray) -> np.ndarray:
    mask = np.zeros(n, bool)
    mask[positions] = True
    return mask


def _shape_numbers(settings: EvaluationSettings, samples: Samples) -> dict[str, Any]:
    labels = {
        "profile_mse": ("Mean squared difference of the mean shapes", "‰²"),
        "moment_error": ("Mean relative error of the moments of the shapes", "1"),
        **{f"profile_ks_{axis}": (_ks_label(axis), "1") for axis in AXES},
    }
    slices_MeV = Samples(*(sample.slices_MeV for sample in samples))
    return measured(
        settings, slices_MeV, _shape_distances, labels, note=counted_note("all energies", samples)
    )


def _window_numbers(settings: EvaluationSettings, samples: Samples, windows: Samples) -> dict[str, Any]:
    at = f"{windows.full.energy_GeV:g} GeV"
    labels = {
        f"profile_ks_{axis}_{at.replace(' ', '')}": (f"{_ks_label(axis)} at {at}", "1") for axis in AXES
    }
    slices_MeV = Samples(
        *(
            [profile[window.rows] for profile in sample.slices_MeV]
            for sample, window in zip(samples, windows, strict=True)
        )
    )
    note = counted_note(energy_range(windows.full), (window.rows for window in windows))
    return measured(settings, slices_MeV, _ks_distances, labels, note=note)


def _core_numbers(
    settings: EvaluationSettings, samples: Samples, windows: Samples, core: Sequence[slice]
) -> dict[str, Any]:
    labels = {
        "core_mean_ratio": ("Mean energy of a cell in the core over full simulation", "1"),
        "core_std_ratio": (
            "Standard deviation of the energy of a cell in the core over full simulation",
            "1",
        ),
    }
    core_MeV = Samples(*([sample.core_MeV] for sample in samples))
    layers, x, y = (f"{part.start} to {part.stop - 1}" for part in core)
    note = counted_note(energy_range(windows.full), (window.rows for window in windows))
    note += f"; cells {x} along x, {y} along y, layers {layers}"
    return measured(settings, core_MeV, _core_ratios, labels, note=note)


def _shape_distances(full: Sequence[np.ndarray], fast: Sequence[np.ndarray]) -> list[float]:
    if not full[0].any():
        return [np.nan] * (2 + len(AXES))
    return [profile_mse(full, fast), moment_error(full, fast), *_ks_distances(full, fast)]


def _ks_distances(full: Sequence[np.ndarray], fast: Sequence[np.ndarray]) -> list[float]:
    return [profile_ks(*profiles) for profiles in zip(full, fast, strict=True)]


def _core_ratios(full: Sequence[np.ndarray], fast: Sequence[np.ndarray]) -> list[float]:
    return [
        np.mean(ratio, where=np.isfinite(ratio)) if np.isfinite(ratio).any() else np.nan
        for ratio in cell_response(full[0], fast[0])
    ]


def _similarities(samples: Samples, pairs: Pairs, range_MeV: float) -> dict[str, np.ndarray]:
    """Structural similarities of pairs within and between samples, shape (pairs,) each."""

    def similarity(first: GridSample, second: GridSample) -> np.ndarray:
        blocks = (slice(start, start + _BLOCK_PAIRS) for start in range(0, len(pairs.first), _BLOCK_PAIRS))
        return np.concatenate(
            [
                ssim(first.picked_MeV[pairs.first[block]], second.picked_MeV[pairs.second[block]], range_MeV)
                for block in blocks
            ]
        )

    full, generated, independent = samples
    return {
        "full_full": similarity(full, full),
        "generated_generated": similarity(generated, generated),
        "full_generated": similarity(full, generated),
        "independent_independent": similarity(independent, independent),
        "full_independent": similarity(full, independent),
    }


def _similarity_numbers(range_MeV: float, similarities: Mapping[str, np.ndarray]) -> dict[str, Any]:
    found = {name: _mean_with_error(values) for name, values in similarities.items()}
    within, pairs = found["full_full"], len(similarities["full_full"])
    note = f"{pairs} pairs, all energies, L = {range_MeV:g} MeV"
    return {
        "ssim_within": {
            "label": "Structural similarity of two showers of the sample",
            "unit": "1",
            "generated": found["generated_generated"],
            "floor": found["independent_independent"],
            "note": f"{note}; of the reference {within['value']:.4f} ± {within['error']:.4f}",
        },
        "ssim_between": {
            "label": "Structural similarity to a shower of the reference",
            "unit": "1",
            "generated": found["full_generated"],
            "floor": found["full_independent"],
            "note": note,
        },
    }


def _mean_with_error(values: np.ndarray) -> dict[str, float]:
    return {"value": float(values.mean()), "error": float(values.std(ddof=1) / np.sqrt(len(values)))}


def _ks_label(axis: str) -> str:
    return f"Kolmogorov–Smirnov distance of the mean shapes along {axis}"
