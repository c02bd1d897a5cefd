"""A finished run described for machines: a Workflow Run RO-Crate.

`ro-crate-metadata.json` in results/ follows RO-Crate 1.1 (https://w3id.org/ro/crate/1.1) and its profiles for
runs of workflows (https://w3id.org/ro/wfrun): the workflow with its configuration, an action for the whole
execution and one for each stage, with what went in and came out, when, and which code and libraries did it.
"""

import mimetypes
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from caloforge.atomic import atomic_path, write_json, write_text
from caloforge.errors import CaloforgeError
from caloforge.provenance import code_version
from caloforge.reproduction.configuration import configuration
from caloforge.reproduction.differences import code_text, differences
from caloforge.reproduction.instructions import CHECKOUT
from caloforge.reproduction.records import RESULTS, Record, Tree, tree_with

METADATA = "ro-crate-metadata.json"
_ENCLOSED = "ro-crate"
"""Folder in results/ with workflow and configuration; no data set may be called so."""
_CRATE = "https://w3id.org/ro/crate/1.1"
_CONTEXTS = [f"{_CRATE}/context", "https://w3id.org/ro/terms/workflow-run/context"]
_RUNS = "https://w3id.org/ro/wfrun"
_PROFILES = {
    f"{_RUNS}/process/0.5": "Process Run Crate",
    f"{_RUNS}/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
_WORKFLOW = f"{_ENCLOSED}/Snakefile"
_CONFIGURATION = f"{_ENCLOSED}/config.yaml"
_MEDIA_TYPES = {
    ".h5": "application/x-hdf5",
    ".pt": "application/octet-stream",
    ".root": "application/octet-stream",
    ".yaml": "application/yaml",
}


def write_crate(results: Path, *, license: str | None = None) -> Path:
    """Make results/ of a finished run an RO-Crate; what is there stays as it is.

    Everything that the report shows is described, and whatever else is in the folders of its runs. Source
    files are named with their digests and are no part of the crate.

    Parameters
    ----------
    results
        The folder `results` of a working directory.
    license
        Address of the licence that the results have.

    Returns
    -------
    The file that describes them, `ro-crate-metadata.json`.

    Raises
    ------
    CaloforgeError
        If there is no report, a result is not as recorded, or the workflow is not beside the library.
    """
    tree = tree_with(results)
    chain = _described(tree)
    _require_as_recorded(tree, chain)
    root = tree.root / RESULTS
    _enclose(root, configuration(chain))
    graph = _Graph(root)
    instruments = {record.path: _instrument(graph, record) for record in chain}
    actions = [_action(graph, tree, record, instruments[record.path]) for record in chain]
    _add_workflow(graph)
    actions.append(_add_execution(graph, chain))
    _add_root(graph, chain, actions, license)
    path = root / METADATA
    write_json(path, {"@context": _CONTEXTS, "@graph": graph.entities})
    return Path(os.path.relpath(path))


def _described(tree: Tree) -> list[Record]:
    """Records of the report, of all it follows from, and of what else is in the folders of its runs."""
    report = tree.root / RESULTS / "report"
    if not report.exists():
        raise CaloforgeError(f"{report}: no such folder, expected the report of a finished run")
    reported = tree.upstream(tree.of(report))
    runs = {record.place[:3] for record in reported if record.content.stage == "train"}
    return tree.upstream(record for record in tree.records if record in reported or record.place[:3] in runs)


def _require_as_recorded(tree: Tree, chain: Sequence[Record]) -> None:
    changed = [
        found
        for found in differences(tree, (), chain)
        if found.matters and (tree.root / found.what).is_relative_to(tree.root / RESULTS)
    ]
    if changed:
        first = changed[0]
        raise CaloforgeError(
            f"{first.what}: {first.now} found, expected {first.recorded} as {first.records[0]} says; "
            "run the workflow to its end first"
        )


def _enclose(root: Path, config: Mapping[str, Any]) -> None:
    """Copy the workflow into the crate, and write the configuration that the records have."""
    if not (CHECKOUT / "Snakefile").is_file():
        raise CaloforgeError(
            f"{CHECKOUT / 'Snakefile'}: no such file, expected the workflow beside the library"
        )
    with atomic_path(root / _ENCLOSED) as folder:
        shutil.copytree(
            CHECKOUT / "workflow", folder / "workflow", ignore=shutil.ignore_patterns("__pycache__")
        )
        shutil.copy(CHECKOUT / "Snakefile", folder)
        write_text(folder / "config.yaml", yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))


