"""Memory and time of jobs."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake.iocontainers import InputFiles

from caloforge.job_requests import memory_MB, minutes


def inputs(**files: str | list[str]) -> InputFiles:
    """Input as Snakemake passes it to a resource of a rule."""
    made = InputFiles()
    for name, value in files.items():
        start = len(made)
        made.extend([value] if isinstance(value, str) else value)
        made._set_name(name, start, end=None if isinstance(value, str) else len(made))
    return made


def sized(path: Path, MB: float) -> str:
    with path.open("wb") as file:
        file.truncate(int(MB * 1e6))
    return str(path)


def test_small_inputs_get_the_base():
    assert memory_MB(1500)({}, inputs(), 1) == 1500
    assert minutes(30)({}, inputs(), 1) == 30


def test_every_attempt_gets_more_but_no_more_than_three_times_as_much():
    assert [memory_MB(1000)({}, inputs(), attempt) for attempt in range(1, 6)] == [
        1000,
        2000,
        3000,
        3000,
        3000,
    ]
    assert [minutes(10)({}, inputs(), attempt) for attempt in range(1, 5)] == [10, 20, 30, 30]


def test_a_base_may_depend_on_wildcards():
    assert memory_MB(lambda w: w.budget + 4000)(SimpleNamespace(budget=500), inputs(), 2) == 9000


def test_large_inputs_get_more(tmp_path: Path):
    files = inputs(
        table=sized(tmp_path / "a", 300),
        showers=[sized(tmp_path / "b", 3000), sized(tmp_path / "c", 6000)],
        other=sized(tmp_path / "d", 50_000),
    )
    assert memory_MB(3000, table="table")({}, files, 1) == 3000 + 4 * 300
    assert minutes(30, showers="showers")({}, files, 1) == 30 + 9000 / 30
    assert minutes(30, showers="showers")({}, files, 2) == 2 * (30 + 9000 / 30)


def test_a_file_that_does_not_exist_yet_is_named_as_snakemake_names_it(tmp_path: Path):
    file = str(tmp_path / "later.h5")
    with pytest.raises(FileNotFoundError) as caught:
        minutes(30, showers="showers")({}, inputs(showers=file), 1)
    assert caught.value.filename == file
