"""Spaces, studies that jobs share, trials of a job, and what comes of them; trainings are stood in for."""

import csv
import json
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from caloforge.config.load import plain, validate
from caloforge.config.search import SearchSettings, nested, value_at, with_values
from caloforge.config.stages import FigureSettings
from caloforge.errors import CaloforgeError
from caloforge.models.conditional_wgan.settings import ConditionalWGANSettings
from caloforge.search import worker
from caloforge.search.results import summarise
from caloforge.search.scoring import objective
from caloforge.search.study import PrunedError, SharedStudy
from caloforge.search.trial import Trained, UndefinedError
from caloforge.search.worker import run_trials
from caloforge.training.loop import DivergedError, locked

MODEL = ConditionalWGANSettings(family="conditional_wgan")
RATE = {"learning_rate": {"low": "1e-5", "high": 1e-1, "log": True}}
SPACE = RATE | {
    "critic_steps": {"low": 1, "high": 6},
    "training.schedule": {"choices": ["constant", "cosine"]},
}


def search(**changes: Any) -> SearchSettings:
    return SearchSettings(**{"dataset": "ecal", "model": "gan", "trials": 6, "space": SPACE} | changes)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A small valid configuration with a search."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.root").touch()
    return {
        "datasets": {
            "ecal": {
                "source": {"format": "root_cells", "files": ["a.root"]},
                "geometry": {"name": "ECAL", "layers": [{"shape": [30, 30], "cell_size_mm": [20, 20]}]},
                "conditions": {"px": {"column": "px", "unit": "GeV"}, "pz": {"column": "pz", "unit": "GeV"}},
                "readout_threshold_MeV": 0.5,
            }
        },
        "models": {"gan": {"family": "conditional_wgan", "training": {"epochs": 5}}},
        "runs": [{"dataset": "ecal", "model": "gan", "seeds": [1]}],
        "searches": {"lr": {"dataset": "ecal", "model": "gan", "trials": 3, "space": dict(SPACE)}},
    }


class TestSpace:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"model": "gam"}, "model: found 'gam', did you mean 'gan'?"),
            ({"trials": 0}, "trials: found 0, expected greater than 0"),
            ({"objective": "mean_kss"}, "objective: found 'mean_kss', did you mean 'mean_ks'?"),
            ({"objective": "width.k"}, "objective: found 'width.k', did you mean 'ks'? after the observable"),
            (
                {"objective": "auc_trees"},
                "objective: found 'auc_trees', expected a classifier of evaluation.",
            ),
            ({"objective": "neighbour_ks"}, "objective: found 'neighbour_ks', expected another number"),
            ({"space": {}}, "space: found {}, expected "),
        ],
    )
    def test_problems_of_a_search_are_told(self, config: dict, changes: dict, message: str):
        config["searches"]["lr"] |= changes
        assert f"searches.lr.{message}" in self.refused(config)

    @pytest.mark.parametrize(
        ("path", "space", "message"),
        [
            ("learning_rat", {"low": 1, "high": 2}, ": unknown key, did you mean 'learning_rate'?"),
            ("batch_size", {"low": 1, "high": 2}, ": unknown key, did you mean 'training.batch_size'?"),
            ("critic_steps", {"low": 0, "high": 2}, ".low: found 0.0, expected greater than 0"),
            ("noise", {"low": 1.5, "high": 2}, ".low: found 1.5, expected a valid integer"),
            ("noise", {"low": 1, "high": 5, "step": 0.5}, ".step: found 0.5, expected an integer"),
            ("learning_rate", {"low": 2, "high": 1}, ": found 2 to 1, expected the lower number first"),
            (
                "learning_rate",
                {"low": 0, "high": 1, "log": True},
                ": found 0 with log, expected a number above 0",
            ),
            ("learning_rate", {"low": 1, "hihg": 1}, ".hihg: unknown key, did you mean 'high'?"),
            (
                "training.schedule",
                {"choices": ["cosine", "line"]},
                ".choices.1: found 'line', expected 'constant'",
            ),
            (
                "training.schedule",
                {"choices": ["cosine", "cosine"]},
                ".choices: found ['cosine', 'cosine'], expected",
            ),
            (
                "preprocessing.standardise",
                {"low": 0, "high": 1},
                ": found a range of a setting that holds False",
            ),
            (
                "preprocessing.inputs",
                {"choices": [["px"], ["p"]]},
                ".choices.1: found 'p', did you mean 'pz'?",
            ),
            ("channels", {"choices": [[8, 8], [8, 8, 8, 8]]}, ".choices.0: 2 channels reach 8 x 8 cells"),
            ("training.validation", {"choices": [1, 2]}, ": found a setting that all trials have to share"),
            ("training", {"choices": [1, 2]}, ": unknown key, did you mean 'training."),
        ],
    )
    def test_problems_of_a_space_are_told(self, config: dict, path: str, space: dict, message: str):
        config["searches"]["lr"]["space"] = {path: space}
        assert f"searches.lr.space.{path}{message}" in self.refused(config)

    def refused(self, config: dict) -> str:
        with pytest.raises(CaloforgeError) as error:
            validate(config)
        return str(error.value)

    def test_settings_that_are_not_valid_together_are_refused(self, config: dict):
        config["datasets"]["grid"] = config["datasets"]["ecal"] | {
            "geometry": {"name": "G", "layers": [{"shape": [9, 9], "cell_size_mm": [5, 5], "repeat": 9}]}
        }
        config["models"]["grid"] = {"family": "gan3d_conv3d"}
        space = {"shape_weight": {"low": 1, "high": 2}, "energies_GeV": {"choices": [[1, 9], None]}}
        config["searches"]["lr"] |= {"dataset": "grid", "model": "grid", "space": space}
        message = self.refused(config)
        assert "searches.lr.space: the first values of all settings are not valid together: " in message
        assert "shape_weight: found 1" in message

    def test_the_model_of_a_search_does_not_depend_on_what_is_searched(self, config: dict):
        def model(config: dict) -> dict:
            found = validate(config)
            return plain(found.searches["lr"].first(found.models["gan"]))

        before = model(config)
        config["models"]["gan"] |= {"learning_rate": 0.5, "critic_steps": 3}
        assert model(config) == before
        config["models"]["gan"]["noise"] = 3
        assert model(config) != before

    def test_values_go_to_their_paths(self):
        changed = with_values(MODEL, {"learning_rate": 0.5, "regressor.training.epochs": 3})
        assert (changed.learning_rate, changed.regressor.training.epochs) == (0.5, 3)
        assert value_at(changed, "regressor.training.epochs") == 3
        assert changed.noise == MODEL.noise
        assert nested({"a.b": 1, "a.c.d": 2, "e": 3}) == {"a": {"b": 1, "c": {"d": 2}}, "e": 3}


