import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src/caloforge"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A caloforge of four modules with the real code_digest.py."""
    root = tmp_path / "caloforge"
    (root / "stage").mkdir(parents=True)
    (root / "config").mkdir()
    shutil.copy(SOURCE / "code_digest.py", root)
    (root / "__init__.py").write_text("")
    (root / "config/__init__.py").write_text("")
    (root / "config/settings.py").write_text("LIMIT = 1\n")
    (root / "leaf.py").write_text('"""Leaf."""\n\n\ndef leaf(x):\n    """Double."""\n    return 2 * x\n')
    (root / "stage/__init__.py").write_text("from caloforge.stage.work import work\n")
    (root / "stage/work.py").write_text(
        "from caloforge.config.settings import LIMIT\n\n\ndef work(x):\n"
        "    from caloforge.leaf import leaf\n\n    return leaf(min(x, LIMIT))\n"
    )
    (root / "stage/page.html").write_text("<p>page</p>\n")
    (root / "other.py").write_text("import numpy\n")
    return root


def digest(package: Path, *modules: str) -> str:
    """The digest as a fresh process of the copied package computes it."""
    code = "import sys; from caloforge.code_digest import code_digest; print(code_digest(*sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, *modules],
        env={"PYTHONPATH": str(package.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("leaf.py", "2 * x", "3 * x"),
        ("leaf.py", "2 * x", "2 * y"),
        ("stage/work.py", "min", "max"),
        ("stage/__init__.py", "import work", "import work as job"),
        ("stage/page.html", "page", "site"),
    ],
)
def test_changed_code_changes_the_digest_of_those_who_import_it(package: Path, file: str, old: str, new: str):
    stage, other = digest(package, "caloforge.stage"), digest(package, "caloforge.other")
    text = (package / file).read_text()
    assert old in text
    (package / file).write_text(text.replace(old, new, 1))
    assert digest(package, "caloforge.stage") != stage
    assert digest(package, "caloforge.other") == other


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("leaf.py", '"""Leaf."""', '"""The leaf."""\n# a comment'),
        ("leaf.py", '"""Double."""', '"""Twice."""'),
        ("leaf.py", "2 * x", "(2*x)  # twice"),
        ("config/settings.py", "1", "2"),
        ("other.py", "numpy", "scipy"),
    ],
)
def test_cosmetics_settings_and_other_modules_leave_the_digest(package: Path, file: str, old: str, new: str):
    before = digest(package, "caloforge.stage")
    text = (package / file).read_text()
    assert old in text
    (package / file).write_text(text.replace(old, new, 1))
    assert digest(package, "caloforge.stage") == before


def test_relative_imports_are_followed(package: Path):
    work = package / "stage/work.py"
    work.write_text(work.read_text().replace("from caloforge.leaf import", "from ..leaf import"))
    before = digest(package, "caloforge.stage")
    (package / "leaf.py").write_text("def leaf(x):\n    return x\n")
    assert digest(package, "caloforge.stage") != before


def test_order_of_modules_does_not_matter(package: Path):
    assert digest(package, "caloforge.leaf", "caloforge.stage") == digest(
        package, "caloforge.stage", "caloforge.leaf"
    )
    assert digest(package, "caloforge.leaf") != digest(package, "caloforge.other")


def test_unknown_module_is_an_error(package: Path):
    with pytest.raises(subprocess.CalledProcessError) as failure:
        digest(package, "caloforge.nothing")
    assert "no module caloforge.nothing" in failure.value.stderr
