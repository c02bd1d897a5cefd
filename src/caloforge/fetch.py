"""Files of public records: found by DOI, downloaded with patience, verified."""

import functools
import hashlib
import logging
import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Annotated, TypeVar

import requests
import urllib3
from pydantic import (
    AliasPath,
    BaseModel,
    BeforeValidator,
    Field,
    NonNegativeInt,
    TypeAdapter,
    ValidationError,
)

from caloforge.atomic import write_json
from caloforge.config.base import nearest
from caloforge.config.downloads import MENDELEY_DATA, ZENODO, Checksum, RemoteFile
from caloforge.errors import CaloforgeError
from caloforge.progress import Progress
from caloforge.provenance import code_version, recorded

logger = logging.getLogger(__name__)
T = TypeVar("T")

ATTEMPTS = 6
"""So many failures in a row, none of which brought a byte, end a fetch."""
LONGEST_WAIT_S = 600
"""Longest wait before another attempt, whatever the server asks for [s]."""
_TIMEOUT_S = (30, 60)  # to connect, and between two portions of an answer
_PORTION_BYTES = 1 << 18
_LISTING_BYTES = 16 << 20


def fetch(settings: RemoteFile, *, file: Path, record: Path) -> None:
    """Download a file of a public record, or what is missing of it.

    What has arrived stays in `.<file>.part` after a failure or a kill, and the next fetch goes on from there
    as long as record and server still have the same file. `file` appears when size and checksum are right.

    Parameters
    ----------
    settings
        Where the file comes from.
    file
        File to write, called as in the record.
    record
        Record of the stage to write (JSON).

    Raises
    ------
    CaloforgeError
        If the service does not know the record or the file or stays out of reach, if it sends something else
        than the record states or than the settings pin, or if the disk has no room.
    """
    with (
        recorded(
            record, stage="fetch", inputs=(), outputs=[file], settings=settings.model_dump(mode="json")
        ) as facts,
        requests.Session() as session,
    ):
        session.headers["User-Agent"] = f"caloforge/{code_version()['caloforge']}"
        session.headers["Accept-Encoding"] = "identity"
        published = _find(session, settings, file.name)
        part = _Part(file, published)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            _patiently(lambda: _complete(session, part), part.arrived)
            part.verify({published.checksum, settings.checksum or published.checksum})
            part.finish()
        except OSError as error:
            raise CaloforgeError(f"{file}: cannot be written: {error.strerror or error}") from error
        facts |= published.model_dump(include={"url", "size", "checksum"})
        facts["fetched"] = datetime.now(UTC).isoformat(timespec="seconds")


# ---- what a record holds


class _Published(BaseModel):
    """A file as the service describes it; its size is in bytes."""

    name: str
    size: NonNegativeInt
    checksum: Checksum
    url: str


class _ZenodoFile(_Published):
    name: str = Field(validation_alias="key")
    url: str = Field(validation_alias=AliasPath("links", "self"))


class _ZenodoRecord(BaseModel):
    files: list[_ZenodoFile] = Field(min_length=1)


class _MendeleyFile(_Published):
    name: str = Field(validation_alias="filename")
    size: NonNegativeInt = Field(validation_alias=AliasPath("content_details", "size"))
    checksum: Annotated[Checksum, BeforeValidator("sha256:{}".format)] = Field(
        validation_alias=AliasPath("content_details", "sha256_hash")
    )
    url: str = Field(validation_alias=AliasPath("content_details", "download_url"))


def _zenodo_files(listing: bytes) -> list[_ZenodoFile]:
    return _ZenodoRecord.model_validate_json(listing).files


_mendeley_files = TypeAdapter(Annotated[list[_MendeleyFile], Field(min_length=1)]).validate_json


