"""Collision events: towers and images of the fast and of the full simulation."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from caloforge.inspection.columns import find_event
from caloforge.inspection.contents import Contents, histogram_edges
from caloforge.inspection.entry import Noted
from caloforge.inspection.guess import Guess, entry, largest_index, rounded, tree_with

DELPHES = "Delphes"
TOWER_LISTS = "calorimeter towers"
TOWER_ETA = 0.087
"""Width of the towers of the CMS barrel in pseudorapidity; 72 of them in azimuth."""
TOWERS = 72


def delphes(group: Sequence[Contents]) -> Guess | None:
    """Trees of Delphes (J. de Favereau et al., JHEP 02 (2014) 057) with calorimeter towers."""
    tree = tree_with(group[0], "Event.Number", "Tower.Eta", "Tower.Phi", "Tower.E")
    if tree is None:
        return None
    source = {"format": "delphes", "tree": tree.name, "event": "Event.Number", "towers": "Tower"}
    return Guess(DELPHES, entry(group, source, _tower_grid(TOWERS, TOWERS)))


def calotowers(group: Sequence[Contents]) -> Guess | None:
    """Trees with lists of towers: indices in eta and phi, energy in the two calorimeters."""
    tree = tree_with(group[0], "tower_ieta", "tower_iphi", "tower_em", "tower_had")
    if tree is None:
        return None
    sizes = [1 + largest_index(group, tree.name, branch) for branch in ("tower_ieta", "tower_iphi")]
    source = {
        "format": "root_cells",
        "tree": tree.name,
        "event": find_event(tree),
        "incident_energy": Noted(None, "collisions have none"),
        "cells": {
            "layer": None,
            "x": "tower_ieta",
            "y": "tower_iphi",
            "energy": ["tower_em", "tower_had"],
            "count": "ntower" if tree.has("ntower") else None,
        },
        "cell_energy_unit": Noted("GeV", "guessed, the file does not say"),
        "metadata": "metadata" if "metadata" in group[0].objects else None,
    }
    geometry = _tower_grid(max(sizes[0], TOWERS), max(sizes[1], TOWERS))
    return Guess(TOWER_LISTS, entry(group, source, geometry))


def paired(fast: Guess, full: Guess) -> Guess:
    """Delphes with the full simulation of the same events."""
    source = fast.entry["source"]
    towers = full.entry["source"]
    full_simulation = {
        "files": towers["files"],
        "tree": towers["tree"],
        "event": towers["event"],
        "eta": towers["cells"]["x"],
        "phi": towers["cells"]["y"],
        "energy": towers["cells"]["energy"],
        "cell_energy_unit": towers["cell_energy_unit"],
    }
    settings = fast.entry | {
        "source": source | {"full_simulation": full_simulation},
        "geometry": full.entry["geometry"],
    }
    return replace(fast, layout="Delphes, paired with full simulation", entry=settings)


def _tower_grid(n_eta: int, n_phi: int) -> dict[str, Any]:
    high = rounded(n_eta * TOWER_ETA / 2)
    layer = {
        "kind": "eta_phi",
        "eta_edges": {"bins": n_eta, "low": -high, "high": high},
        "n_phi": n_phi,
    }
    return {
        "name": "towers",
        "layers": Noted([layer], f"guessed: towers of the CMS barrel, {TOWER_ETA} wide in eta"),
    }


def histograms(group: Sequence[Contents]) -> Guess | None:
    """One two-dimensional histogram per event, as CALPAGAN reads them: `DQMData/calo_image_k`."""
    numbers = [_numbered_histograms(contents) for contents in group]
    if not all(numbers):
        return None
    pattern = next(iter(numbers[0]))
    if any(pattern not in found for found in numbers):
        return None
    first = [min(found[pattern]) for found in numbers]
    layout = "a two-dimensional histogram per event"
    if len(group) == 1:
        return Guess(layout, remarks=("ingest pairs them: name the files of the other simulation as well",))
    is_full = _full_sides(group, first)
    fast, full = (
        [c for c, side in zip(group, is_full, strict=True) if side == wanted] for wanted in (False, True)
    )
    offset = min(n for n, side in zip(first, is_full, strict=True) if side) - min(
        n for n, side in zip(first, is_full, strict=True) if not side
    )
    name = pattern.replace("*", str(first[0]))
    eta, phi = histogram_edges(group[0].path, name)
    source = {
        "format": "root_images",
        "full_files": Noted([str(contents.path) for contents in full], "guessed from names and numbers"),
        "images": pattern,
        "full_number_minus_fast": Noted(offset, "guessed: so that both sides begin with the same event"),
        "cell_energy_unit": Noted("MeV", "guessed, as published for CALPAGAN"),
    }
    layer = {"kind": "eta_phi", "eta_edges": [rounded(edge) for edge in eta.tolist()], "n_phi": len(phi) - 1}
    return Guess(layout, entry(fast, source, {"name": "towers", "layers": [layer]}))


def _numbered_histograms(contents: Contents) -> dict[str, list[int]]:
    """Numbers of the two-dimensional histograms by pattern of their names, the most frequent first."""
    found: dict[str, list[int]] = {}
    for name, class_name in contents.objects.items():
        match = re.fullmatch(r"(.*?)(\d+)", name)
        if match and re.fullmatch("TH2[CSIFDL]", class_name):
            found.setdefault(f"{match[1]}*", []).append(int(match[2]))
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def _full_sides(group: Sequence[Contents], first: Sequence[int]) -> list[bool]:
    """Which files are of the full simulation: by their names, else those whose numbers begin later."""
    names = [contents.path.stem.lower() for contents in group]
    is_full = [bool(re.search("full|geant|g4", name)) for name in names]
    is_fast = [bool(re.search("fast|delphes", name)) for name in names]
    if any(is_full) != all(is_full):
        return is_full
    if any(is_fast) != all(is_fast):
        return [not fast for fast in is_fast]
    if min(first) < max(first):
        return [number > min(first) for number in first]
    return [position >= len(group) / 2 for position in range(len(group))]
