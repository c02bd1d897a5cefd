"""The environment for conda and the recipe of the container, against what is declared for pip."""

import os
import shutil
import subprocess
import tomllib
import venv
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import yaml
from analysis import CHECKOUT, Analysis
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from snakemake.common import get_snakemake_searchpaths

PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
CONDA = yaml.safe_load((CHECKOUT / "envs/caloforge.yaml").read_text())["dependencies"]


def instructions(name: str) -> list[list[str]]:
    """Arguments of the instructions of this name in the recipe of the container."""
    lines = (CHECKOUT / "containers/Dockerfile").read_text().splitlines()
    return [line.split()[1:] for line in lines if line.startswith(f"{name} ")]


def pins() -> dict[str, str]:
    """Lines of constraints.txt by the canonical name of the package."""
    lines = (CHECKOUT / "constraints.txt").read_text().splitlines()
    return {
        canonicalize_name(line.partition("==")[0]): line
        for line in lines
        if line and not line.startswith("#")
    }


def needed(requirements: Iterable[str]) -> set[str]:
    """Canonical names of what these requirements need without extras, directly or not."""
    found: set[str] = set()
    waiting = list(requirements)
    while waiting:
        requirement = Requirement(waiting.pop())
        name = canonicalize_name(requirement.name)
        applies = not requirement.marker or requirement.marker.evaluate({"extra": ""})
        if applies and name not in found:
            found.add(name)
            waiting += metadata.requires(name) or []
    return found


def test_constraints_are_within_the_bounds_of_the_dependencies():
    pinned = pins()
    for text in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]):
        requirement = Requirement(text)
        _, _, version = pinned[canonicalize_name(requirement.name)].partition("==")
        assert requirement.specifier.contains(version), text


def test_conda_gets_the_versions_of_the_constraints():
    pinned = pins()
    of_jobs = needed(text for text in PROJECT["dependencies"] if Requirement(text).name != "snakemake")
    *_, packages = CONDA
    assert packages["pip"] == [line for name, line in pinned.items() if name in of_jobs]


def test_conda_and_container_have_a_supported_python():
    ((image,),) = instructions("FROM")
    version = image.removeprefix("python:").removesuffix("-slim")
    assert CONDA[:2] == [f"python={version}", "pip"]
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(version)


def test_snakemake_brings_caloforge_into_an_environment_without_it(tmp_path: Path):
    """Every script begins with this addition to the search path."""
    venv.create(tmp_path / "environment")
    code = "import caloforge.stage; from importlib import metadata; print(metadata.version('caloforge'))"
    run = [tmp_path / "environment/bin/python", "-c"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    alone = subprocess.run([*run, code], env=environment, capture_output=True, text=True)
    assert "No module named 'caloforge'" in alone.stderr
    addition = f"import sys; sys.path.extend({get_snakemake_searchpaths()!r}); "
    done = subprocess.run([*run, addition + code], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == metadata.version("caloforge"), done.stderr


def test_the_container_has_all_that_the_workflow_needs(fresh: Analysis, tmp_path: Path):
    inside = tmp_path / "inside"
    inside.mkdir()
    copied = [(source, target) for *sources, target in instructions("COPY") for source in sources]
    for source, target in copied:
        if (CHECKOUT / source).is_dir():
            shutil.copytree(CHECKOUT / source, inside / target)
        else:
            shutil.copy(CHECKOUT / source, inside / target)
    files = {"pyproject.toml", "constraints.txt", PROJECT["readme"], *PROJECT["license-files"]}
    assert files <= {source for source, _ in copied}
    assert set(Analysis(fresh.path, inside).planned()) == set(fresh.planned())
