"""Generate showers with a trained model."""

import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from caloforge.atomic import atomic_path
from caloforge.config.stages import GridSettings, SamplingSettings
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
) -> None:
    """Generate showers and write them as canonical showers.

    The noise of a portion of `settings.batch_size` showers depends on the seed and the number of the portion
    alone.

    The record says how long a shower takes and how much arithmetic it is (see `count_flop`), counted in a
    portion that is generated beforehand and thrown away, so that the clock runs on warm networks.

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
            settings=settings.model_dump(mode="json") | {"grid": grid and grid.model_dump(mode="json")},
            seed=seed,
        ) as facts,
        ShowerFile(test) as reference,
    ):
        transforms = Preprocessing.load(preprocessing)
        device = choose_device(settings.device)
        torch.set_num_threads(settings.threads)
        network = load_model(model, reference, transforms, checkpoint).to(device)
        if grid is None:
            portions, total = reference.blocks(settings.batch_size), len(reference)
        else:
            requested = _grid_points(grid, reference)
            total = len(requested)
            portions = (
                requested[start : start + settings.batch_size]
                for start in range(0, total, settings.batch_size)
            )
        first, generation_s = reference.read(0, settings.batch_size), 0.0
        flop = count_flop(lambda: generate(network, transforms, first, seed, device))
        with (
            atomic_path(output) as partial,
            ShowerWriter(partial, reference.geometry, reference.units) as writer,
            Progress("sampling", total) as progress,
        ):
            for number, portion in enumerate(portions):
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
            "generation_s": generation_s,
            "ms_per_shower": 1000 * generation_s / total,
            "flop_per_shower": flop / len(first),
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


def _grid_points(grid: GridSettings, reference: ShowerFile) -> Showers:
    """Showers without cells that have the conditions of the grid.

    The incident energy is the grid's `energy` [GeV] or, without one, the momentum |(px, py, pz)| [GeV].
    """
    points = np.array(list(itertools.product(*grid.values.values())), dtype=np.float32)
    columns = dict(zip(grid.values, np.repeat(points, grid.repeats, axis=0).T, strict=True))
    missing = [name for name in reference.units if name not in columns]
    if missing:
        raise CaloforgeError(f"grid.values: no {', '.join(missing)}, expected every condition")
    if "energy" in columns:
        energy_GeV = columns["energy"]
    elif {"px", "py", "pz"} <= columns.keys():
        energy_GeV = np.linalg.norm([columns[name] for name in ("px", "py", "pz")], axis=0)
    else:
        raise CaloforgeError("grid.values: no energy [GeV], expected it beside the conditions")
    n = len(energy_GeV)
    return Showers(
        np.empty((n, 0), np.float32),
        (1000 * energy_GeV[:, None]).astype(np.float32),
        {name: columns[name] for name in reference.units},
        np.arange(n),
    )
