import numpy as np
import pytest

from caloforge.config.stages import FigureSettings
from caloforge.figures.style import figure_style, new_figure, save_figure


def histograms_and_an_image():
    rng = np.random.default_rng(0)
    figure = new_figure(6, 4)
    axes = figure.subplots(2, 2)
    for ax in axes.flat[1:]:
        ax.hist(rng.normal(size=100), bins=20, label="showers")
        ax.set(xlabel="width [mm]", ylabel="showers", yscale="log")
        ax.legend()
    image = axes[0, 0].imshow(rng.normal(size=(30, 30)), rasterized=True)
    figure.colorbar(image, ax=axes[0, 0], label="energy [MeV]")
    return figure


@pytest.mark.parametrize("style", [None, "ATLAS", "CMS", "LHCb2", "ALICE"])
def test_saved_figures_are_those_that_matplotlib_saves(tmp_path, style):
    with figure_style(FigureSettings(style=style)):
        save_figure(histograms_and_an_image(), tmp_path / "saved.svg", "")
        histograms_and_an_image().savefig(tmp_path / "expected.svg", metadata={"Date": None})
    assert (tmp_path / "saved.svg").read_bytes() == (tmp_path / "expected.svg").read_bytes()


def test_the_label_of_the_run_is_text_as_it_is(tmp_path):
    with figure_style(FigureSettings()):
        figure = histograms_and_an_image()
        save_figure(figure, tmp_path / "saved.svg", r"$\frac$")  # an error as mathematics
    assert r"<!-- $\frac$ -->" in (tmp_path / "saved.svg").read_text()
