"""The configuration that results were made with, put together from their records."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from caloforge.config.dataset import COMBINATION_KEYS
from caloforge.errors import CaloforgeError
from caloforge.reproduction.records import Record


def configuration(chain: Sequence[Record]) -> dict[str, Any]:
    """What config.yaml must say so that the workflow makes what the records are of, and little else.

    Parameters
    ----------
    chain
        Records of the results, and of everything that they follow from.

    Raises
    ------
    CaloforgeError
        If records contradict one another, which those of one configuration do not, or one is missing that a
        training or a data set must have.
    """
    written = _Written()
    runs = _Runs()
    for record in chain:
        _take(record, written, runs)
    for record in chain:
        if record.content.stage == "report":
            runs.order_as(record.content.settings["runs"])
            written.put(("report", "title"), record.content.settings["title"], record)
    config = written.content
    for record in chain:
        if record.content.stage == "search":
            # The model of a run goes first: the same trials follow from it.
            settings = record.content.settings
            config["models"].setdefault(settings["search"]["model"], settings["model"])
    for run in runs.all:
        for name in (run["dataset"], *run["apply_to"]):
            _require(config["datasets"], name, f"results/{name}/data/ingest.json")
        seed = f"seed{run['seeds'][0]}"
        _require(config["models"], run["model"], f"results/{run['dataset']}/{run['model']}/{seed}/train.json")
    tested = {name for run in runs.all for name in (run["dataset"], *run["apply_to"])}
    drawn = {record.place[0] for record in chain if record.content.stage == "draw_dataset"}
    shown = [name for name in config["datasets"] if name not in tested and (name in drawn or not tested)]
    config["report"] = {**config.get("report", {}), "datasets": shown}
    return config | {"runs": runs.all}


def _require(entries: Mapping[str, Any], name: str, record: str) -> None:
    if name not in entries:
        raise CaloforgeError(f"{record}: found no such record, expected that of what the result follows from")


class _Written:
    """A configuration that grows record by record; `content` is what it says."""

    def __init__(self) -> None:
        self.content: dict[str, Any] = {"datasets": {}, "models": {}, "baselines": []}
        self._sources: dict[tuple[str, ...], str] = {}

    def put(self, path: tuple[str, ...], value: Any, record: Record) -> None:
        """Write a value under a path of keys, where no record may have said anything else."""
        place = self.content
        for key in path[:-1]:
            place = place.setdefault(key, {})
        if place.get(path[-1], value) != value:
            raise CaloforgeError(
                f"{record.path}: made with another {'.'.join(path)} than {self._sources[path]}: no one "
                "configuration makes both; reproduce one after the other"
            )
        place[path[-1]] = value
        self._sources[path] = record.path


class _Runs:
    """Runs that grow record by record."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, str], dict[str, Any]] = {}

    @property
    def all(self) -> list[dict[str, Any]]:
        """As the configuration lists them."""
        return list(self._runs.values())

    def of(self, place: tuple[str, ...]) -> dict[str, Any]:
        """The run with results at this place, `<data set>/<model>/seed<n>`, which has this seed then."""
        dataset, model, seed, *_ = place
        run = self._runs.setdefault(
            (dataset, model), {"dataset": dataset, "model": model, "seeds": [], "label": "", "apply_to": []}
        )
        number = int(seed.removeprefix("seed"))
        run["seeds"] = list(dict.fromkeys([*run["seeds"], number]))
        return run

    def order_as(self, reported: Iterable[Mapping[str, Any]]) -> None:
        """Put runs, seeds and other data sets in the order of a report."""
        ordered: dict[tuple[str, str], dict[str, Any]] = {}
        for each in reported:
            key = each["dataset"], each["model"]
            if key in self._runs:
                run = ordered.setdefault(key, self._runs[key] | {"seeds": [], "apply_to": []})
                for name, value in (("seeds", each["seed"]), ("apply_to", each["applied_to"])):
                    if value is not None and value not in run[name]:
                        run[name].append(value)
        self._runs = ordered | {key: run for key, run in self._runs.items() if key not in ordered}


def _take(record: Record, written: _Written, runs: _Runs) -> None:
    """Write what a record says of the configuration."""
    settings, place = record.content.settings, record.place
    is_run = len(place) > 2 and place[2].startswith("seed")
    match record.content.stage:
        case "fetch":
            folder, name = PurePath(record.path).parts[1], PurePath(record.path).name.removesuffix(".json")
            for key in ("doi", "server"):
                written.put(("downloads", folder, key), settings[key], record)
            checksum = settings["checksum"] or record.get("checksum")
            written.put(("downloads", folder, "files", name), checksum, record)
        case "ingest":
            written.put(("datasets", place[0]), settings, record)
        case "combine":
            own = {key: settings[key] for key in COMBINATION_KEYS}
            written.put(("datasets", place[0]), own, record)
        case "train":
            written.put(("models", place[1]), settings, record)
            runs.of(place)
            if record.get("jets"):
                written.put(("jets",), record.get("jets"), record)
        case "observe" if "jets" in settings:
            written.put(("jets",), settings["jets"], record)
        case "sample":
            kinds = {key: settings[key] for key in ("grid", "traversals")}
            plain = {key: value for key, value in settings.items() if key not in kinds}
            written.put(("sampling",), plain, record)
            runs.of(place).update({key: value for key, value in kinds.items() if value})
            _apply(record, runs)
        case "reconstruct":
            written.put(("sampling",), settings, record)
        case "time_generation":
            written.put(("timing",), settings, record)
        case "baseline":
            if place[2] not in written.content["baselines"]:
                written.content["baselines"].append(place[2])
            written.put(("evaluation", "seed"), record.content.seed, record)
        case "evaluate":
            for key, value in settings["evaluation"].items():
                written.put(("evaluation", key), value, record)
            written.put(("figures",), settings["figures"], record)
            if is_run:
                runs.of(place)["label"] = settings["label"]
        case "summarise_search":
            written.put(("searches", place[1]), settings["search"], record)
            written.put(("figures",), settings["figures"], record)
        case "draw_dataset" | "draw_timing" | "compare":
            written.put(("figures",), settings["figures"], record)


def _apply(record: Record, runs: _Runs) -> None:
    """Note that a model was asked for another data set."""
    other = record.place[-1].removeprefix("on_")
    run = runs.of(record.place)
    if record.place[-1].startswith("on_") and other not in run["apply_to"]:
        run["apply_to"].append(other)
