"""Generate showers with a trained model."""

import itertools
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from caloforge.atomic import atomic_path
from caloforge.config.stages import GridSettings, SamplingSettings, TraversalSettings, attributes
from caloforge.cost import count_flop
from caloforge.devices import choose_device, device_name
from caloforge.errors import CaloforgeError
from caloforge.models.family import Family
from caloforge.preprocessing import Preprocessing
from caloforge.progress import Progress
from caloforge.provenance import recorded
from caloforge.seeds import derive_seed
from caloforge.showers import ShowerFile, Showers, ShowerWriter
from caloforge.trained import load_model


def sample(
    model: Any,
    settings: SamplingSettings,
    *,
    checkpoint: Path,
    preprocessing: Path,
    test: Path,
    seed: int,
    output: Path,
    record: Path,
    grid: GridSettings | None = None,
    traversals: TraversalSettings | None = None,
    part: int | None = None,
) -> None:
    """Generate showers and write them as canonical showers.

    The noise of a portion of `settings.batch_size` showers depends on the seed and the number of the portion
    alone, so that it does not matter how many jobs share the portions.

    The record says how long a shower of the test set takes and how much arithmetic it is, see `count_flop`,
    counted in a portion that is generated beforehand and thrown away: the clock runs on warm networks.

    Parameters
    ----------
    model
        Settings of the model that the checkpoint must have been made with.
    checkpoint, preprocessing
        What training and `fit_preprocessing` wrote.
    test
        Canonical showers. Without a grid, one shower is generated for the conditions and the event number of
        each, so that every generated shower has a fully simulated partner.
    grid
        Generate showers for every combination of its values instead.
    traversals
        Generate showers for each of its steps instead: for one condition after the other and for each of its
        values as many as `repeats` says, with the other conditions as `at` says. Portions count anew in every
        step, so that all steps have the same noise.
    part
        Number of the job, from 0, of the `settings.jobs` that share the test showers; None for all of them
        and for a grid or traversals. A job may be left without any.

    Raises
    ------
    CaloforgeError
        If the checkpoint is of another model, geometry or preprocessing, or an input cannot be used.
    """
    with (
        recorded(
            record,
            stage="sample",
            inputs=[checkpoint, preprocessing, test],
            outputs=[output],
            settings=settings.model_dump(mode="json")
            | {
                "grid": grid and grid.model_dump(mode="json"),
                "traversals": traversals and traversals.model_dump(mode="json"),
            },
            seed=seed,
        ) as facts,
        ShowerFile(test) as reference,
    ):
        transforms = Preprocessing.load(preprocessing)
        device = choose_device(settings.device)
        torch.set_num_threads(settings.threads)
        network = load_model(model, reference, transforms, checkpoint).to(device)
        if grid:
            requested = _grid_points(grid, reference)
            portions, total = _portions(requested, len(requested), settings.batch_size), len(requested)
        elif traversals:
            requested = _traversal_points(traversals, reference, settings.batch_size)
            portions, total = _portions(requested, traversals.repeats, settings.batch_size), len(requested)
        else:
            portions, total = _share(reference, settings, part)
        flop, generation_s = None, 0.0
        if not (grid or traversals):
            first = reference.read(0, settings.batch_size)
            flop = count_flop(lambda: generate(network, transforms, first, seed, device)) / len(first)
        with (
            atomic_path(output) as partial,
            ShowerWriter(partial, reference.geometry, reference.units) as writer,
            Progress("sampling", total) as progress,
        ):
            for number, portion in portions:
                started = time.perf_counter()
                showers = generate(network, transforms, portion, derive_seed(seed, "sample", number), device)
                generation_s += time.perf_counter() - started
                writer.append(Showers(showers, portion.incident_energies, portion.conditions, portion.event))
                progress.update(writer.n, {})
        facts |= {
            "device": device_name(device),
            "threads": torch.get_num_threads(),
            "batch_size": settings.batch_size,
            "showers": total,
        }
        if flop is not None:
            facts |= {
                "generation_s": generation_s,
                "ms_per_shower": 1000 * generation_s / total if total else None,
                "flop_per_shower": flop,
            }