def cost(values: dict[str, Any]) -> float:
    return abs(values["learning_rate"] - 1e-3) + values["critic_steps"] / 10


def finish(study: SharedStudy, job: int, most: int = 1000) -> list[tuple[int, dict]]:
    """Trials that a job takes, with the objective `cost`."""
    done = []
    while len(done) < most and (number := study.next_trial(job)) is not None:
        done.append((number, study.values(number)))
        study.complete(number, cost(study.values(number)), None)
    return done


def share(folder: Path, settings: SearchSettings, job: int) -> None:
    finish(SharedStudy(folder, settings, MODEL), job)


def begin_and_die(folder: Path, settings: SearchSettings, job: int) -> None:
    study = SharedStudy(folder, settings, MODEL)
    study.next_trial(job)
    os.kill(os.getpid(), signal.SIGKILL)


def start(function: Any, *arguments: Any) -> multiprocessing.Process:
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    return process


class TestStudy:
    def test_values_are_in_the_space_and_of_the_type_of_the_setting(self, tmp_path: Path):
        settings = search(trials=12, random_trials=12)
        trials = [values for _, values in finish(SharedStudy(tmp_path, settings, MODEL), 1)]
        rates, steps = zip(
            *((trial["learning_rate"], trial["critic_steps"]) for trial in trials), strict=True
        )
        assert all(1e-5 <= rate <= 1e-1 for rate in rates)
        assert sum(rate < 1e-3 for rate in rates) in range(2, 11)
        assert set(steps) <= set(range(1, 7))
        assert len(set(steps)) > 1
        assert all(type(step) is int for step in steps)
        assert {trial["training.schedule"] for trial in trials} == {"constant", "cosine"}

    def test_steps_end_at_or_below_the_largest_number(self, tmp_path: Path):
        space = {
            "critic_steps": {"low": 1, "high": 6, "step": 2},
            "gradient_penalty": {"low": 0.1, "high": 0.35, "step": 0.1},
        }
        study = SharedStudy(tmp_path, search(space=space, trials=20, random_trials=20), MODEL)
        trials = []
        while (number := study.next_trial(1)) is not None:
            trials.append(study.values(number))
            study.complete(number, 1.0, None)
        assert {trial["critic_steps"] for trial in trials} == {1, 3, 5}
        assert {round(trial["gradient_penalty"], 9) for trial in trials} == {0.1, 0.2, 0.3}

    def test_the_seed_decides(self, tmp_path: Path):
        def trials(name: str, **changes: int) -> list:
            return finish(SharedStudy(tmp_path / name, search(random_trials=2, **changes), MODEL), 1)

        assert trials("one") == trials("again")
        assert trials("one") == []
        assert trials("other", sampler_seed=2) != trials("same", sampler_seed=1)

    def test_trials_are_the_same_however_often_a_job_is_killed(self, tmp_path: Path):
        settings = search(trials=5, random_trials=2)
        undisturbed = finish(SharedStudy(tmp_path / "undisturbed", settings, MODEL), 1)
        found = []
        for _ in range(5):
            killed = start(begin_and_die, tmp_path / "killed", settings, 1)
            killed.join()
            assert killed.exitcode == -signal.SIGKILL
            found += finish(SharedStudy(tmp_path / "killed", settings, MODEL), 1, most=1)
        assert found == undisturbed

    def test_more_trials_go_on_from_those_there_are(self, tmp_path: Path):
        first = finish(SharedStudy(tmp_path, search(trials=2), MODEL), 1)
        more = finish(SharedStudy(tmp_path, search(trials=5), MODEL), 1)
        assert [number for number, _ in first + more] == [0, 1, 2, 3, 4]
        assert len(SharedStudy(tmp_path, search(trials=5), MODEL).results()) == 5

    def test_jobs_share_exactly_as_many_trials_as_wanted(self, tmp_path: Path):
        settings = search(trials=25, jobs=3)
        processes = [start(share, tmp_path, settings, job) for job in (1, 2, 3)]
        for process in processes:
            process.join()
            assert process.exitcode == 0
        results = SharedStudy(tmp_path, settings, MODEL).results()
        assert [result.number for result in results] == list(range(25))
        assert {result.state for result in results} == {"complete"}
        assert len({result.values["learning_rate"] for result in results}) == 25

    def test_the_trial_of_a_killed_job_waits_for_it(self, tmp_path: Path):
        settings = search(trials=3, jobs=2)
        start(begin_and_die, tmp_path, settings, 2).join()
        study = SharedStudy(tmp_path, settings, MODEL)
        assert [number for number, _ in finish(study, 1)] == [1, 2]
        with pytest.raises(CaloforgeError, match=r"journal\.log: 2 finished trials found, expected 3"):
            study.results()
        assert [number for number, _ in finish(study, 2)] == [0]
        assert len(study.results()) == 3

    def test_the_trial_of_a_job_that_is_no_more_falls_to_another(self, tmp_path: Path):
        start(begin_and_die, tmp_path, search(trials=3, jobs=4), 4).join()
        study = SharedStudy(tmp_path, search(trials=3, jobs=2), MODEL)
        assert [number for number, _ in finish(study, 1)] == [1, 2]
        assert [number for number, _ in finish(study, 2)] == [0]

    @pytest.mark.parametrize("direction", ["minimise", "maximise"])
    def test_a_trial_worse_than_the_median_is_pruned(self, tmp_path: Path, direction: str):
        """Scores are better when lower whatever is done with the objective; two epochs come before."""
        pruning = {"after_trials": 3, "after_epochs": 2}
        settings = search(trials=5, direction=direction, pruning=pruning)
        study = SharedStudy(tmp_path, settings, MODEL)
        for offset in (0.1, 0.2, 0.3):
            number = study.next_trial(1)
            for epoch in (1, 2, 3):
                study.report(number, epoch, offset / epoch)
            study.complete(number, offset, 0.01)
        number = study.next_trial(1)
        study.report(number, 1, 0.9)
        with pytest.raises(PrunedError):
            study.report(number, 2, 0.11)
        study.prune(number)
        number = study.next_trial(1)
        study.report(number, 2, 0.09)
        study.complete(number, 0.4, None)
        results = study.results()
        assert [result.state for result in results] == [*["complete"] * 3, "pruned", "complete"]
        assert results[3].objective is None
        assert results[3].validation == {1: 0.9, 2: 0.11}
        assert [result.error for result in results] == [0.01, 0.01, 0.01, None, None]

    def test_nothing_is_pruned_without_pruning(self, tmp_path: Path):
        study = SharedStudy(tmp_path, search(trials=20, pruning=None), MODEL)
        for score in range(20):
            number = study.next_trial(1)
            study.report(number, 1, score)
            study.complete(number, score, None)

    def test_a_setting_without_effect_is_of_no_importance(self, tmp_path: Path):
        study = SharedStudy(tmp_path, search(trials=40, random_trials=40), MODEL)
        finish(study, 1)
        shares = study.importances()
        assert next(iter(shares)) == "critic_steps"
        assert shares["critic_steps"] > 0.9
        assert sum(shares.values()) == pytest.approx(1)

    def test_something_else_than_a_journal_is_refused(self, tmp_path: Path):
        (tmp_path / "journal.log").write_text("no journal\nat all\n")
        with pytest.raises(CaloforgeError, match=r"journal\.log: not a journal of a search or a damaged one"):
            SharedStudy(tmp_path, search(), MODEL)


