import pickle

import pytest
import torch

from caloforge import checkpoint
from caloforge.errors import CaloforgeError

CONTENT = {
    "kind": "a model",
    "settings": {"noise": 3, "inner": {"rate": 0.1}},
    "geometry": {"name": "box"},
    "preprocessing": {"power": 0.0},
    "weights": {"w": torch.arange(6.0).reshape(2, 3)},
}


def test_round_trip(tmp_path):
    checkpoint.save(tmp_path / "c.pt", CONTENT)
    loaded = checkpoint.load(tmp_path / "c.pt", "a model")
    assert torch.equal(loaded.pop("weights")["w"], CONTENT["weights"]["w"])
    assert loaded == {key: value for key, value in CONTENT.items() if key != "weights"}


def test_same_content_gives_the_same_bytes(tmp_path):
    checkpoint.save(tmp_path / "a.pt", CONTENT)
    strided = torch.arange(6.0).reshape(3, 2).new_tensor([[0, 3], [1, 4], [2, 5]]).T
    checkpoint.save(tmp_path / "b.pt", CONTENT | {"weights": {"w": strided}})
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_another_kind_is_refused(tmp_path):
    checkpoint.save(tmp_path / "c.pt", CONTENT)
    with pytest.raises(
        CaloforgeError, match=r"c\.pt: checkpoint of a a model found, expected one of a other"
    ):
        checkpoint.load(tmp_path / "c.pt", "other")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CaloforgeError, match=r"c\.pt: no such file"):
        checkpoint.load(tmp_path / "c.pt", "a model")


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "foreign"])
def test_what_is_no_checkpoint_is_refused(tmp_path, damage):
    path = tmp_path / "c.pt"
    checkpoint.save(path, CONTENT)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif damage == "text":
        path.write_text("not a checkpoint")
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        torch.save({"weights": {}}, path)
    with pytest.raises(CaloforgeError, match=r"c\.pt: not a"):
        checkpoint.load(path, "a model")


class Bomb:
    def __reduce__(self):
        return print, ("code was executed",)


def test_code_in_a_checkpoint_is_not_executed(tmp_path, capsys):
    (tmp_path / "c.pt").write_bytes(pickle.dumps(CONTENT | {"weights": Bomb()}))
    with pytest.raises(CaloforgeError, match="not a checkpoint"):
        checkpoint.load(tmp_path / "c.pt", "a model")
    torch.save(CONTENT | {"weights": Bomb()}, tmp_path / "c.pt")
    with pytest.raises(CaloforgeError, match="not a readable checkpoint"):
        checkpoint.load(tmp_path / "c.pt", "a model")
    assert capsys.readouterr().out == ""


def test_require_names_the_first_difference(tmp_path):
    wanted = {"noise": 3, "inner": {"rate": 0.2}}
    with pytest.raises(CaloforgeError, match=r"another model: settings\.inner\.rate is 0\.1, expected 0\.2"):
        checkpoint.require(tmp_path / "c.pt", CONTENT, geometry={"name": "box"}, settings=wanted)
    checkpoint.require(tmp_path / "c.pt", CONTENT, settings=CONTENT["settings"])
