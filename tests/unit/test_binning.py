import numpy as np
import pytest

from caloforge.binning import BinningFile
from caloforge.config.dataset import DatasetSettings

PHOTON = {0: (1, 8), 1: (10, 16), 2: (10, 19), 3: (1, 5), 12: (1, 5)}
PION = {0: (1, 8), 1: (10, 10), 2: (10, 10), 3: (1, 5), 12: (10, 15), 13: (10, 16), 14: (1, 10)}
"""Layers with cells in data set 1, each with its number of cells in alpha and in r, as published."""


def bins(particle, layers, n_layers, pid=22):
    """XML of the CaloChallenge; layers that are not among `layers` have the single edge 0."""
    lines = [f'<Bin pid="{pid}" name="{particle}">']
    for number in range(n_layers):
        n_alpha, n_r = layers.get(number, (1, 0))
        edges = ",".join(f"{5 * ring}" for ring in range(n_r + 1))
        lines.append(f'  <Layer id="{number}" r_edges="{edges}" n_bin_alpha="{n_alpha}" />')
    return "\n".join([*lines, "</Bin>"])


def write(tmp_path, *particles):
    path = tmp_path / "binning.xml"
    path.write_text("<Bins>\n" + "\n".join(particles) + "\n</Bins>\n")
    return path


def geometry(path, particle="photon"):
    return BinningFile(binning=str(path), particle=particle).geometry()


@pytest.mark.parametrize(
    ("particle", "layers", "n_layers", "cells"),
    [
        ("photon", PHOTON, 24, 368),
        ("pion", PION, 24, 533),
        ("electron", dict.fromkeys(range(45), (16, 9)), 45, 6480),
        ("electron", dict.fromkeys(range(45), (50, 18)), 45, 40500),
    ],
)
def test_published_data_sets(tmp_path, particle, layers, n_layers, cells):
    others = (bins("photon", PHOTON, 24), bins("pion", PION, 24, 211), bins("electron", {0: (2, 2)}, 1, 11))
    path = write(
        tmp_path,
        *(text for text in others if f'"{particle}"' not in text),
        bins(particle, layers, n_layers),
    )
    found = geometry(path, particle)
    assert found.n_cells == cells
    assert found.kind == "cylindrical"
    assert {int(layer.label): layer.shape for layer in found.layers} == layers
    for layer in found.layers:
        np.testing.assert_allclose(layer.edges(1), 5 * np.arange(layer.shape[1] + 1))
        np.testing.assert_allclose(layer.edges(0)[[0, -1]], [-np.pi, np.pi])


def test_edges_are_millimetres_as_written(tmp_path):
    path = write(
        tmp_path,
        '<Bin pid="22" name="photon"><!-- one --><Layer id="7" r_edges=" 0, 2.5,1e1 " n_bin_alpha=" 2"/>'
        '<Layer id="8" r_edges="0.0" n_bin_alpha="1"/></Bin>',
    )
    (layer,) = geometry(path).layers
    assert (layer.label, layer.n_alpha, layer.r_edges_mm) == ("7", 2, (0, 2.5, 10))


def test_geometry_of_a_data_set(tmp_path):
    path = write(tmp_path, bins("photon", PHOTON, 24))
    dataset = {
        "source": {"format": "arrays", "files": ["dataset_1.hdf5"], "cells": "showers"},
        "geometry": {"binning": str(path), "particle": "photon", "name": "ATLAS"},
        "readout_threshold_MeV": 1,
    }
    assert DatasetSettings.model_validate(dataset).geometry.n_cells == 368
    dataset["geometry"]["particle"] = "muon"
    with pytest.raises(ValueError, match=r"binning\.xml: particles photon found, expected muon once"):
        DatasetSettings.model_validate(dataset)


LAYER = '<Bin pid="22" name="photon"><Layer id="3" {}/></Bin>'


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ('r_edges="0,5,x" n_bin_alpha="2"', r", layer 3: r_edges '0,5,x' found: .*valid number"),
        ('r_edges="0,5,,9" n_bin_alpha="2"', r", layer 3: r_edges '0,5,,9' found: .*valid number"),
        ('r_edges="0,5,5" n_bin_alpha="2"', r", layer 3: r_edges '0,5,5' found: edges must increase"),
        ('r_edges="9,5" n_bin_alpha="2"', r", layer 3: r_edges '9,5' found: edges must increase"),
        ('r_edges="-5,5" n_bin_alpha="2"', r", layer 3: r_edges '-5,5' found: a radius cannot be below 0"),
        ('r_edges="0,inf" n_bin_alpha="2"', r", layer 3: r_edges '0,inf' found: .*finite"),
        ('r_edges="nan,5" n_bin_alpha="2"', r", layer 3: r_edges 'nan,5' found: .*finite"),
        ('r_edges="5" n_bin_alpha="2"', r", layer 3: r_edges '5' found: .*at least 2"),
        ('r_edges="" n_bin_alpha="2"', r", layer 3: r_edges '' found: "),
        ('r_edges="0,5" n_bin_alpha="0"', r", layer 3: n_bin_alpha '0' found: .*greater than 0"),
        ('r_edges="0,5" n_bin_alpha="1.5"', r", layer 3: n_bin_alpha '1\.5' found: .*integer"),
        ('r_edges="0,5" n_bin_alpha="two"', r", layer 3: n_bin_alpha 'two' found: .*integer"),
        ('r_edges="0,5"', r", layer 3: no attribute n_bin_alpha found"),
        ('n_bin_alpha="2"', r", layer 3: no attribute r_edges found"),
        ('r_edges="0" n_bin_alpha="1"', r": no layer with cells found"),
    ],
)
def test_refuses_a_layer(tmp_path, attributes, message):
    with pytest.raises(ValueError, match=rf"binning\.xml: particle photon{message}") as error:
        geometry(write(tmp_path, LAYER.format(attributes)))
    assert "\n" not in str(error.value)


BOMB = (
    '<!DOCTYPE b [<!ENTITY a0 "ha">'
    + "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(9))
    + "]><Bins>&a9;</Bins>"
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a binning file"),
        (b"<Bins><Bin", "not a binning file"),
        (b"\x89HDF\r\n\x1a\n\0\0\0", "not a binning file"),
        (b'<?xml version="1.0" encoding="nonsense"?><Bins/>', "not a binning file"),
        (BOMB.encode(), "not a binning file"),
        (b"<Bins>" + b" " * (1 << 20) + b"</Bins>", "more than 1048576 bytes found"),
        (b"<html/>", "element html found, expected Bins"),
        (b"<Bins/>", "particles none found, expected photon once"),
        (b'<Bins><Bin pid="1"/><Bin name="pion"/></Bins>', "particles , pion found, expected photon once"),
        (b'<Bins><Bin name="photon"/><Bin name="photon"/></Bins>', "particles photon, photon found"),
        (b'<Bins><Bin name="photon"/></Bins>', "particle photon: no layer with cells found"),
    ],
)
def test_refuses_a_file(tmp_path, content, message):
    path = tmp_path / "binning.xml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"binning\.xml: {message}") as error:
        geometry(path)
    assert "\n" not in str(error.value)


def test_refuses_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"none\.xml: cannot be read: No such file"):
        geometry(tmp_path / "none.xml")