class _Graph:
    """Entities by their identifier."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._entities: dict[str, dict[str, Any]] = {}

    @property
    def entities(self) -> list[dict[str, Any]]:
        """All of them, the description itself and the root first."""
        first = (METADATA, "./")
        rest = sorted(identifier for identifier in self._entities if identifier not in first)
        return [self._entities[identifier] for identifier in (*first, *rest)]

    @property
    def parts(self) -> list[dict[str, str]]:
        """References to the files and folders of the crate, and to those on servers."""
        kinds = ("File", "Dataset")
        found = sorted(
            identifier
            for identifier, entity in self._entities.items()
            if any(kind in _listed(entity["@type"]) for kind in kinds) and identifier not in ("./", METADATA)
        )
        return [{"@id": identifier} for identifier in found]

    def of(self, identifiers: Iterable[str]) -> list[dict[str, Any]]:
        """The entities with these identifiers."""
        return [self._entities[identifier] for identifier in identifiers]

    def add(self, identifier: str, type: str | list[str], /, **properties: Any) -> dict[str, str]:
        """Add an entity, or properties to one; the reference to it."""
        single = {name: _alone(value) for name, value in properties.items()}
        known = {name: value for name, value in single.items() if value not in (None, [], "")}
        entity = self._entities.setdefault(identifier, {"@id": identifier, "@type": type})
        entity.update(known)
        return {"@id": identifier}

    def add_file(self, path: Path, type: str | list[str] = "File", **properties: Any) -> dict[str, str]:
        """Add a file or folder of the crate."""
        name = path.relative_to(self.root).as_posix()
        if path.is_dir():
            return self.add(f"{quote(name)}/", "Dataset", name=name, **properties)
        media_type = _MEDIA_TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "text/plain"
        size = str(path.stat().st_size)
        return self.add(
            quote(name), type, name=name, contentSize=size, encodingFormat=media_type, **properties
        )


def _listed(values: Any) -> list[Any]:
    return values if isinstance(values, list) else [values]


def _alone(value: Any) -> Any:
    """The only value of a list, which RO-Crate wants without the list."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _file(graph: _Graph, tree: Tree, file: str, digest: str | None) -> dict[str, str]:
    """A file that a stage read or made: part of the crate, on a server, or merely named."""
    path = tree.root / file
    if path.is_relative_to(graph.root) and path.exists():
        return graph.add_file(path, sha256=None if path.is_dir() else digest)
    if "://" in file:
        return graph.add(
            file, "File", name=Path(file).name, description="read from this address, not digested"
        )
    maker = tree.makers.get(file)
    if maker and maker.get("url"):
        return graph.add(maker.get("url"), "File", name=Path(file).name, sha256=digest)
    return graph.add(
        f"#file-{quote(file)}", "CreativeWork", name=file, sha256=digest, description="not part of the crate"
    )


def _instrument(graph: _Graph, record: Record) -> dict[str, str]:
    """The code and the libraries that a stage ran with."""
    code, libraries = record.content.code, record.content.libraries
    required = [
        graph.add(f"#{name}-{version}", "SoftwareApplication", name=name, softwareVersion=version)
        for name, version in libraries.items()
    ]
    environment = quote("+".join(f"{name}-{version}" for name, version in libraries.items()))
    return graph.add(
        f"#caloforge-{code.sources[:12]}+{environment}",
        "SoftwareApplication",
        name="caloforge",
        softwareVersion=code_text(**code.model_dump()),
        softwareRequirements=required,
    )


