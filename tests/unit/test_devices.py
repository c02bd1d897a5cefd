import logging

import pytest
import torch

from caloforge.devices import announce_precision, choose_device, choose_precision
from caloforge.errors import CaloforgeError


@pytest.mark.parametrize(
    ("wanted", "with_cuda", "without"),
    [("cpu", "cpu", "cpu"), ("auto", "cuda", "cpu"), ("cuda", "cuda", None)],
)
def test_a_device_is_what_is_wanted_where_there_is_one(monkeypatch, caplog, wanted, with_cuda, without):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device(wanted) == torch.device(with_cuda)
    assert caplog.messages == []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    if without is None:
        with pytest.raises(CaloforgeError, match="cuda is demanded but PyTorch finds no CUDA device"):
            choose_device(wanted)
    else:
        assert choose_device(wanted) == torch.device(without)
    fell_back = ["device: auto is the CPU here, PyTorch finds no CUDA device"] if wanted == "auto" else []
    assert caplog.messages == fell_back


@pytest.mark.parametrize(
    ("wanted", "able", "chosen", "said"),
    [
        ("auto", True, "bfloat16", "precision: auto is bfloat16"),
        ("auto", False, "float32", "precision: auto is float32"),
        ("bfloat16", True, "bfloat16", None),
        ("bfloat16", False, "bfloat16", "precision: bfloat16 has no instructions"),
        ("float32", True, "float32", None),
    ],
)
def test_bfloat16_is_for_processors_with_instructions_for_it(monkeypatch, caplog, wanted, able, chosen, said):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": able})
    cpu = torch.device("cpu")
    assert choose_precision(wanted, cpu) == chosen
    announce_precision(wanted, cpu)
    assert len(caplog.messages) == bool(said)
    assert not said or caplog.messages[0].startswith(said)
