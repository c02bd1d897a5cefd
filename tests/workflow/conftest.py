"""A real run of the whole workflow on one embedded file, made once per session and copied by the tests."""

import shutil
from pathlib import Path

import pytest
from analysis import CHECKOUT, Analysis, tiny_config
from filelock import FileLock


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with a long file that does not use the finished run, while another worker makes that."""
    items.sort(key=lambda item: item.path.name != "test_grid.py")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Analysis:
    """A finished run, the same one for all workers of pytest-xdist; tests must not change it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "finished"
    folder.mkdir(exist_ok=True)
    analysis, complete = Analysis(folder / "analysis"), folder / "complete"
    with FileLock(folder / "lock"):
        if not complete.exists():
            analysis.path.mkdir(exist_ok=True)
            analysis.configure(tiny_config())
            analysis.make()
            complete.touch()
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
