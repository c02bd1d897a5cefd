"""Public records whose files the workflow fetches."""

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from caloforge.config.base import Settings

ZENODO = re.compile(r"10\.5281/zenodo\.(?P<id>[0-9]+)")
MENDELEY_DATA = re.compile(r"10\.17632/(?P<id>[0-9a-z]+)\.(?P<version>[0-9]+)")


def _known(doi: str) -> str:
    if not (ZENODO.fullmatch(doi) or MENDELEY_DATA.fullmatch(doi)):
        raise ValueError(
            f"found {doi!r}, expected 10.5281/zenodo.<number> or 10.17632/<name>.<version> (Mendeley Data)"
        )
    return doi


def _plain_name(name: str) -> str:
    if not re.fullmatch(r"\w[\w.+=,@ -]*", name):
        raise ValueError(
            f"found {name!r}, expected the name of a file of the record, without folders: "
            "letters, digits and any of _ . + = , @ - and spaces, a letter or digit first"
        )
    return name


Doi = Annotated[str, AfterValidator(_known)]
Server = Annotated[str, Field(pattern=r"^https?://[^\s@]*[^\s@/]$")]
FileName = Annotated[str, AfterValidator(_plain_name)]
Checksum = Annotated[str, Field(pattern=r"^(md5:[0-9a-f]{32}|sha256:[0-9a-f]{64})$")]


class _Record(Settings):
    doi: Doi = Field(description="of a version of a record of Zenodo or Mendeley Data")
    server: Server | None = Field(
        default=None,
        description="address of a mirror with the API of the service; null for the service itself",
    )


class RemoteFile(_Record):
    """Where a file comes from."""

    checksum: Checksum | None = Field(
        default=None, description="`md5:…` or `sha256:…`; null for the one that the record states"
    )


class Download(_Record):
    """Files of a public record."""

    files: dict[FileName, Checksum | None] = Field(
        min_length=1,
        description="names of the files, each with its checksum, `md5:…` or `sha256:…`, "
        "or null for the one that the record states",
    )

    @model_validator(mode="after")
    def _names_leave_room_for_records(self) -> Self:
        for name in self.files:
            if f"{name}.json" in self.files:
                raise ValueError(
                    f"found both {name} and {name}.json, expected one: the record of {name} is so called"
                )
        return self

    def remote_files(self, name: str) -> dict[str, RemoteFile]:
        """Where each file comes from, by its path; `name` is that of the download."""
        return {
            f"downloads/{name}/{file}": RemoteFile(doi=self.doi, server=self.server, checksum=checksum)
            for file, checksum in self.files.items()
        }
