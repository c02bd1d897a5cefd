"""The figure of the time of generation."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from caloforge.atomic import atomic_path
from caloforge.config.stages import FigureSettings
from caloforge.figures.album import Drawn, save_album
from caloforge.figures.style import figure_style
from caloforge.figures.timing import Line, time_per_shower
from caloforge.provenance import entry, recorded


def draw_timing(
    figures: FigureSettings,
    *,
    label: str,
    timing: Path,
    ingest: Path,
    figure_directory: Path,
    record: Path,
) -> None:
    """Draw the time per shower against the batch size, beside the CPU time of Geant4 where it is known.

    Parameters
    ----------
    figures
        Style of the figure.
    label
        Of the run, written on the figure.
    timing
        Record that `caloforge.timing.time_generation` wrote.
    ingest
        Record of the ingest of the data set.
    figure_directory, record
        Output: figure (SVG) with index.json, and what made it (JSON).

    Raises
    ------
    CaloforgeError
        If one of the records is not what its stage writes.
    """
    settings = {"figures": figures.model_dump(mode="json"), "label": label}
    inputs = [timing, ingest]
    with recorded(record, stage="draw_timing", inputs=inputs, outputs=[figure_directory], settings=settings):
        devices, geant4_s = entry(timing, "devices"), entry(ingest, "geant4_cpu_s_per_event")
        with atomic_path(figure_directory) as directory, figure_style(figures):
            save_album(_draw(devices, geant4_s and 1000 * geant4_s), directory, label)


def _draw(devices: Sequence[Mapping[str, Any]], geant4_ms: float | None) -> Iterator[Drawn]:
    gaps = "; ".join(
        f"{device['label']} ({device['not_measured']})" for device in devices if device["not_measured"]
    )
    yield Drawn(
        "time_per_shower.svg",
        "Generation time",
        "Time per shower",
        "Wall-clock time from conditions to cell energies against the number of showers generated at once: "
        "median of the passes, and a band for the middle 68 % of them."
        + (f" Not measured: {gaps}." if gaps else ""),
        time_per_shower([_line(device) for device in devices if device["times"]], geant4_ms),
    )


def _line(device: Mapping[str, Any]) -> Line:
    times = device["times"]
    return Line(
        device["label"],
        np.array([time["batch_size"] for time in times]),
        *(np.array([time["ms_per_shower"][name] for time in times]) for name in ("median", "low", "high")),
    )
