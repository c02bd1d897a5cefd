"""What every unit test begins with."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _pytorch_as_at_the_start():
    """Stages set threads and determinism of their process; last digits must not depend on earlier tests."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(False)
