import logging

import pytest
import torch

from caloforge.devices import choose_device
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
