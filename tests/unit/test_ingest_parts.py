"""Ingest in several jobs makes what ingest in one job makes."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import test_arrays
import test_delphes
import test_ingest
import test_root_images
from test_ingest import events, spoil, write_root

from caloforge.errors import CaloforgeError
from caloforge.ingest import ingest
from caloforge.ingest.parts import ingest_part, merge_parts
from caloforge.ingest.split import SPLITS


def outputs(directory, stem=""):
    directory.mkdir(exist_ok=True)
    return {split: directory / f"{stem}{split}.h5" for split in SPLITS} | {
        "record": directory / f"{stem}ingest.json"
    }


def in_one_job(directory, config, files, paired=()):
    made = outputs(directory)
    ingest(config, name="data", files=files, paired=paired, **made)
    return made


def in_parts(directory, config, files, paired=(), between=lambda: None):
    described = {"name": "data", "files": files, "paired": paired}
    made = []
    for part in range(-(-len(files) // config.files_per_job)):
        made.append(outputs(directory, f"part{part}_"))
        ingest_part(config, part=part, **described, **made[-1])
    between()
    merged = outputs(directory)
    merge_parts(
        config,
        **described,
        parts={split: [part[split] for part in made] for split in SPLITS},
        records=[part["record"] for part in made],
        **merged,
    )
    return merged


def record_of(made):
    """The record but for what differs between two runs in two folders."""
    record = json.loads(made["record"].read_text())
    assert record.pop("started") <= record.pop("ended")
    record["outputs"] = {Path(path).name: digest for path, digest in record["outputs"].items()}
    assert record.pop("time_s").keys() == {"wall", "cpu"}
    del record["settings"]["files_per_job"]
    return record


def assert_same(directory, config, files, paired=(), sizes=(1, 2)):
    whole = in_one_job(directory / "whole", config, files, paired)
    for size in sizes:
        config = config.model_copy(update={"files_per_job": size})
        merged = in_parts(directory / f"by{size}", config, files, paired)
        for split in SPLITS:
            assert merged[split].read_bytes() == whole[split].read_bytes()
        assert record_of(merged) == record_of(whole)
    return record_of(whole)


def cells(directory, starts, n=200, spoilt=None):
    """Files of real events, with a number that is another one in the last of them."""
    files = []
    for start in starts:
        columns = events(start, n)
        if spoilt and start == starts[-1]:
            columns[spoilt[0]] = spoil(columns[spoilt[0]], *spoilt[1:])
        files.append(write_root(directory / f"{start:03}.root", columns))
    return files


# ---- the same files


def test_lists_of_cells(tmp_path):
    files = [*cells(tmp_path, (0, 200, 400, 600)), *test_ingest.SAMPLES[1:2]]
    record = assert_same(tmp_path, test_ingest.settings(chunk_events=70), files, sizes=(1, 2, 3, 9))
    assert [file["events"] for file in record["files"]] == [200, 200, 200, 200, 1000]
    assert record["summary"]["axis_check"]["x"] > 0.5


def test_files_set_aside_and_showers_left_out(tmp_path):
    files = cells(tmp_path, (0, 200, 400))
    empty = {name: values[:20] for name, values in events(600).items()}
    empty |= {name: values[:, :0] for name, values in empty.items() if name in test_ingest.LISTS}
    empty["ncell"] = spoil(empty["ncell"], slice(None), 0)
    files.insert(1, write_root(tmp_path / "empty.root", empty))
    shares = {"train": 0.75, "val": 0.25, "test": 0, "test_files": ["200.root"]}
    config = test_ingest.settings(split=shares, empty_showers="drop")
    record = assert_same(tmp_path, config, files)
    assert record["events"]["test"] == 200
    assert record["summary"]["events_without_hits"] >= 20


def test_events_counted_over_arrays(tmp_path):
    files = []
    for k, (first, end) in enumerate(pairwise((0, 5, 6, 17, 24))):
        arrays, config = test_arrays.small(test_arrays.COUNTS[first:end])
        write = (test_arrays.write_hdf5, test_arrays.write_npz)[k % 2]
        files.append(write(tmp_path / f"{k}.{'h5' if k % 2 == 0 else 'npz'}", arrays))
    assert_same(tmp_path, config, files, sizes=(1, 2, 3))


def test_pairs_in_other_files(tmp_path):
    fast, full = test_delphes.fast_events(), test_delphes.full_events(58, first=4)
    ends = (0, 9, 10, 31, 60)
    files = [
        test_delphes.write_fast(tmp_path / f"fast{k}.root", test_delphes.chosen(fast, slice(*ends)))
        for k, ends in enumerate(pairwise(ends))
    ]
    order = np.random.default_rng(1).permutation(58)
    paired = [
        test_delphes.write_full(tmp_path / f"full{k}.root", test_delphes.chosen(full, order[first:end]))
        for k, (first, end) in enumerate(((0, 7), (7, 58)))
    ]
    config = test_delphes.settings(chunk_events=13, source=test_delphes.source(unmatched="drop"))
    counts = assert_same(tmp_path, config, files, paired, sizes=(1, 2, 3))["summary"]["counts"]
    assert counts["fast_events_without_full_simulation"] == 4
    assert counts["full_events_without_fast_simulation"] == 2
    assert counts["towers_outside_grid"] > 0


def test_pairs_of_images(tmp_path):
    fast, full = test_root_images.images(range(40), 1), test_root_images.images(range(1, 39), 2)
    files = [
        test_root_images.write(tmp_path / f"fast{first}.root", {k: fast[k] for k in range(first, end)})
        for first, end in ((0, 15), (15, 25), (25, 40))
    ]
    paired = [test_root_images.write(tmp_path / "full.root", full)]
    config = test_root_images.settings(source=test_root_images.source(unmatched="drop"))
    record = assert_same(tmp_path, config, files, paired)
    assert record["summary"]["counts"]["fast_events_without_full_simulation"] == 2


# ---- the same errors


def refused(make, *arguments, **options):
    with pytest.raises(CaloforgeError) as error:
        make(*arguments, **options)
    return str(error.value)


def assert_same_error(directory, config, files, paired=()):
    expected = refused(in_one_job, directory / "whole", config, files, paired)
    config = config.model_copy(update={"files_per_job": 1})
    assert refused(in_parts, directory / "parts", config, files, paired) == expected
    assert not outputs(directory / "parts")["train"].exists()
    return expected


def test_an_event_number_in_two_jobs(tmp_path):
    files = cells(tmp_path, (0, 200), spoilt=("event", 7, 11))
    message = assert_same_error(tmp_path, test_ingest.settings(), files)
    assert "event number 11 occurs more than once" in message
    assert "000.root: tree showers, entry 11 (event 11)" in message
    assert "200.root: tree showers, entry 7 (event 11)" in message


def test_an_empty_split(tmp_path):
    config = test_ingest.settings(axis_check=None, split={"train": 0.998, "val": 0.001, "test": 0.001})
    assert "0 events found" in assert_same_error(tmp_path, config, cells(tmp_path, (0, 200), n=20))


def test_split_empty_in_some_parts_alone(tmp_path):
    files = cells(tmp_path, range(0, 60, 2), n=2)
    assert_same(tmp_path, test_ingest.settings(axis_check=None), files, sizes=(1,))


@pytest.mark.parametrize(
    "change",
    [
        {"split": {"train": 0.9, "val": 0.1, "test": 0, "test_files": ["9*.root"]}},
        {"source": test_ingest.source(cells={"x": "cell_y", "y": "cell_x"})},
        {"source": test_ingest.source(cell_energy_unit="keV"), "visible_fraction": (0.01, 1.05)},
    ],
    ids=["no test files", "swapped axes", "wrong unit"],
)
def test_what_is_told_from_all_files(tmp_path, change):
    assert_same_error(tmp_path, test_ingest.settings(**change), cells(tmp_path, (0, 200)))


def test_a_file_listed_twice(tmp_path):
    (file,) = cells(tmp_path, (0,))
    again = tmp_path / "again.root"
    again.symlink_to(file)
    assert "listed twice" in assert_same_error(tmp_path, test_ingest.settings(), [file, again])


def test_events_without_partner_in_another_job(tmp_path):
    fast, full = test_delphes.fast_events(), test_delphes.full_events(59)
    files = [
        test_delphes.write_fast(
            tmp_path / f"fast{k}.root", test_delphes.chosen(fast, slice(30 * k, 30 * k + 30))
        )
        for k in (0, 1)
    ]
    paired = [test_delphes.write_full(tmp_path / "full.root", full)]
    assert "(event 59)" in assert_same_error(tmp_path, test_delphes.settings(), files, paired)


def test_a_file_that_changes_between_the_jobs(tmp_path):
    files = cells(tmp_path, (0, 200))
    config = test_ingest.settings(files_per_job=1)
    message = refused(
        in_parts, tmp_path / "parts", config, files, between=lambda: write_root(files[1], events(400))
    )
    assert message == f"{files[1]}: changed while it was read, expected a file at rest"
