"""Scores as text for a terminal."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from caloforge.metrics.distributions import DISTANCES
from caloforge.report.numbers import is_at_floor, measurement

PLAIN_WIDTH = 160
"""Of lines that no terminal limits."""
_HEADINGS = {"ks": "KS", "wasserstein": "Wasserstein-1", "separation": "separation power"}


def show_scores(metrics: Path) -> None:
    """Print metrics.json of an evaluation: distances of observables, numbers of whole samples, tables.

    Parameters
    ----------
    metrics
        What `caloforge.evaluation.evaluate` writes.
    """
    content = json.loads(metrics.read_text(encoding="utf-8"))
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    events = content["events"]
    console.print(
        f"{events['generated']:,} events scored beside {events['reference']:,} of the full simulation; "
        f"floor: {events['independent']:,} independent ones\n",
        soft_wrap=True,
    )
    console.print(_distances(content["observables"], console))
    console.print()
    console.print(_samples(content["samples"], console))
    for table in content["tables"]:
        console.print(_table(table, console))
    console.print("✓ at most the floor plus its error", soft_wrap=True)


def _distances(observables: Mapping[str, Any], console: Console) -> Table:
    table = _grid("Observables", console)
    table.add_column("")
    for name in DISTANCES:
        table.add_column(_HEADINGS[name], justify="right")
        table.add_column("floor", justify="right")
    for observable in observables.values():
        cells = []
        for name in DISTANCES:
            good = " ✓" if is_at_floor(observable, name) else "  "
            cells += [
                measurement(observable["generated"][name]) + good,
                measurement(observable["floor"][name]),
            ]
        table.add_row(_with_unit(observable), *map(Text, cells))
    return table


def _samples(samples: Mapping[str, Any], console: Console) -> Table:
    table = _grid("Whole samples", console)
    for heading in ("", "sample", "floor"):
        table.add_column(heading, justify="right" if heading else "left")
    for number in samples.values():
        values = (measurement(number[kind]) for kind in ("generated", "floor"))
        table.add_row(_with_unit(number), *map(Text, values))
    return table


def _table(content: Mapping[str, Any], console: Console) -> Table:
    table = _grid(content["title"], console)
    for heading in ("", *content["columns"]):
        table.add_column(Text(heading), justify="right" if heading else "left")
    for row in content["rows"]:
        table.add_row(_with_unit(row), *(Text(_cell(cell)) for cell in row["cells"]))
    return table


def _grid(title: str, console: Console) -> Table:
    box = SIMPLE_HEAD if console.is_terminal else None
    return Table(title=Text(title, style="bold"), title_justify="left", box=box, pad_edge=False)


def _with_unit(described: Mapping[str, Any]) -> Text:
    unit = "" if described["unit"] == "1" else f" [{described['unit']}]"
    return Text(described["label"] + unit)


def _cell(cell: Mapping[str, float | None] | str | None) -> str:
    if cell is None:
        return "–"
    return cell if isinstance(cell, str) else measurement(cell)
