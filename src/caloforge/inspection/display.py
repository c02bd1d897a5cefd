"""What was found in files, for a person to read."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from caloforge.config.dataset import DatasetSettings
from caloforge.geometry import AXES, Geometry
from caloforge.inspection import SHARED, Inspected
from caloforge.inspection.contents import Column, Contents, Table
from caloforge.inspection.entry import Noted, bare

ROWS = 40
OBJECTS = 10
"""Columns of a table, and objects beside it, that are listed."""
LONGEST_FACT = 80
"""Characters of a fact in the metadata."""
PLAIN_WIDTH = 160
"""Of lines that no terminal limits."""


def show(found: Inspected) -> None:
    """Print what files are: tables on a terminal, plain columns elsewhere, then the entry for config.yaml."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    paths = [str(contents.path) for contents in found.contents]
    if len(paths) > 4:
        paths[1:-1] = [f"… {len(paths) - 2} files …"]
    container = found.contents[0].container
    console.print(Text(", ".join(paths), style="bold"), soft_wrap=True)
    console.print(Text(f"{container}: {found.layout}", style="green"), soft_wrap=True)
    for table in _tables(found.contents):
        console.print(_columns(table, console))
    facts = Grid(box=None, show_header=False, pad_edge=False)
    for label, text in (*_besides(found.contents), *_facts(found)):
        facts.add_row(Text(label, style="bold"), Text(text))
    console.print(facts)
    for remark in found.remarks:
        console.print(Text(f"! {remark}", style="yellow"), soft_wrap=True)
    if found.entry:
        print(f"\n# for config.yaml; look at every comment\n{found.yaml}", flush=True)


def _tables(files: Sequence[Contents]) -> list[Table]:
    """The tables of all files; those of the same columns are one, with the events of all."""
    tables: dict[str, Table] = {}
    for contents in files:
        for table in contents.tables.values():
            key = repr((table.name, list(table.columns.items())))
            events = table.events + (tables[key].events if key in tables else 0)
            tables[key] = replace(table, events=events)
    return list(tables.values())


def _columns(table: Table, console: Console) -> Grid:
    title = f"{table.name or 'arrays'}: {table.events:,} events"
    box = SIMPLE_HEAD if console.is_terminal else None
    grid = Grid(title=Text(title), title_justify="left", box=box, pad_edge=False)
    for heading in ("name", "type", "per event"):
        grid.add_column(heading)
    rows = list(_grouped(table))
    for name, column in rows[:ROWS]:
        grid.add_row(Text(name), Text(column.type), Text(_per_event(column)))
    if len(rows) > ROWS:
        grid.add_row(f"… and {len(rows) - ROWS} more", "", "")
    return grid


def _besides(files: Sequence[Contents]) -> Iterator[tuple[str, str]]:
    """What stands in the first file beside its tables, or in all of them."""
    first = files[0]
    if first.objects:
        listed = [f"{name} ({kind})" for name, kind in list(first.objects.items())[:OBJECTS]]
        yield "besides", ", ".join(listed) + (", …" if len(first.objects) > OBJECTS else "")
    for name, value in first.facts.items():
        if isinstance(value, str | int | float) and (len(files) == 1 or name in SHARED):
            text = " ".join(str(value).split())
            yield name, text if len(text) <= LONGEST_FACT else f"{text[:LONGEST_FACT]}…"


def _grouped(table: Table) -> Iterator[tuple[str, Column]]:
    """Columns by name, those that differ in their number alone as one row."""
    alike: dict[tuple[str, Column], list[str]] = {}
    for name, column in table.columns.items():
        prefix = re.sub(r"\d+$", "", name)
        alike.setdefault((prefix if prefix != name else name, column), []).append(name)
    for (_, column), names in alike.items():
        if len(names) > 3:
            yield f"{names[0]} … {names[-1]} ({len(names)})", column
        else:
            yield from ((name, column) for name in names)


def _per_event(column: Column) -> str:
    if not column.kind:
        return "-"
    shape = " x ".join(map(str, column.shape))
    if column.is_list:
        return f"list of {shape}" if shape else "list"
    return shape or "1"


def _facts(found: Inspected) -> Iterator[tuple[str, str]]:
    """What is known of the data set, line by line."""
    if found.entry is None:
        return
    settings = DatasetSettings.model_validate(bare(found.entry))
    source = found.entry["source"]
    layers = found.entry["geometry"].get("layers")
    why = f" ({layers.note})" if isinstance(layers, Noted) else ""
    yield "geometry", _described(settings.geometry) + why
    numbers = found.numbers
    if "full_simulation" in source:
        yield "cell energies in", f"full simulation: {_noted(source['full_simulation']['cell_energy_unit'])}"
    if "cell_energy_unit" in source:
        yield "cell energies in", _noted(source["cell_energy_unit"])
    if numbers is None:
        return
    if numbers.incident_energy_GeV:
        low, high = numbers.incident_energy_GeV
        unit = bare(source["incident_energy"])["unit"]
        yield "incident energy", f"{low:.4g} to {high:.4g} GeV (in {unit} in the files)"
    if numbers.visible_fraction:
        low, middle, high = numbers.visible_fraction
        yield "visible fraction", f"{middle:.3g}, 98 % of the events between {low:.3g} and {high:.3g}"
    if numbers.cells_MeV:
        low, middle, high = numbers.cells_MeV
        yield "cells with energy", f"{low:.3g} to {high:.3g} MeV, half of them below {middle:.3g}"
    yield "zero cells", f"{numbers.zero_cells:.2%} of all; {numbers.empty_events} events without energy"
    for name, (low, high, unit) in numbers.conditions.items():
        yield f"condition {name}", f"{low:.4g} to {high:.4g}{'' if unit == '1' else f' {unit}'}"
    for name, count in numbers.counts.items():
        yield name.replace("_", " "), f"{count:,.6g}"
    yield "numbers from", f"{numbers.events:,} events, read as ingest does"


def _described(geometry: Geometry) -> str:
    first, second = AXES[geometry.kind]
    shapes: list[list] = []
    for layer in geometry.layers:
        if shapes and shapes[-1][0] == layer.shape:
            shapes[-1][1] += 1
        else:
            shapes.append([layer.shape, 1])
    layers = ", ".join(f"{f'{n} x ' if n > 1 else ''}({shape[0]}, {shape[1]})" for shape, n in shapes)
    count = f"{len(geometry.layers)} layer{'s' if len(geometry.layers) > 1 else ''}"
    return f"{count} of cells along ({first}, {second}): {layers}; {geometry.n_cells:,} cells"


def _noted(value: object) -> str:
    return f"{value.value} ({value.note})" if isinstance(value, Noted) else str(value)
