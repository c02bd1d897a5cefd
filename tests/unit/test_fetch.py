"""Fetching from a server in this process, which speaks both APIs and misbehaves on request."""

import hashlib
import json
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import h5py
import numpy as np
import pytest
import yaml

from caloforge.config.dataset import DatasetSettings
from caloforge.config.downloads import Download, RemoteFile
from caloforge.config.project import source_files
from caloforge.errors import CaloforgeError
from caloforge.fetch import ATTEMPTS, LONGEST_WAIT_S, fetch
from caloforge.ingest import ingest

DOIS = {"zenodo": "10.5281/zenodo.123", "mendeley": "10.17632/abc1def2gh.2"}
DATASET = {
    "geometry": {"name": "ECAL", "layers": [{"shape": [2, 2], "cell_size_mm": [1, 1]}]},
    "readout_threshold_MeV": 1,
}
CONTENT = np.random.default_rng(1).bytes(3_000_001)


@dataclass
class Server:
    """A record with one file, and how the server misbehaves.

    `answers` are statuses with headers that the next requests get, `content_answers` those that the next
    requests for the file get; `breaks_at` are the bytes of the file at which the next downloads break off,
    once `held` is set.
    """

    content: bytes = CONTENT
    stated: bytes = CONTENT
    etag: str | None = '"1"'
    ranges: bool = True
    lengths: bool = True
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    content_answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    breaks_at: list[int] = field(default_factory=list)
    held: Event | None = None
    listing: bytes | None = None
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    sent: list[tuple[int, int]] = field(default_factory=list)
    url: str = ""

    @property
    def downloads(self) -> list[dict[str, str]]:
        """Headers of the requests for the file."""
        return [headers for path, headers in self.requests if path.startswith("/content")]

    def list_files(self, path: str) -> bytes:
        sha256, md5 = (hashlib.new(name, self.stated).hexdigest() for name in ("sha256", "md5"))
        size, url = len(self.stated), f"{self.url}/moved"
        layouts = {
            "/api/records/123": {
                "id": 123,
                "files": [{"key": "a.h5", "size": size, "checksum": f"md5:{md5}", "links": {"self": url}}],
            },
            "/public-api/datasets/abc1def2gh/files?folder_id=root&version=2": [
                {
                    "filename": "a.h5",
                    "size": size,
                    "content_details": {"size": size, "sha256_hash": sha256, "download_url": url},
                }
            ],
        }
        return json.dumps(layouts[path]).encode()


