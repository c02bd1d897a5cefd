import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from caloforge.atomic import atomic_path, write_json, write_text
from caloforge.errors import CaloforgeError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_it_is_complete(tmp_path):
    with atomic_path(tmp_path / "sub" / "a.txt") as partial:
        partial.write_text("whole")
        assert names(tmp_path / "sub") == [partial.name]
    assert names(tmp_path / "sub") == ["a.txt"]
    assert (tmp_path / "sub" / "a.txt").read_text() == "whole"


def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path):
    (tmp_path / "a.txt").write_text("before")

    def fail_half_way() -> None:
        with atomic_path(tmp_path / "a.txt") as partial:
            partial.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "before"


def test_a_directory_replaces_a_directory(tmp_path):
    for content in ("one", "two"):
        with atomic_path(tmp_path / "figures") as partial:
            partial.mkdir()
            (partial / content).write_text(content)
    assert names(tmp_path / "figures") == ["two"]


def test_what_a_killed_process_left_does_not_disturb(tmp_path):
    (tmp_path / ".a.txt.partial").write_text("left over")
    write_text(tmp_path / "a.txt", "whole")
    assert names(tmp_path) == ["a.txt"]


def test_json_is_sorted_and_strict(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": [1.5, None]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [1.5, None], "b": 1}
    assert (tmp_path / "a.json").read_text().index('"a"') < (tmp_path / "a.json").read_text().index('"b"')
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "b.json", {"a": float("nan")})
    assert not (tmp_path / "b.json").exists()


def test_a_refused_write_is_one_clear_error(tmp_path):
    code = (
        "import sys; from pathlib import Path; from caloforge.atomic import write_text\n"
        "write_text(Path(sys.argv[1]), 'x' * 100_000)"
    )
    limit = (50_000, 50_000)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.txt")],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )
    assert done.returncode == 1
    assert f"CaloforgeError: {tmp_path / 'a.txt'}: cannot be written: File too large" in done.stderr
    assert names(tmp_path) == []


def test_a_refusal_is_found_behind_the_error_that_it_caused(tmp_path):
    def fail_to_write_and_then_to_close() -> None:
        with atomic_path(tmp_path / "a.h5"):
            try:
                raise OSError(28, "No space left on device")
            finally:
                raise RuntimeError("cannot close")

    with pytest.raises(CaloforgeError, match=r"a\.h5: cannot be written: No space left on device"):
        fail_to_write_and_then_to_close()