def _find(session: requests.Session, settings: RemoteFile, name: str) -> _Published:
    """The file `name` of the record, which has the checksum that the settings pin.

    The layouts are those of the public APIs of the services: Zenodo answers with an object whose `files`
    have `key`, `size`, `checksum` and `links.self` (developers.zenodo.org, REST API, Records); Mendeley Data
    lists the files in the root folder of a version with `filename` and `content_details`, which has `size`,
    `sha256_hash` and `download_url` (data.mendeley.com, public API of data sets).
    """
    if zenodo := ZENODO.fullmatch(settings.doi):
        read_files = _zenodo_files
        url = f"{settings.server or 'https://zenodo.org'}/api/records/{zenodo['id']}"
    else:
        mendeley = MENDELEY_DATA.fullmatch(settings.doi)
        read_files = _mendeley_files
        url = (
            f"{settings.server or 'https://data.mendeley.com'}/public-api/datasets/{mendeley['id']}/files"
            f"?folder_id=root&version={mendeley['version']}"
        )
    listing = _patiently(lambda: _read(session, url))
    try:
        files = {file.name: file for file in read_files(listing)}
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"])) or "answer"
        raise CaloforgeError(f"{url}: {place}: {problem['msg']}, expected the files of a record") from None
    if name not in files:
        raise CaloforgeError(f"{url}: found no file {name!r}, {nearest(name, files)}")
    published = files[name]
    pinned = settings.checksum or published.checksum
    if _algorithm(pinned) == _algorithm(published.checksum) and pinned != published.checksum:
        raise CaloforgeError(
            f"{url}: checksum {published.checksum} of {name} found, "
            f"expected {pinned} as the configuration says"
        )
    return published


def _algorithm(checksum: str) -> str:
    return checksum.partition(":")[0]


# ---- what has arrived


class _Origin(BaseModel):
    """What a part is a part of: its checksum in the record, and what tells the server that it is the same."""

    checksum: str
    validator: str | None


