"""All numbers of all results as one table."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_COLUMNS = (
    "dataset",
    "model",
    "seed",
    "applied_to",
    "label",
    "observable",
    "metric",
    "unit",
    "value",
    "error",
    "floor",
    "floor_error",
)
_DISTANCES = ("ks", "wasserstein", "separation")


def summary(results: Sequence[Mapping[str, Any]]) -> str:
    """The table as CSV (RFC 4180); see `caloforge.report.render`."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    for result in results:
        run, metrics = result["run"], result["metrics"]
        start = [run.dataset, run.model, run.seed, run.applied_to, run.label]
        for rows in (_of_observables(metrics), _of_samples(metrics), _of_tables(metrics)):
            writer.writerows([*start, *row] for row in rows)
    return text.getvalue()


def _of_observables(metrics: Mapping[str, Any]) -> Iterator[list]:
    for name, observable in metrics["observables"].items():
        generated, floor = observable["generated"], observable["floor"]
        for distance in _DISTANCES:
            unit = observable["unit"] if distance == "wasserstein" else "1"
            yield [name, distance, unit, *_pairs(generated[distance], floor[distance])]
        yield [name, "ks_p_value", "1", generated["ks_p_value"], None, floor["ks_p_value"], None]


def _of_samples(metrics: Mapping[str, Any]) -> Iterator[list]:
    for name, number in metrics.get("samples", {}).items():
        yield [name, "value", number["unit"], *_pairs(number["generated"], number["floor"])]


def _of_tables(metrics: Mapping[str, Any]) -> Iterator[list]:
    for table in metrics.get("tables", []):
        for row in table["rows"]:
            for column, cell in zip(table["columns"], row["cells"], strict=True):
                if cell:
                    metric = f"{table['title']} / {column}"
                    yield [row["label"], metric, row["unit"], cell["value"], cell["error"], None, None]


def _pairs(*numbers: Mapping[str, float | None]) -> list[float | None]:
    return [number[key] for number in numbers for key in ("value", "error")]