class Handler(BaseHTTPRequestHandler):
    state: Server

    def do_GET(self) -> None:
        state = self.state
        state.requests.append((self.path, dict(self.headers)))
        if state.answers:
            self.answer(*state.answers.pop(0))
        elif self.path == "/moved":
            self.answer(302, {"Location": f"{state.url}/content"})
        elif self.path == "/content" and state.content_answers:
            self.answer(*state.content_answers.pop(0))
        elif self.path == "/content":
            self.send_content()
        else:
            listing = state.listing or state.list_files(self.path)
            self.answer(200, {"Content-Length": str(len(listing))}, listing)

    def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": "0"} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def send_content(self) -> None:
        state, first, status = self.state, 0, 200
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and state.ranges and self.headers.get("If-Range") in (None, state.etag):
            first, status = int(asked[1]), 206
        if status == 206 and first >= len(state.content):
            self.answer(416, {"Content-Range": f"bytes */{len(state.content)}"})
            return
        self.send_response(status)
        if state.lengths:
            self.send_header("Content-Length", str(len(state.content) - first))
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{len(state.content) - 1}/{len(state.content)}")
        if state.etag:
            self.send_header("ETag", state.etag)
        self.end_headers()
        last = state.breaks_at.pop(0) if state.breaks_at else len(state.content)
        state.sent.append((first, last))
        with suppress(ConnectionError):  # of a client that has seen enough
            self.wfile.write(state.content[first:last])
        if state.held:
            state.held.wait(60)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"state": state}))
    state.url = f"http://127.0.0.1:{http.server_port}"
    thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits that were not waited [s]."""
    waits: list[float] = []
    monkeypatch.setattr("caloforge.fetch.time.sleep", waits.append)
    return waits


@dataclass(frozen=True)
class Target:
    """Where a test fetches to."""

    folder: Path
    server: Server

    @property
    def file(self) -> Path:
        return self.folder / "a.h5"

    @property
    def part(self) -> Path:
        return self.folder / ".a.h5.part"

    @property
    def record(self) -> dict:
        return json.loads((self.folder / "a.h5.json").read_text())

    def fetch(self, service: str = "zenodo", checksum: str | None = None, name: str = "a.h5") -> None:
        settings = RemoteFile(doi=DOIS[service], server=self.server.url, checksum=checksum)
        fetch(settings, file=self.folder / name, record=self.folder / f"{name}.json")

    def refused(self, **arguments: str) -> str:
        """The one line that a fetch ends with, which leaves nothing under a final name."""
        with pytest.raises(CaloforgeError) as failure:
            self.fetch(**arguments)
        assert not [path for path in self.folder.glob("*") if not path.name.startswith(".")]
        (line,) = str(failure.value).splitlines()
        return line


@pytest.fixture
def target(tmp_path: Path, server: Server, waits: list[float]) -> Target:
    return Target(tmp_path / "downloads", server)


def digest(algorithm: str, content: bytes) -> str:
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


# ---- what arrives


@pytest.mark.parametrize(("service", "algorithm"), [("zenodo", "md5"), ("mendeley", "sha256")])
def test_a_file_arrives_whole_with_its_record(target: Target, service: str, algorithm: str):
    target.fetch(service)
    assert target.file.read_bytes() == CONTENT
    assert sorted(path.name for path in target.folder.iterdir()) == ["a.h5", "a.h5.json"]
    record = target.record
    assert record["stage"] == "fetch"
    assert record["settings"]["doi"] == DOIS[service]
    assert record["url"] == f"{target.server.url}/moved"
    assert record["size"] == len(CONTENT)
    assert record["checksum"] == digest(algorithm, CONTENT)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", record["fetched"])
    assert target.server.downloads[0]["User-Agent"].startswith("caloforge/")


def test_an_empty_file_arrives(target: Target):
    target.server.content = target.server.stated = b""
    target.fetch()
    assert target.file.read_bytes() == b""


def test_a_file_without_stated_length_arrives(target: Target):
    target.server.lengths = False
    target.fetch()
    assert target.file.read_bytes() == CONTENT


def test_interrupted_transfers_go_on_where_they_broke_off(target: Target, waits: list[float]):
    target.server.breaks_at = [1_000_003, 1_000_003, 2_500_000]
    target.fetch()
    assert target.file.read_bytes() == CONTENT
    # The second transfer broke off at once; no byte came twice.
    assert target.server.sent == [
        (0, 1_000_003), (1_000_003, 1_000_003), (1_000_003, 2_500_000), (2_500_000, 3_000_001)
    ]  # fmt: skip
    assert [headers.get("Range") for headers in target.server.downloads[1:]] == [
        "bytes=1000003-", "bytes=1000003-", "bytes=2500000-"
    ]  # fmt: skip
    assert {headers["If-Range"] for headers in target.server.downloads[1:]} == {'"1"'}
    assert 1 <= waits[0] <= 2
    assert 2 <= waits[1] <= 4  # no byte in between
    assert 1 <= waits[2] <= 2


def test_transfers_that_bring_something_are_repeated_without_end(target: Target):
    target.server.breaks_at = list(range(100_000, 3_000_000, 100_000))
    target.fetch()
    assert target.file.read_bytes() == CONTENT
    assert len(target.server.sent) == 30


def test_a_killed_fetch_goes_on(target: Target, server: Server):
    server.breaks_at, server.held = [2_000_000], Event()
    script = (
        "import json, pathlib, sys\n"
        "from caloforge.config.downloads import RemoteFile\n"
        "from caloforge.fetch import fetch\n"
        "file, settings = pathlib.Path(sys.argv[1]), RemoteFile(**json.loads(sys.argv[2]))\n"
        "fetch(settings, file=file, record=file.with_name('a.h5.json'))\n"
    )
    settings = json.dumps({"doi": DOIS["zenodo"], "server": server.url})
    killed = subprocess.Popen([sys.executable, "-c", script, target.file, settings])
    deadline = time.monotonic() + 60
    while not (target.part.exists() and target.part.stat().st_size > 1_900_000) and killed.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    server.held.set()
    arrived = target.part.read_bytes()
    assert arrived == CONTENT[: len(arrived)]
    assert not target.file.exists()

    target.fetch()
    assert target.file.read_bytes() == CONTENT
    assert server.sent == [(0, 2_000_000), (len(arrived), 3_000_001)]


def test_a_part_that_is_whole_is_not_fetched_again(target: Target, server: Server, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("caloforge.fetch._Part.finish", lambda part: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            target.fetch()
    assert target.part.read_bytes() == CONTENT
    target.fetch()
    assert target.file.read_bytes() == CONTENT
    assert server.sent == [(0, 3_000_001)]


# ---- what starts anew


def interrupt(target: Target) -> None:
    """Leave the first 1,000,000 bytes of what the server has in the part."""
    target.server.breaks_at = [1_000_000] * (ATTEMPTS + 1)
    target.server.ranges = False
    target.refused()
    assert target.part.read_bytes() == target.server.content[:1_000_000]
    target.server.breaks_at, target.server.ranges = [], True
    target.server.requests.clear()
    target.server.sent.clear()


def test_a_server_without_ranges_sends_everything_again(target: Target):
    target.server.ranges = False
    target.server.breaks_at = [2_000_000]
    target.fetch()
    assert target.file.read_bytes() == CONTENT
    assert target.server.sent == [(0, 2_000_000), (0, 3_000_001)]


@pytest.mark.parametrize("etag", ['"2"', None, 'W/"2"'])
def test_a_file_that_changed_on_the_server_starts_anew(target: Target, etag: str | None):
    target.server.content = CONTENT[::-1]
    interrupt(target)
    target.server.content, target.server.etag = CONTENT, etag
    target.fetch()
    assert target.file.read_bytes() == CONTENT
    assert target.server.downloads[0]["If-Range"] == '"1"'
    assert target.server.sent == [(0, 3_000_001)]


def test_a_weak_tag_is_no_promise_to_the_byte(target: Target):
    target.server.etag, target.server.breaks_at = 'W/"1"', [1_000_000]
    target.fetch()
    assert target.file.read_bytes() == CONTENT
    assert "If-Range" not in target.server.downloads[1]
    assert target.server.sent == [(0, 1_000_000), (1_000_000, 3_000_001)]


def test_a_part_of_another_version_of_the_record_starts_anew(target: Target):
    interrupt(target)
    target.server.content = target.server.stated = CONTENT[::-1]
    target.fetch()
    assert target.file.read_bytes() == CONTENT[::-1]
    assert "Range" not in target.server.downloads[0]


def test_a_part_without_its_origin_starts_anew(target: Target):
    interrupt(target)
    target.folder.joinpath(".a.h5.part.json").write_text("{")
    target.fetch()
    assert target.server.sent == [(0, 3_000_001)]


@pytest.mark.parametrize(
    "answer",
    [(416, {"Content-Range": "bytes */7"}), (206, {"Content-Range": "bytes 5-9/10"}), (206, {})],
    ids=str,
)
def test_other_bytes_than_asked_for_start_anew(target: Target, answer: tuple[int, dict[str, str]], waits):
    interrupt(target)
    target.server.content_answers = [answer]
    target.fetch()
    assert target.file.read_bytes() == CONTENT
    assert target.server.sent == [(0, 3_000_001)]


# ---- what is tried again


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_passing_errors_of_a_server_are_tried_again(target: Target, waits: list[float], status: int):
    target.server.answers = [(status, {})] * 3
    target.fetch()
    assert target.file.read_bytes() == CONTENT
    assert [1 <= waits[0] <= 2, 2 <= waits[1] <= 4, 4 <= waits[2] <= 8] == [True] * 3
    assert len(waits) == 3


@pytest.mark.parametrize(
    ("after", "low", "high"),
    [
        ("7", 7, 7),
        ("0", 0, 0),
        ("86400", LONGEST_WAIT_S, LONGEST_WAIT_S),
        (lambda: formatdate(time.time() + 60, usegmt=True), 50, 60),
        (lambda: formatdate(time.time() - 60, usegmt=True), 0, 0),
        ("soon", 1, 2),
    ],
    ids=["seconds", "at_once", "too_long", "date", "past", "nonsense"],
)
def test_a_busy_server_says_when_to_come_again(target: Target, waits: list[float], after, low, high):
    target.server.answers = [(429, {"Retry-After": after if isinstance(after, str) else after()})]
    target.fetch()
    assert target.file.read_bytes() == CONTENT
    (wait,) = waits
    assert low <= wait <= high


def test_a_server_that_stays_down_is_one_error(target: Target, waits: list[float]):
    target.server.answers = [(503, {})] * ATTEMPTS
    error = target.refused()
    url = f"{target.server.url}/api/records/123"
    assert error == f"{url}: status 503 Service Unavailable found, in {ATTEMPTS} attempts"
    assert len(waits) == ATTEMPTS - 1


def test_no_server_is_one_error(target: Target):
    target.server.url = "http://127.0.0.1:9"
    assert target.refused() == (
        f"http://127.0.0.1:9/api/records/123: Connection refused, in {ATTEMPTS} attempts"
    )


def test_a_transfer_that_always_breaks_at_the_same_byte_is_one_error(target: Target):
    target.server.breaks_at = [1_000_000] * (ATTEMPTS + 1)
    assert f"in {ATTEMPTS} attempts" in target.refused()
    assert len(target.server.sent) == ATTEMPTS


# ---- what is refused


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_lasting_errors_of_a_server_are_one_error_at_once(target: Target, waits: list[float], status: int):
    target.server.answers = [(status, {})]
    error = target.refused()
    assert error.startswith(f"{target.server.url}/api/records/123: status {status} ")
    assert len(target.server.requests) == 1
    assert not waits


def test_a_wrong_checksum_is_refused_and_the_part_removed(target: Target):
    target.server.content = CONTENT[::-1]
    found, expected = digest("md5", CONTENT[::-1]), digest("md5", CONTENT)
    assert target.refused() == (
        f"{target.file}: checksum {found} found, expected {expected}; the download is discarded"
    )
    assert not list(target.folder.iterdir())


def test_a_pinned_checksum_of_another_kind_is_verified_too(target: Target):
    target.fetch(checksum=digest("sha256", CONTENT))
    assert target.file.read_bytes() == CONTENT
    target.file.unlink()
    target.folder.joinpath("a.h5.json").unlink()
    expected = digest("sha256", b"other")
    assert f"found, expected {expected}" in target.refused(checksum=expected)


def test_a_pinned_checksum_that_the_record_contradicts_is_refused_before_the_download(target: Target):
    expected, found = digest("md5", b"other"), digest("md5", CONTENT)
    assert target.refused(checksum=expected) == (
        f"{target.server.url}/api/records/123: checksum {found} of a.h5 found, "
        f"expected {expected} as the configuration says"
    )
    assert not target.server.downloads


@pytest.mark.parametrize(
    ("stated", "lengths", "message"),
    [
        (CONTENT + b"x", True, "3000001 bytes found, expected the 3000002 of the record"),
        (CONTENT[:-1], True, "3000001 bytes found, expected the 3000000 of the record"),
        (CONTENT + b"x", False, "status 416 found, expected the bytes from 3000001 on, in 6 attempts"),
        (CONTENT[:-1], False, "more bytes found, expected the 3000000 of the record"),
    ],
    ids=["short", "long", "short_unstated", "long_unstated"],
)
def test_a_wrong_size_is_refused(target: Target, stated: bytes, lengths: bool, message: str):
    target.server.stated, target.server.lengths = stated, lengths
    assert target.refused() == f"{target.server.url}/moved: {message}"


def test_an_unknown_file_is_refused(target: Target):
    error = target.refused(name="b.h5")
    assert error == f"{target.server.url}/api/records/123: found no file 'b.h5', did you mean 'a.h5'?"


@pytest.mark.parametrize(
    ("service", "listing", "words"),
    [
        ("zenodo", b"<html>maintenance</html>", ["answer: Invalid JSON"]),
        ("zenodo", b'{"title": "restricted"}', ["files: Field required"]),
        ("zenodo", b'{"files": []}', ["files: ", "at least 1 item"]),
        ("zenodo", b'{"files": [{"key": "a.h5", "size": 1, "checksum": "crc:1"}]}', ["files.0.checksum: "]),
        ("mendeley", b'{"message": "not found"}', ["answer: Input should be a valid array"]),
        ("mendeley", b'[{"filename": "a.h5", "size": 3}]', ["0.content_details.size: Field required"]),
    ],
)
def test_another_answer_than_a_record_is_refused(target: Target, service, listing, words):
    target.server.listing = listing
    error = target.refused(service=service)
    assert error.startswith(f"{target.server.url}/")
    assert error.endswith(", expected the files of a record")
    for word in words:
        assert word in error


def test_only_http_is_fetched(target: Target):
    listing = json.loads(target.server.list_files("/api/records/123"))
    listing["files"][0]["links"]["self"] = "file:///etc/hostname"
    target.server.listing = json.dumps(listing).encode()
    assert target.refused().startswith("file:///etc/hostname: No connection adapters")


def test_a_disk_without_room_is_refused_before_the_download(target: Target, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=2_000_000)
    monkeypatch.setattr("caloforge.fetch.shutil.disk_usage", lambda _: usage)
    assert target.refused() == (f"{target.file}: 0.002 GB free on the disk found, expected 0.003 GB")
    assert not target.part.exists()


def test_a_disk_that_fills_up_is_one_error_and_the_part_stays(target: Target):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, before[1]))
    try:
        error = target.refused()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert error == f"{target.file}: cannot be written: File too large"
    assert target.part.read_bytes() == CONTENT[:2_000_000]
    target.fetch()
    assert target.server.sent[-1] == (2_000_000, 3_000_001)


# ---- what a configuration may say


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"doi": "10.1000/182"}, "expected 10.5281/zenodo.<number> or"),
        ({"doi": "10.17632/abc1def2gh"}, "10.17632/<name>.<version>"),
        ({"server": "ftp://mirror.org"}, "server"),
        ({"server": "https://name:word@mirror.org"}, "server"),
        ({"files": {}}, "at least 1 item"),
        ({"files": {"../a.h5": None}}, "without folders"),
        ({"files": {"b/a.h5": None}}, "without folders"),
        ({"files": {"b\\a.h5": None}}, "without folders"),
        ({"files": {"..": None}}, "without folders"),
        ({"files": {".a": None}}, "without folders"),
        ({"files": {"a{b}": None}}, "without folders"),
        ({"files": {"a*": None}}, "without folders"),
        ({"files": {"a": None, "a.json": None}}, "both a and a.json"),
        ({"files": {"a.h5": "md5:123"}}, "checksum|pattern"),
    ],
)
def test_a_download_that_cannot_be_is_refused(change: dict, message: str):
    with pytest.raises(ValueError, match=message):
        Download.model_validate({"doi": DOIS["zenodo"], "files": {"a.h5": None}} | change)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("downloads/calo/b.h5", ["downloads/calo/b.h5"]),
        ("./downloads/calo/b.h5", ["downloads/calo/b.h5"]),
        ("downloads/calo/*.h5", ["downloads/calo/a.h5", "downloads/calo/b.h5", "downloads/calo/c.h5"]),
        ("downloads/*/b.*", ["downloads/calo/b.h5"]),
        ("*.h5", []),
        ("downloads/calo/d.h5", []),
    ],
)
def test_files_that_can_be_fetched_count_as_present(
    tmp_path: Path, monkeypatch, pattern: str, expected: list
):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "downloads/calo"
    folder.mkdir(parents=True)
    for name in ("a.h5", "c.h5", ".b.h5.part"):
        folder.joinpath(name).touch()
    remote = Download(doi=DOIS["zenodo"], files={"a.h5": None, "b.h5": None}).remote_files("calo")
    dataset = DatasetSettings.model_validate(
        DATASET | {"source": {"format": "arrays", "files": [pattern], "cells": "x"}}
    )
    assert source_files(dataset, remote) == expected


# ---- the page of public data sets

CALOGAN = {"energy": (1,), "layer_0": (3, 96), "layer_1": (12, 12), "layer_2": (12, 6), "overflow": (3,)}
PRIMARIES = dict.fromkeys(["x0", "y0", "z0", "t0", "px", "py", "pz"], (1,))
LAYOUTS = {
    "calogan_eplus": CALOGAN,
    "calogan_variable_eplus": CALOGAN | PRIMARIES,
    "calochallenge_1_photons": {"incident_energies": (1,), "showers": (368,)},
    "calochallenge_1_pions": {"incident_energies": (1,), "showers": (533,)},
    "calochallenge_2": {"incident_energies": (1,), "showers": (6480,)},
    "calochallenge_3": {"incident_energies": (1,), "showers": (40500,)},
}
"""Keys and shapes per event of the published files."""


def documented() -> dict:
    """All YAML examples of the page as one configuration."""
    page = (Path(__file__).parents[2] / "docs/public-data.md").read_text()
    config: dict = {"downloads": {}, "datasets": {}}
    for block in re.findall(r"^```yaml\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL):
        for part, entries in yaml.safe_load(block).items():
            config[part] |= entries
    return config


def test_every_documented_data_set_has_a_layout():
    assert documented()["datasets"].keys() == LAYOUTS.keys()


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_documented_data_set_is_ingested_from_documented_files(tmp_path: Path, monkeypatch, name: str):
    monkeypatch.chdir(tmp_path)
    config = documented()
    remote = {
        path: file
        for download, settings in config["downloads"].items()
        for path, file in Download.model_validate(settings).remote_files(download).items()
    }
    settings = DatasetSettings.model_validate(config["datasets"][name])
    files = source_files(settings, remote)
    assert files
    rng, values = np.random.default_rng(2), {}
    for number, file in enumerate(files):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(file, "w") as written:
            for key, shape in LAYOUTS[name].items():
                values[number, key] = written[key] = rng.uniform(0.1, 0.9, (60, *shape))
            for key, energy in {"energy": 50, "incident_energies": 50_000}.items():
                if key in written:
                    written[key][:] = energy
    outputs = {split: tmp_path / f"{split}.h5" for split in ("train", "val", "test")}
    ingest(
        settings, name=name, files=[Path(file) for file in files], record=tmp_path / "ingest.json", **outputs
    )
    keys = [key for key in LAYOUTS[name] if key == "showers" or key.startswith("layer_")]
    for path in outputs.values():
        with h5py.File(path) as canonical:
            for event, cells in zip(canonical["event"], canonical["showers"], strict=True):
                number, row = divmod(event, 60)
                expected = np.concatenate([values[number, key][row].ravel() for key in keys])
                np.testing.assert_array_equal(cells, expected.astype(np.float32))
            assert set(canonical["incident_energies"][:, 0]) == {50_000}
            assert set(canonical["conditions/energy"]) == {50}
            assert canonical["conditions/energy"].attrs["unit"] == "GeV"