def generate(
    network: Family, preprocessing: Preprocessing, requested: Showers, seed: int, device: torch.device
) -> np.ndarray:
    """Showers [MeV] for the conditions of `requested`, whose own cells are not looked at: shape (n, V)."""
    rng = torch.Generator(device).manual_seed(seed)
    inputs = torch.from_numpy(preprocessing.network_inputs(requested)).to(device)
    with torch.inference_mode():
        transformed = network.generate(inputs, rng).float().cpu().numpy()
    return preprocessing.inverse(transformed)


def _share(
    reference: ShowerFile, settings: SamplingSettings, part: int | None
) -> tuple[Iterator[tuple[int, Showers]], int]:
    """The portions of the test showers that a job generates, each with its number, and their showers."""
    size, n = settings.batch_size, len(reference)
    portions = -(-n // size)
    first, end = (0, portions) if part is None else (portions * k // settings.jobs for k in (part, part + 1))
    showers = min(end * size, n) - min(first * size, n)
    return (
        (number, reference.read(number * size, min((number + 1) * size, n))) for number in range(first, end)
    ), showers


def _portions(requested: Showers, step: int, batch_size: int) -> Iterator[tuple[int, Showers]]:
    """Parts of `requested`, each with its number, which begins anew after every `step` showers."""
    for first in range(0, len(requested), step):
        for number, start in enumerate(range(first, first + step, batch_size)):
            yield number, requested[start : min(start + batch_size, first + step)]


def _grid_points(grid: GridSettings, reference: ShowerFile) -> Showers:
    """Showers without cells that have the conditions of the grid."""
    points = np.array(list(itertools.product(*grid.values.values())), dtype=np.float32)
    columns = dict(zip(grid.values, np.repeat(points, grid.repeats, axis=0).T, strict=True))
    missing = [name for name in reference.units if name not in columns]
    if missing:
        raise CaloforgeError(f"grid.values: no {', '.join(missing)}, expected every condition")
    if "energy" not in columns and not {"px", "py", "pz"} <= columns.keys():
        raise CaloforgeError("grid.values: no energy [GeV], expected it beside the conditions")
    return _without_cells(columns, reference)


def _traversal_points(traversals: TraversalSettings, reference: ShowerFile, block: int) -> Showers:
    """Showers without cells that have the conditions of the traversals, `block` showers read at a time."""
    known = attributes(reference.units)
    unknown = [name for name in (*traversals.steps, *traversals.at) if name not in known]
    if unknown:
        raise CaloforgeError(f"traversals: found {', '.join(unknown)}, expected some of {', '.join(known)}")
    base = _medians(reference, known, block) | traversals.at
    steps = [base | {name: value} for name, values in traversals.steps.items() for value in values]
    columns = {name: np.array([step[name] for step in steps], np.float32) for name in known}
    return _without_cells(
        {name: np.repeat(column, traversals.repeats) for name, column in columns.items()}, reference
    )


def _medians(reference: ShowerFile, names: list[str], block: int) -> dict[str, float]:
    """Median of each condition, or of the incident energy [GeV]: the lower of two in the middle."""
    columns: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for part in reference.blocks(block):
        values = {"energy": part.incident_energies[:, 0] / 1000, **part.conditions}
        for name, column in columns.items():
            column.append(values[name])
    return {
        name: float(np.quantile(np.concatenate(column), 0.5, method="lower"))
        for name, column in columns.items()
    }


def _without_cells(columns: Mapping[str, np.ndarray], reference: ShowerFile) -> Showers:
    """Showers with these conditions and no cells, numbered from 0.

    The incident energy is `energy` [GeV] or, without one, the momentum |(px, py, pz)| [GeV].
    """
    if "energy" in columns:
        energy_GeV = columns["energy"]
    else:
        energy_GeV = np.linalg.norm([columns[name] for name in ("px", "py", "pz")], axis=0)
    n = len(energy_GeV)
    return Showers(
        np.empty((n, 0), np.float32),
        (1000 * energy_GeV[:, None]).astype(np.float32),
        {name: columns[name] for name in reference.units},
        np.arange(n),
    )
