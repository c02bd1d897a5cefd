"""What these tests need: plugins of the extras slurm and htcondor, and SLURM. `make test-slurm` has them."""

import os
import signal
from collections.abc import Callable
from importlib.util import find_spec

import pytest
from private_slurm import missing_programs

REQUIRED = "CALOFORGE_TESTS_NEED_SLURM"
"""Environment variable; with it, a missing plugin or program is a failure."""


@pytest.fixture(scope="session", autouse=True)
def _end_in_order() -> None:
    """A terminated test still ends its jobs and services."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def need_slurm() -> None:
    programs = missing_programs()
    _require(
        not programs, f"{', '.join(programs)} not found; on Debian and Ubuntu install slurm-wlm and munge"
    )
    need_plugin("slurm")


@pytest.fixture(scope="session")
def need_htcondor() -> None:
    need_plugin("htcondor")


def need_plugin(name: str) -> None:
    found = find_spec(f"snakemake_executor_plugin_{name}") is not None
    _require(found, f"snakemake-executor-plugin-{name} not found; pip install -e '.[{name}]'")


def _require(found: bool, message: str) -> None:
    missing: Callable[[str], None] = pytest.fail if os.environ.get(REQUIRED) else pytest.skip
    if not found:
        missing(message)