class Jobs:
    """Runs jobs of a search whose trainings are stood in for: the score of an epoch is the cost over it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.trained, self.stop_at = folder, [], None
        for name in ("train.h5", "val.h5"):
            (folder / name).write_text(name)
        monkeypatch.setattr(worker, "train_trial", self.train)

    def train(self, model, inputs, folder, validated):
        folder.mkdir(parents=True, exist_ok=True)
        self.trained.append((folder.name, model.learning_rate))
        (folder / "checkpoint.pt").write_text("large")
        (folder / "work").mkdir(exist_ok=True)
        if len(self.trained) == self.stop_at:
            raise KeyboardInterrupt
        if model.learning_rate > 0.01:
            raise DivergedError("loss became nan", ": advice")
        values = {"learning_rate": model.learning_rate, "critic_steps": model.critic_steps}
        for epoch in (1, 2):
            validated(epoch, cost(values) / epoch)
        (folder / "train.json").write_text(json.dumps({"validation": cost(values) / 2}))
        return Trained(model, folder, folder / "preprocessing.json")

    def run(self, settings: SearchSettings, job: int = 1, **changes: Any) -> dict[str, Any]:
        """The record of a job."""
        record = self.record(job)
        given = {"readout_threshold_MeV": 0.5, "code": "code", "work": self.folder / "work"}
        files = {name: self.folder / f"{name}.h5" for name in ("train", "val")}
        run_trials(settings, MODEL, job=job, record=record, **given | files | changes)
        return json.loads(record.read_text())

    def record(self, job: int) -> Path:
        return self.folder / f"{job}.json"

    def summarise(self, settings: SearchSettings, *jobs: int) -> Path:
        folder = self.folder / "results"
        folder.mkdir(exist_ok=True)
        summarise(
            settings,
            FigureSettings(),
            MODEL,
            name="lr",
            jobs=[self.record(job) for job in jobs],
            table=folder / "trials.csv",
            trials=folder / "trials.json",
            best=folder / "best.yaml",
            figure_directory=folder / "figures",
            record=folder / "search.json",
        )
        return folder


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    return Jobs(tmp_path, monkeypatch)


class TestJobs:
    def test_a_job_makes_all_trials_and_keeps_little_of_them(self, jobs: Jobs):
        record = jobs.run(search(trials=4, pruning=None))
        assert record["trials"] == [0, 1, 2, 3]
        assert len(jobs.trained) == 4
        study = Path(record["study"])
        assert {path.name for path in study.glob("trial_*/*")} == {"train.json"}

    def test_a_second_call_trains_nothing(self, jobs: Jobs):
        jobs.run(search(trials=3))
        record = jobs.run(search(trials=3, label="other", jobs=2), job=2)
        assert record["trials"] == []
        assert len(jobs.trained) == 3

    @pytest.mark.parametrize("changes", [{"code": "other"}, {"readout_threshold_MeV": 1}])
    def test_trials_of_other_code_or_data_do_not_count(self, jobs: Jobs, changes: dict):
        jobs.run(search(trials=2))
        assert jobs.run(search(trials=2), **changes)["trials"] == [0, 1]

    def test_a_job_that_still_runs_is_not_begun_again(self, jobs: Jobs):
        folder = Path(jobs.run(search(trials=1))["study"])
        with (
            locked(folder / "job_1"),
            pytest.raises(CaloforgeError, match="job_1: another process trains here"),
        ):
            jobs.run(search(trials=2))

    def test_an_interrupted_trial_is_taken_up_in_its_folder(self, jobs: Jobs):
        jobs.stop_at = 2
        with pytest.raises(KeyboardInterrupt):
            jobs.run(search(trials=3))
        assert not jobs.record(1).exists()
        jobs.run(search(trials=3))
        assert [folder for folder, _ in jobs.trained] == [f"trial_000{number}" for number in (0, 1, 1, 2)]
        assert jobs.trained[1] == jobs.trained[2]

    def test_a_trial_that_does_not_learn_fails_alone(self, jobs: Jobs):
        settings = search(trials=10, random_trials=10, pruning=None)
        jobs.run(settings)
        folder = jobs.summarise(settings, 1)
        trials = list(csv.DictReader((folder / "trials.csv").read_text().splitlines()))
        failed = [trial for trial in trials if float(trial["learning_rate"]) > 0.01]
        assert failed
        assert {(trial["state"], trial["reason"]) for trial in failed} == {("failed", "loss became nan")}
        assert {trial["state"] for trial in trials if trial not in failed} == {"complete"}

    def test_the_overlay_has_the_best_settings(self, jobs: Jobs, config: dict):
        settings = search(trials=10, random_trials=10, pruning=None)
        jobs.run(settings)
        folder = jobs.summarise(settings, 1)
        trials = json.loads((folder / "trials.json").read_text())
        complete = [trial for trial in trials["trials"] if trial["state"] == "complete"]
        best = min(complete, key=lambda trial: cost(trial["values"]))
        assert best["number"] == trials["best"]
        overlay = yaml.safe_load((folder / "best.yaml").read_text())
        found = overlay["models"]["gan"]
        assert found["learning_rate"] == best["values"]["learning_rate"]
        assert found["training"]["schedule"] == best["values"]["training.schedule"]
        training = config["models"]["gan"]["training"] | found["training"]
        config["models"]["gan"] |= found | {"training": training}
        model = validate(config).models["gan"]
        assert (model.learning_rate, model.critic_steps) == (found["learning_rate"], found["critic_steps"])
        assert model.training.epochs == 5
        names = {entry["file"] for entry in json.loads((folder / "figures/index.json").read_text())}
        assert names == {"history.svg", "slices.svg", "importances.svg", "learning_curves.svg"}

    def test_the_largest_objective_is_best_where_it_is_maximised(self, jobs: Jobs):
        settings = search(trials=8, random_trials=8, pruning=None, direction="maximise")
        jobs.run(settings)
        trials = json.loads((jobs.summarise(settings, 1) / "trials.json").read_text())
        objectives = [trial["objective"] or 0 for trial in trials["trials"]]
        assert objectives[trials["best"]] == max(objectives)

    def test_a_search_without_a_complete_trial_has_no_result(self, jobs: Jobs):
        settings = search(trials=2, space={"learning_rate": {"low": 0.02, "high": 0.03}})
        jobs.run(settings)
        with pytest.raises(CaloforgeError, match="search lr: no trial was completed: loss became nan"):
            jobs.summarise(settings, 1)
        assert not list((jobs.folder / "results").iterdir())


class TestObjective:
    @pytest.fixture
    def metrics(self, tmp_path: Path) -> Path:
        observables = {"width": (0.2, 0.5), "empty": (None, 0)}
        numbers = {
            name: {
                "ks": {"value": ks, "error": 0.1},
                "wasserstein": {"value": 3, "error": 1},
                "separation": {"value": separation, "error": 0},
            }
            for name, (ks, separation) in observables.items()
        }
        content = {
            "observables": {name: {"generated": distances} for name, distances in numbers.items()},
            "samples": {
                "fpd": {"generated": {"value": 1.5, "error": 0.25}},
                "kpd": {"generated": {"value": None, "error": None}},
            },
        }
        (tmp_path / "metrics.json").write_text(json.dumps(content))
        return tmp_path / "metrics.json"

    def test_numbers_are_found_by_their_keys(self, metrics: Path):
        assert objective(metrics, "fpd") == (1.5, 0.25)
        assert objective(metrics, "width.ks") == (0.2, 0.1)
        assert objective(metrics, "empty.wasserstein") == (3, 1)

    def test_an_observable_that_no_shower_defines_counts_one(self, metrics: Path):
        assert objective(metrics, "mean_ks") == (pytest.approx(0.6), None)
        assert objective(metrics, "mean_separation") == (0.25, None)

    @pytest.mark.parametrize("name", ["kpd", "empty.ks"])
    def test_what_is_undefined_is_no_objective(self, metrics: Path, name: str):
        with pytest.raises(UndefinedError, match="is not defined for the generated showers"):
            objective(metrics, name)

    def test_an_unknown_number_is_refused_with_a_suggestion(self, metrics: Path):
        with pytest.raises(CaloforgeError, match=r"found 'widht\.ks', did you mean 'width\.ks'\?"):
            objective(metrics, "widht.ks")