def _action(graph: _Graph, tree: Tree, record: Record, instrument: Mapping[str, str]) -> dict[str, str]:
    content = record.content
    record_file = _file(graph, tree, record.path, None)
    results = [_file(graph, tree, file, digest) for file, digest in content.outputs.items()]
    return graph.add(
        f"#{quote(record.path)}",
        "CreateAction",
        name=f"{content.stage}: {'/'.join(record.place)}",
        description=f"Settings, seed, libraries, machine and cost are in {record.path}",
        instrument=instrument,
        object=[_file(graph, tree, file, digest) for file, digest in content.inputs.items()],
        result=[*results, record_file],
        startTime=content.started,
        endTime=content.ended,
        actionStatus="http://schema.org/CompletedActionStatus",
    )


def _add_workflow(graph: _Graph) -> None:
    language = graph.add(
        "https://w3id.org/workflowhub/workflow-ro-crate#snakemake",
        "ComputerLanguage",
        name="Snakemake",
        identifier={"@id": "https://doi.org/10.1093/bioinformatics/bts480"},
        url={"@id": "https://snakemake.github.io"},
        version=metadata.version("snakemake"),
    )
    folder = graph.root / _ENCLOSED / "workflow"
    parts = [graph.add_file(path) for path in sorted(folder.rglob("*")) if path.is_file()]
    graph.add_file(
        graph.root / _WORKFLOW,
        ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
        description="Showers in, a report on generative models of them out",
        programmingLanguage=language,
        version=code_version()["caloforge"],
        hasPart=parts,
    )
    graph.add_file(graph.root / _CONFIGURATION, description="The configuration, as the records have it")


def _add_execution(graph: _Graph, chain: Sequence[Record]) -> dict[str, str]:
    """The whole run as one action."""
    entities = graph.of([f"#{quote(record.path)}" for record in chain])
    made = _unique(entities, "result")
    read = [each for each in _unique(entities, "object") if each not in made]
    return graph.add(
        "#execution",
        "CreateAction",
        name="Execution of the workflow",
        description="All stages together, from the source files to the report",
        instrument={"@id": _WORKFLOW},
        object=[{"@id": _CONFIGURATION}, *read],
        result=made,
        startTime=min(record.content.started for record in chain),
        endTime=max(record.content.ended for record in chain),
        actionStatus="http://schema.org/CompletedActionStatus",
    )


def _unique(entities: Iterable[Mapping[str, Any]], key: str) -> list[dict[str, str]]:
    references = (reference for entity in entities for reference in _listed(entity.get(key, [])))
    identifiers = {reference["@id"] for reference in references}
    return [{"@id": identifier} for identifier in sorted(identifiers)]


def _add_root(
    graph: _Graph, chain: Sequence[Record], actions: list[dict[str, str]], license: str | None
) -> None:
    (report,) = (record for record in chain if record.content.stage == "report")
    profiles = [
        graph.add(address, "CreativeWork", name=name, version=address.rpartition("/")[2])
        for address, name in _PROFILES.items()
    ]
    licence = graph.add(license, "CreativeWork", name=license) if license else "No licence is stated."
    graph.add(
        METADATA,
        "CreativeWork",
        about={"@id": "./"},
        conformsTo=[{"@id": _CRATE}, profiles[-1]],
    )
    graph.add(
        "./",
        "Dataset",
        name=report.content.settings["title"],
        description="Generated calorimeter showers beside full simulation: data, models, samples, scores",
        datePublished=report.content.ended,
        license=licence,
        conformsTo=profiles,
        mainEntity={"@id": _WORKFLOW},
        mentions=actions,
        hasPart=graph.parts,
    )
