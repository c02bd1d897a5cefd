"""A real run of the whole workflow on one embedded file, made once per session and copied by the tests."""

import shutil
from pathlib import Path

import pytest
from analysis import CHECKOUT, Analysis, tiny_config


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    """A finished run; tests must not change it."""
    analysis = Analysis(tmp_path_factory.mktemp("finished"))
    analysis.configure(tiny_config())
    analysis.make()
    return analysis


@pytest.fixture
def analysis(finished: Analysis, tmp_path: Path) -> Analysis:
    """A copy of the finished run."""
    return finished.copy(tmp_path / "analysis")


@pytest.fixture
def fresh(tmp_path: Path) -> Analysis:
    """A working directory with the tiny configuration and nothing else."""
    analysis = Analysis(tmp_path)
    analysis.configure(tiny_config())
    return analysis


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the workflow and the library, to edit."""
    copy = tmp_path / "checkout"
    copy.mkdir()
    for name in ("src", "workflow", "profiles", "envs"):
        shutil.copytree(CHECKOUT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(CHECKOUT / "Snakefile", copy)
    return copy
