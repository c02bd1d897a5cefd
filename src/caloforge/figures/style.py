"""How every figure looks: style, colours, proportions, reproducible SVG files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import matplotlib.style
import mplhep
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import LogLocator, NullFormatter

from caloforge.config.stages import FigureSettings

FULL_SIMULATION = "#4d4d4d"
GENERATED = "#D55E00"
"""Vermillion, distinct from grey for every colour vision (M. Okabe, K. Ito, Color Universal Design, 2008)."""
MARKED = "#0072B2"
"""Blue of the same palette."""
SVG_DPI = 72
"""Units per inch of SVG files, in which text is measured."""


@contextmanager
def figure_style(settings: FigureSettings) -> Iterator[None]:
    """Draw and save figures in this style, whatever the user's own matplotlib configuration says."""
    chosen = getattr(mplhep.style, settings.style) if settings.style else {}
    with matplotlib.style.context(chosen, after_reset=True):
        matplotlib.rcParams |= {
            "font.family": [*matplotlib.rcParams["font.family"], "DejaVu Sans"],
            "legend.frameon": False,
            "lines.linewidth": _scale(),
            "lines.markersize": 3.5 * _scale(),
            "patch.linewidth": _scale(),
            "savefig.dpi": settings.dpi / _scale(),
            "svg.hashsalt": "caloforge",
        }
        yield


def new_figure(width: float, height: float) -> Figure:
    """A figure whose size is given for a text size of 10 points [inch] and grows with that of the style."""
    return Figure(figsize=(width * _scale(), height * _scale()), layout="constrained")


def save_figure(figure: Figure, path: Path, label: str) -> None:
    """Save as SVG, with the label of the run in the upper right corner when there is one.

    Text becomes outlines, so that it looks the same everywhere; the same figure gives the same bytes. They
    are those of `Figure.savefig` alone, which draws a figure once more for its layout.
    """
    if label:
        size = matplotlib.rcParams["legend.fontsize"]
        figure.suptitle(label, x=0.99, ha="right", size=size, style="italic", parse_math=False)
    FigureCanvasSVG(figure)  # the layout measures text as SVG shows it
    figure.dpi = SVG_DPI
    if layout := figure.get_layout_engine():
        layout.execute(figure)
        figure.set_layout_engine(None)
    figure.savefig(path, format="svg", metadata={"Date": None})


def axis_label(label: str, unit: str) -> str:
    """Quantity and unit as axes show them; the unit "1" is not shown."""
    return label if unit == "1" else f"{label} [{unit}]"


def logarithmic_x(axes: Axes, low: float, high: float) -> None:
    """A logarithmic axis, with ticks at 1, 2 and 5 as plain numbers if it has less than three decades.

    Parameters
    ----------
    low, high
        Ends of the axis, above zero.
    """
    axes.set_xscale("log")
    if high < 1000 * low:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _scale() -> float:
    """Text size of the style over 10 points."""
    return FontProperties(size=matplotlib.rcParams["axes.labelsize"]).get_size_in_points() / 10
