"""What was found of a result, on a terminal."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from caloforge.reproduction import Difference, Result

PLAIN_WIDTH = 200
"""Of lines that no terminal limits."""


def show(result: Result) -> None:
    """Print what differs and the commands that make the result anew."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    files = {file for record in result.records for file in record.content.inputs | record.content.outputs}
    console.print(f"{result.path}: {len(result.records)} records, {len(files)} files", soft_wrap=True)
    if result.differences:
        console.print(_table(result))
    if result.matches:
        console.print("Code, libraries, sources and results are as recorded.")
    if result.unchecked:
        console.print(f"Not checked, on servers: {', '.join(result.unchecked)}", soft_wrap=True)
    if result.devices:
        devices = ", ".join(result.devices)
        console.print(f"Made on {devices}: only results of CPUs are the same to the byte.", soft_wrap=True)
    if result.commands:
        console.print("\nTo make it anew:\n")
        for command in result.commands:
            console.print(command, soft_wrap=True)


def _table(result: Result) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for heading in ("", "recorded", "now", "by"):
        table.add_column(heading, overflow="fold")
    for difference in result.differences:
        style = "red" if difference.matters else ""
        table.add_row(
            difference.what, difference.recorded, Text(difference.now, style), _records(difference, result)
        )
    return table


def _records(difference: Difference, result: Result) -> str:
    if len(difference.records) == len(result.records) > 1:
        return "all records"
    return "\n".join(difference.records)
