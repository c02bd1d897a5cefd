"""Kolmogorov-Smirnov distance of every observable of every run, as a table."""

import csv
import json
from pathlib import Path

with Path(snakemake.output[0]).open("w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["metrics", "observable", "distance", "floor"])
    for path in snakemake.input:
        for name, observable in json.loads(Path(path).read_text())["observables"].items():
            table.writerow([path, name, *(observable[of]["ks"]["value"] for of in ("generated", "floor"))])
