"""Tables of numbers that belong side by side, as papers print them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

Estimate = dict[str, float | None]
"""`value` and `error`; None where undefined."""


class Row(NamedTuple):
    """A line of a table.

    Attributes
    ----------
    label
        Text in front of it.
    unit
        Of all its numbers; "1" for pure ones.
    cells
        One per column, a number or text; None for an empty one.
    """

    label: str
    unit: str
    cells: Sequence[Estimate | str | None]


class Table(NamedTuple):
    """Numbers of one kind, for metrics.json and the report.

    Attributes
    ----------
    title
        Heading.
    note
        What the numbers are and how many events they are made of.
    columns
        Heading of each column of numbers; those of a group begin alike, `group: column`.
    rows
        The lines.
    """

    title: str
    note: str
    columns: Sequence[str]
    rows: Sequence[Row]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return self._asdict() | {"rows": [row._asdict() for row in self.rows]}
