"""The real workflow fetches a file of a public record, here from a server in this process, and ingests it."""

import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest
from analysis import SAMPLES, Analysis

NAME = "lhcb_ecal_e-_000.root"
CONTENT = (SAMPLES / NAME).read_bytes()
FILE = f"downloads/lhcb/{NAME}"
INGEST = "results/ecal/data/ingest.json"


@dataclass
class Record:
    """What the server was asked for, and where it halts: after so many bytes of the file, until `go_on`."""

    asked: list[str] = field(default_factory=list)
    halt_at: int | None = None
    go_on: Event = field(default_factory=Event)


class Handler(BaseHTTPRequestHandler):
    record: Record

    def do_GET(self) -> None:
        first = int(self.headers.get("Range", "bytes=0-")[len("bytes=") : -1])
        self.record.asked.append(f"{self.path} {first}")
        body = CONTENT if self.path == "/content" else self.listing()
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(body) - first))
        self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        self.wfile.write(body[first : self.record.halt_at])
        if self.path == "/content" and self.record.halt_at:
            self.record.go_on.wait(60)

    def listing(self) -> bytes:
        file = {
            "key": NAME,
            "size": len(CONTENT),
            "checksum": f"md5:{hashlib.md5(CONTENT).hexdigest()}",
            "links": {"self": f"http://127.0.0.1:{self.server.server_port}/content"},
        }
        return json.dumps({"files": [file]}).encode()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def record(fresh: Analysis) -> Iterator[Record]:
    """A record with the source file of the configuration."""
    record = Record()
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"record": record}))
    thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    server = f"http://127.0.0.1:{http.server_port}"
    config = fresh.config
    config["downloads"] = {"lhcb": {"doi": "10.5281/zenodo.42", "server": server, "files": {NAME: None}}}
    config["datasets"]["ecal"]["source"]["files"] = ["downloads/lhcb/*.root"]
    fresh.configure(config)
    yield record
    http.shutdown()
    thread.join()
    http.server_close()


def test_a_file_of_a_record_is_fetched_and_ingested_once(fresh: Analysis, record: Record):
    assert {"fetch": 1, "ingest": 1}.items() <= fresh.planned().items()
    assert not record.asked

    fresh.make(INGEST)
    assert record.asked == ["/api/records/42 0", "/content 0"]
    assert (fresh.path / FILE).read_bytes() == CONTENT
    inputs = json.loads((fresh.path / INGEST).read_text())["inputs"]
    assert inputs == {FILE: hashlib.sha256(CONTENT).hexdigest()}

    assert "Nothing to be done" in fresh.make(INGEST)
    assert len(record.asked) == 2


def test_a_file_that_is_there_is_not_fetched(fresh: Analysis, record: Record):
    (fresh.path / FILE).parent.mkdir(parents=True)
    (fresh.path / FILE).write_bytes(CONTENT)
    fresh.make(INGEST)
    assert not record.asked


def test_a_file_of_another_record_is_fetched_anew_unless_accepted(fresh: Analysis, record: Record):
    fresh.make(FILE)
    config = fresh.config
    config["downloads"]["lhcb"]["doi"] = "10.5281/zenodo.43"
    fresh.configure(config)
    assert "rule fetch" in fresh.make("--dry-run", FILE)
    fresh.make("--touch", FILE)
    assert "Nothing to be done" in fresh.make("--dry-run", FILE)


def test_a_killed_workflow_goes_on_with_the_rest_of_a_file(fresh: Analysis, record: Record):
    record.halt_at = 300_000
    part = fresh.path / f"downloads/lhcb/.{NAME}.part"
    workflow = subprocess.Popen(
        **fresh.command(FILE), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size > 250_000) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(workflow.pid, signal.SIGKILL)
    workflow.wait()
    record.go_on.set()
    arrived = part.stat().st_size
    assert 250_000 < arrived <= 300_000

    record.halt_at = None
    fresh.make("--unlock")
    fresh.make(FILE)
    assert (fresh.path / FILE).read_bytes() == CONTENT
    assert record.asked[1::2] == ["/content 0", f"/content {arrived}"]


def test_a_wrong_checksum_is_one_error_and_leaves_no_file(fresh: Analysis, record: Record):
    config = fresh.config
    config["downloads"]["lhcb"]["files"] = {NAME: f"sha256:{hashlib.sha256(b'other').hexdigest()}"}
    fresh.configure(config)
    status, output = fresh.snakemake(FILE)
    assert status == 1
    log = (fresh.path / f"logs/fetch/lhcb/{NAME}.log").read_text()
    (error,) = [line for line in log.splitlines() if line.startswith("error: ")]
    assert error.startswith(f"error: {FILE}: checksum sha256:")
    assert "Traceback" not in output
    assert not list(fresh.path.glob("downloads/**/*.*"))


def test_a_file_that_no_download_declares_is_not_there(fresh: Analysis, record: Record):
    config = fresh.config
    config["datasets"]["ecal"]["source"]["files"] = ["downloads/lhcb/other.root"]
    fresh.configure(config)
    status, output = fresh.snakemake("--dry-run")
    assert status == 1
    assert "files.0: found 'downloads/lhcb/other.root', which matches no file in" in output
