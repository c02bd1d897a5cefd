"""A directory of figures and their numbers with index.json, which says what each of them shows."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from caloforge.atomic import write_json
from caloforge.figures.data import save_data
from caloforge.figures.style import save_figure


class Drawn(NamedTuple):
    """A figure and its entry in index.json."""

    file: str
    section: str
    title: str
    caption: str
    figure: Figure


def save_album(drawn: Iterable[Drawn], directory: Path, label: str) -> None:
    """Save figures, their numbers and their index to a new directory; `label` is shown on every figure."""
    directory.mkdir()
    index = []
    for entry in drawn:
        save_figure(entry.figure, directory / entry.file, label)
        data = Path(entry.file).with_suffix(".yaml").name
        save_data(entry.figure, directory / data, entry.title, entry.caption)
        texts = {key: text for key, text in entry._asdict().items() if key != "figure"}
        index.append(texts | {"data": data})
    write_json(directory / "index.json", index)
