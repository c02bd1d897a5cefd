"""Files that caloforge writes, and ROOT files that describe their detector."""

from collections.abc import Sequence
from typing import get_args

from pydantic import BaseModel, PositiveFloat, PositiveInt, ValidationError

from caloforge.config.sources import Unit
from caloforge.geometry import Geometry
from caloforge.ingest.split import SPLITS
from caloforge.inspection.columns import find_conditions, find_event, find_incident_energy
from caloforge.inspection.contents import Contents
from caloforge.inspection.entry import Noted
from caloforge.inspection.guess import Guess, entry, largest_index, rounded, stack, tree_with


def results(group: Sequence[Contents]) -> Guess | None:
    """What the stages of the workflow write, besides showers."""
    facts = group[0].facts
    if group[0].container == "PyTorch":
        if {"kind", "settings", "geometry", "preprocessing", "weights"} <= facts.keys():
            return Guess(f"checkpoint of caloforge: a trained {facts['kind']}")
        return Guess("file of PyTorch", remarks=("convert tensors to HDF5 or npz to ingest them",))
    if group[0].container == "HDF5" and {"geometry", "readout_threshold_MeV", "n"} <= facts.keys():
        return Guess("observables of caloforge: what `observe` computes of showers")
    return None


def showers(group: Sequence[Contents]) -> Guess | None:
    """Showers of caloforge, of the ingest or generated (docs/data.md)."""
    facts, table = group[0].facts, group[0].tables.get("")
    if not (table and table.has("showers", "incident_energies", "event") and "schema_version" in facts):
        return None
    try:
        geometry = Geometry.model_validate_json(facts.get("geometry", ""))
    except ValidationError:
        return None
    splits = [contents.facts.get("split", "") for contents in group]
    origin = f" ({', '.join(splits)} of {facts.get('dataset')})" if all(splits) else ""
    anew = "counted anew: by its number each event would fall into the split that it is from"
    stated = "stated in the file"
    source = {
        "format": "arrays",
        "cells": "showers",
        "event": "event" if {*SPLITS} <= {*splits} else Noted(None, anew),
        "incident_energy": Noted({"column": "incident_energies", "unit": "MeV"}, stated),
        "cell_energy_unit": Noted("MeV", stated),
    }
    conditions = {
        name: {"column": f"conditions/{name}", "unit": Noted(unit, stated)}
        for name, unit in facts.get("condition_units", {}).items()
    }
    layers = [layer.model_dump(mode="json", exclude_defaults=True) for layer in geometry.layers]
    rest = geometry.model_dump(mode="json", exclude_defaults=True, exclude={"layers", "name"})
    remarks = ("reference images of the fast simulation are left out",) if table.has("reference") else ()
    return Guess(
        f"canonical showers of caloforge{origin}",
        entry(group, source, {"name": geometry.name, "layers": stack(layers), **rest}, conditions),
        remarks,
    )


class _Stack(BaseModel):
    n: PositiveInt
    nx: PositiveInt
    ny: PositiveInt
    absorber: tuple[str, PositiveFloat] | None = None
    active: tuple[str, PositiveFloat] | None = None
    gap: tuple[str, PositiveFloat] | None = None

    @property
    def plates(self) -> list[tuple[str, float]]:
        return [plate for plate in (self.absorber, self.active, self.gap) if plate]


class _Detector(BaseModel):
    face_mm: PositiveFloat
    stacks: tuple[_Stack, ...]


def described_trees(group: Sequence[Contents]) -> Guess | None:
    """ROOT trees of hit cells with metadata on the plates and cells of a sampling calorimeter.

    `face_mm` is the side of the face, `stacks` lists n periods of plates [material, mm] of nx times ny cells.
    """
    first = group[0]
    tree = tree_with(first, "cell_layer", "cell_x", "cell_y", "cell_energy")
    try:
        detector = _Detector.model_validate(first.facts)
    except ValidationError:
        return None
    if not (tree and detector.stacks):
        return None
    stated = "stated in the metadata"
    units = _stated_units(str(first.facts.get("units", "")))
    layers_seen = 1 + largest_index(group, tree.name, "cell_layer")
    each = layers_seen > len(detector.stacks)  # each period is a layer of its own, or else each stack
    layers = []
    for part in detector.stacks:
        depth_mm = sum(thickness for _, thickness in part.plates)
        layer = {
            "shape": [part.nx, part.ny],
            "cell_size_mm": [rounded(detector.face_mm / part.nx), rounded(detector.face_mm / part.ny)],
            **({"thickness_mm": rounded(depth_mm * (1 if each else part.n))} if depth_mm else {}),
        }
        layers += [layer] * (part.n if each else 1)
    plates = ", ".join(
        f"{part.n} x ({' + '.join(f'{mm:g} mm {name}' for name, mm in part.plates)})"
        for part in detector.stacks
    )
    name = str(first.facts.get("dataset", "calorimeter"))
    geometry = {"name": name, "layers": Noted(stack(layers), stated), "note": plates}
    particle = first.facts.get("particle")
    source = {
        "format": "root_cells",
        "tree": tree.name,
        "event": find_event(tree),
        "incident_energy": find_incident_energy(tree, units),
        "cells": {
            "layer": "cell_layer",
            "x": "cell_x",
            "y": "cell_y",
            "energy": "cell_energy",
            "count": "ncell" if tree.has("ncell") else None,
        },
        "cell_energy_unit": Noted(
            units.get("cell_energy", "MeV"), stated if "cell_energy" in units else "guessed"
        ),
        "metadata": "metadata" if "metadata" in first.objects else None,
    }
    return Guess(
        "ROOT tree of hit cells, its geometry in the metadata",
        entry(
            group,
            source,
            geometry,
            find_conditions(tree, units),
            f"{particle} in {name}" if particle else name,
        ),
    )


def _stated_units(text: str) -> dict[str, str]:
    """Units such as `energy/px GeV, x0/y0 mm` by column."""
    units = {}
    for part in text.split(","):
        names, _, unit = part.strip().rpartition(" ")
        units |= dict.fromkeys(filter(None, names.split("/")), unit)
    return {name: unit for name, unit in units.items() if unit in get_args(Unit)}
