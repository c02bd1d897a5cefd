"""Shower observables, streamed from canonical showers to observables.h5."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal

import h5py
import numpy as np

from caloforge.atomic import atomic_path
from caloforge.config.stages import JetSettings
from caloforge.errors import CaloforgeError
from caloforge.geometry import Geometry
from caloforge.hdf5 import create_hdf5
from caloforge.observables import image, rings, stack
from caloforge.observables.observable import Observable, Profile
from caloforge.provenance import recorded
from caloforge.showers import ShowerFile, Showers, read_out
from caloforge.units import unit_factor

if TYPE_CHECKING:
    import awkward as ak

    from caloforge.observables.collision import CollisionObservables

__all__ = ["Observable", "Profile", "as_observed", "block_showers", "module_for", "observe"]

BLOCK_CELLS = 1 << 19
"""Cells held in memory at a time; four times as many of collisions, of which few are hit."""


def module_for(
    file: ShowerFile,
    jets: JetSettings | None = None,
    towers: "Callable[[np.ndarray], ak.Array] | None" = None,
) -> "ModuleType | CollisionObservables":
    """What defines the observables of a file: `image`, `stack` or `rings`, `CollisionObservables`.

    It offers

    - `CONDITIONS`: condition name to the unit in which the observables expect it;
    - `scalars(geometry, conditions)`: name to `Observable`, for showers with these conditions (names);
    - `profiles(geometry)`: name to `Profile`;
    - `check(file)`: raises a `CaloforgeError` if the file lacks what the observables need;
    - `compute(batch, geometry)`: name to the values of all of them for a batch that `as_observed` made.

    Parameters
    ----------
    file
        Of showers of primaries or images of collisions.
    jets
        How jets are found in collisions; None for showers.
    towers
        Particles of collisions, see `CollisionObservables`.

    Raises
    ------
    CaloforgeError
        If the file holds no showers, lacks what the observables need, or no observables are defined for its
        geometry.
    """
    geometry = file.geometry
    if geometry.kind == "eta_phi" and jets:
        from caloforge.observables.collision import CollisionObservables  # only they need FastJet

        module = CollisionObservables(jets, towers)
    elif geometry.kind == "cartesian":
        module = image if geometry.is_image else stack
    elif geometry.kind == "cylindrical":
        module = rings
    else:
        raise CaloforgeError(
            f"{file.path}: geometry {geometry.name} is {geometry.kind}, observables of {geometry.kind} "
            "geometries are not defined, expected cartesian or cylindrical"
        )
    module.check(file)
    if not len(file):
        raise CaloforgeError(f"{file.path}: holds no showers, expected at least one")
    return module


def block_showers(geometry: Geometry) -> int:
    """Number of showers whose observables are computed at a time."""
    cells = 4 * BLOCK_CELLS if geometry.kind == "eta_phi" else BLOCK_CELLS
    return max(1, cells // geometry.n_cells)


def observe(
    showers: Path,
    *,
    readout_threshold_MeV: float,
    output: Path,
    record: Path,
    jets: JetSettings | None = None,
    images: Literal["showers", "reference"] = "showers",
    towers: "Callable[[np.ndarray], ak.Array] | None" = None,
) -> None:
    """Compute every observable of every shower or collision of a file, block by block.

    Cells at or below the readout threshold count as zero, in full simulation and generated showers alike.

    Parameters
    ----------
    showers
        Canonical shower file.
    readout_threshold_MeV
        Cells must be above it to be read out [MeV].
    output
        File to write (HDF5): `scalars/<name>` float32 (N,) with the attributes of `Observable`,
        `profiles/<name>` float32 (N, K) with those of `Profile`, `mean_shower` float64 (V,) [MeV],
        `incident_energy_GeV` float32 (N,) and `event` int64 (N,). NaN where an observable is undefined.
    record
        Record of the run to write (JSON).
    jets
        How jets are found in collisions; None for showers of primaries.
    images
        Which images of a file of pairs: of the full simulation or a model, or of the fast simulation.
    towers
        Particles of collisions, see `CollisionObservables`.

    Raises
    ------
    CaloforgeError
        If the file cannot be read, holds no showers, lacks what the observables need or holds values that
        are no showers (energies not finite, primaries that do not enter the calorimeter).
    """
    with (
        ShowerFile(showers) as source,
        recorded(
            record,
            stage="observe",
            inputs=[showers],
            outputs=[output],
            settings={"readout_threshold_MeV": readout_threshold_MeV}
            | ({"images": images, "jets": jets.model_dump(mode="json")} if jets else {}),
        ),
        atomic_path(output) as partial,
        create_hdf5(partial) as target,
    ):
        module = module_for(source, jets, towers)
        columns = _create(target, source, module, readout_threshold_MeV)
        summed_MeV = np.zeros(source.geometry.n_cells)
        done = 0
        for block in source.image_blocks(block_showers(source.geometry), images):
            batch = as_observed(block, source, module, readout_threshold_MeV)
            values = module.compute(batch, source.geometry)
            values |= {"incident_energy_GeV": batch.incident_energies[:, 0] / 1000, "event": batch.event}
            for name, column in columns.items():
                column[done : done + len(batch)] = values[name]
            summed_MeV += batch.showers.sum(axis=0, dtype=np.float64)
            done += len(batch)
        target["mean_shower"] = summed_MeV / len(source)
        target["mean_shower"].attrs["unit"] = "MeV"


def _create(
    target: h5py.File,
    source: ShowerFile,
    module: "ModuleType | CollisionObservables",
    readout_threshold_MeV: float,
) -> Mapping[str, h5py.Dataset]:
    n = len(source)
    target.attrs.update(
        geometry=source.geometry.model_dump_json(), readout_threshold_MeV=readout_threshold_MeV, n=n
    )
    columns = {
        "incident_energy_GeV": target.create_dataset("incident_energy_GeV", (n,), np.float32),
        "event": target.create_dataset("event", (n,), np.int64),
    }
    for name, observable in module.scalars(source.geometry, source.units).items():
        columns[name] = target.create_dataset(f"scalars/{name}", (n,), np.float32)
        columns[name].attrs.update(vars(observable))
    for name, profile in module.profiles(source.geometry).items():
        columns[name] = target.create_dataset(
            f"profiles/{name}", (n, len(profile.x) - profile.edges), np.float32
        )
        columns[name].attrs.update(vars(profile))
    return columns


def as_observed(
    block: Showers,
    source: ShowerFile,
    module: "ModuleType | CollisionObservables",
    readout_threshold_MeV: float,
) -> Showers:
    """A block of a file as observables take it: cells up to the threshold emptied, conditions in their units.

    Raises
    ------
    CaloforgeError
        If a condition has the wrong unit, or a value is none of a shower: an energy or condition that is not
        finite, a primary that does not enter the calorimeter.
    """
    try:
        conditions = {
            name: block.conditions[name] * np.float32(unit_factor(source.units[name], unit))
            for name, unit in module.CONDITIONS.items()
            if name in source.units
        }
    except ValueError as error:
        raise CaloforgeError(f"{source.path}: conditions have unexpected units: {error}") from None
    _require(np.isfinite(block.showers).all(axis=1), block, source, "a cell energy that is not finite")
    if source.geometry.kind != "eta_phi":
        _require(block.incident_energies[:, 0] > 0, block, source, "an incident energy that is not positive")
    if "pz" in conditions:
        _require(conditions["pz"] > 0, block, source, "pz that is not positive, not into the calorimeter")
    _require(
        np.isfinite(list(conditions.values())).all(axis=0), block, source, "a condition that is not finite"
    )
    kept_MeV = read_out(block.showers, readout_threshold_MeV)
    return Showers(kept_MeV, block.incident_energies, conditions, block.event)


def _require(valid: np.ndarray, block: Showers, source: ShowerFile, otherwise: str) -> None:
    if not valid.all():
        raise CaloforgeError(f"{source.path}: event {block.event[np.argmin(valid)]} has {otherwise}")
