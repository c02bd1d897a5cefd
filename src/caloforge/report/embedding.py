"""Figures inside the page: SVG files, compressed, with the outlines of letters that they share kept once."""

import base64
import gzip
import re
from pathlib import Path
from typing import NamedTuple

from caloforge.errors import CaloforgeError

_GLYPH = re.compile(r'<path id="[^"]+" d="[^"]*" transform="scale\(0\.015625\)"/>')
"""The outline of a letter as matplotlib defines it, once in every file that has the letter."""
_SIZE = re.compile(r'<svg\b[^>]*? width="([0-9.]+)(?:pt)?" height="([0-9.]+)(?:pt)?"')
_PIXELS_PER_POINT = 96 / 72
_COMPRESSION = 9


class Embedded(NamedTuple):
    """A figure inside the page.

    Attributes
    ----------
    gzip_base64
        The SVG file, with `<glyph N/>` for each outline of a letter.
    width, height
        [pixel].
    """

    gzip_base64: str
    width: int
    height: int


class Figures:
    """The figures of a page."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    @property
    def glyphs(self) -> list[str]:
        """Outlines of letters in all figures so far; `<glyph N/>` stands for number N."""
        return list(self._numbers)

    def embed(self, path: Path, index: Path) -> Embedded:
        """The SVG file `path`, which `index` lists.

        Raises
        ------
        CaloforgeError
            If there is no such file, or it does not state its size as matplotlib does.
        """
        try:
            svg = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise CaloforgeError(f"{path}: no such file, {index.name} lists it") from None
        size = _SIZE.search(svg)
        if size is None:
            raise CaloforgeError(f"{path}: found no width and height, expected an SVG file that has them")
        width, height = (round(float(points) * _PIXELS_PER_POINT) for points in size.groups())
        short = _GLYPH.sub(self._placeholder, svg)
        content = gzip.compress(short.encode(), _COMPRESSION, mtime=0)
        return Embedded(base64.b64encode(content).decode(), width, height)

    def _placeholder(self, outline: re.Match) -> str:
        return f"<glyph {self._numbers.setdefault(outline[0], len(self._numbers))}/>"