@dataclass(frozen=True)
class _Part:
    """The beginning of `file`, in a file of its own with its origin as JSON beside it."""

    file: Path
    published: _Published

    @property
    def path(self) -> Path:
        return self.file.with_name(f".{self.file.name}.part")

    @property
    def origin_path(self) -> Path:
        return self.file.with_name(f".{self.file.name}.part.json")

    def origin(self) -> _Origin | None:
        """The origin, if the published file is that."""
        try:
            origin = _Origin.model_validate_json(self.origin_path.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        return origin if origin.checksum == self.published.checksum else None

    def arrived(self) -> int:
        """Number of bytes of the published file that are here."""
        size = self.path.stat().st_size if self.origin() and self.path.is_file() else 0
        return size if size <= self.published.size else 0

    def begin(self, validator: str | None) -> None:
        """Start anew, with what the server calls by `validator`."""
        self.discard()
        write_json(
            self.origin_path, _Origin(checksum=self.published.checksum, validator=validator).model_dump()
        )

    def verify(self, checksums: set[str]) -> None:
        """Refuse and discard the whole file if it has not all the `checksums`."""
        for expected in checksums:
            new = functools.partial(hashlib.new, _algorithm(expected), usedforsecurity=False)
            with self.path.open("rb") as content:
                found = f"{_algorithm(expected)}:{hashlib.file_digest(content, new).hexdigest()}"
            if found != expected:
                self.discard()
                raise CaloforgeError(
                    f"{self.file}: checksum {found} found, expected {expected}; the download is discarded"
                )

    def finish(self) -> None:
        self.path.replace(self.file)
        self.discard()

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.origin_path.unlink(missing_ok=True)


def _complete(session: requests.Session, part: _Part) -> None:
    """Fetch in one request what is missing of a part, or everything where the server has another file."""
    published, origin, done = part.published, part.origin(), part.arrived()
    if part.path.is_file() and origin and done == published.size:
        return
    headers = {"Range": f"bytes={done}-"} if done else {}
    if done and origin.validator:
        headers["If-Range"] = origin.validator
    with _answer(session, published.url, headers) as response:
        if response.status_code == requests.codes.ok:
            done = 0
        elif not done or not response.headers.get("Content-Range", "").startswith(f"bytes {done}-"):
            part.discard()
            raise _PassingError(
                f"{published.url}: status {response.status_code} found, expected the bytes from {done} on"
            )
        missing, coming = published.size - done, response.raw.length_remaining
        if coming not in (missing, None):
            raise CaloforgeError(
                f"{published.url}: {done + coming} bytes found, expected the {published.size} of the record"
            )
        if not done:
            part.begin(_validator(response))
        free = shutil.disk_usage(part.path.parent).free
        if free < missing:
            raise CaloforgeError(
                f"{part.file}: {free / 1e9:.3g} GB free on the disk found, expected {missing / 1e9:.3g} GB"
            )
        with (
            part.path.open("ab") as output,
            Progress(f"{published.name} [MB]", published.size / 1e6) as progress,
        ):
            for portion in iter(lambda: response.raw.read1(_PORTION_BYTES, decode_content=False), b""):
                done += len(portion)
                if done > published.size:
                    raise CaloforgeError(
                        f"{published.url}: more bytes found, expected the {published.size} of the record"
                    )
                output.write(portion)
                progress.update(done / 1e6, {})
    if done < published.size:
        raise _PassingError(f"{published.url}: ended after {done} of {published.size} bytes")


def _validator(response: requests.Response) -> str | None:
    """What `If-Range` may say of this content: a strong ETag or a date (RFC 9110, section 13.1.5)."""
    etag = response.headers.get("ETag", "W/")
    return response.headers.get("Last-Modified") if etag.startswith("W/") else etag


# ---- requests, and what to do when they fail


class _PassingError(Exception):
    """Another attempt may go well; not before `wait_s` seconds, where the server says so."""

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


def _patiently(action: Callable[[], T], arrived: Callable[[], int] = lambda: 0) -> T:
    """Act until it goes well, or fails `ATTEMPTS` times in a row while no new bytes `arrived`."""
    most, failures = arrived(), 0
    while True:
        try:
            return action()
        except _PassingError as error:
            if arrived() > most:
                most, failures = arrived(), 0
            failures += 1
            if failures == ATTEMPTS:
                raise CaloforgeError(f"{error}, in {ATTEMPTS} attempts") from None
            wait_s = error.wait_s if error.wait_s is not None else 2**failures * random.uniform(0.5, 1)
            wait_s = min(max(wait_s, 0), LONGEST_WAIT_S)
            logger.warning("%s; another attempt in %.0f s", error, wait_s)
            time.sleep(wait_s)


def _read(session: requests.Session, url: str) -> bytes:
    with _answer(session, url) as response:
        return response.raw.read(_LISTING_BYTES, decode_content=True)


@contextmanager
def _answer(
    session: requests.Session, url: str, headers: dict[str, str] | None = None
) -> Iterator[requests.Response]:
    """The answer of a server that has what is asked for: status 200, 206 or 416; its body may break off."""
    try:
        response = session.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S)
    except (requests.ConnectionError, requests.Timeout) as error:
        raise _PassingError(f"{url}: {_reason(error)}") from None
    except OSError as error:
        raise CaloforgeError(f"{url}: {error}") from None
    with response:
        status = f"{url}: status {response.status_code} {response.reason} found"
        if response.status_code in (408, 429) or response.status_code >= 500:
            raise _PassingError(status, _retry_after_s(response))
        if response.status_code not in (200, 206, 416):
            raise CaloforgeError(f"{status}, expected 200 OK")
        try:
            yield response
        except urllib3.exceptions.HTTPError as error:
            raise _PassingError(f"{url}: {_reason(error)}") from None


def _retry_after_s(response: requests.Response) -> float | None:
    """Seconds until the server wants to be asked again: a number or a date (RFC 9110, section 10.2.3)."""
    text = response.headers.get("Retry-After", "")
    if text.isdecimal():
        return float(text)
    try:
        return (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return None


def _reason(error: BaseException) -> str:
    """What an error of the network comes down to; libraries wrap it several times."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
