"""Settings of searches for hyper-parameters."""

import json
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    Discriminator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from caloforge.config.base import Settings, nearest, refusal
from caloforge.config.stages import ClassifierSettings, EvaluationSettings

DISTANCES = ("ks", "wasserstein", "separation")
"""Of an observable, as metrics.json names them."""
BOUNDED_DISTANCES = ("ks", "separation")
"""Those without a unit, which can be averaged."""
_FIXED = ("family", "training.validation", "training.device", "training.threads")

Model = TypeVar("Model", bound=Settings)


class Range(Settings):
    """Numbers that a setting may have, integers if the setting takes no others."""

    low: float = Field(description="smallest")
    high: float = Field(description="largest")
    log: bool = Field(default=False, description="equally many trials in every decade")
    step: PositiveFloat | None = Field(default=None, description="between neighbouring numbers")

    @property
    def candidates(self) -> dict[tuple[str | int, ...], Any]:
        """The ends, by their keys."""
        return {("low",): self.low, ("high",): self.high}

    @property
    def last(self) -> float:
        """The largest number that steps reach."""
        if self.step is None:
            return self.high
        low, high, step = (Decimal(str(number)) for number in (self.low, self.high, self.step))
        return float(low + (high - low) // step * step)

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"found {self.low:g} to {self.high:g}, expected the lower number first")
        if self.log and self.low <= 0:
            raise ValueError(f"found {self.low:g} with log, expected a number above 0")
        if self.log and self.step:
            raise ValueError("found log and step, expected one of them")
        if self.step and self.step > self.high - self.low:
            raise ValueError(f"found the step {self.step:g}, expected one that fits into the range")
        return self


class Choices(Settings):
    """Values that a setting may have: numbers, texts, lists, null."""

    choices: tuple[Any, ...] = Field(min_length=2)

    @property
    def candidates(self) -> dict[tuple[str | int, ...], Any]:
        """The choices, by their keys."""
        return {("choices", number): choice for number, choice in enumerate(self.choices)}

    @field_validator("choices")
    @classmethod
    def _choices_differ(cls, choices: tuple[Any, ...]) -> tuple[Any, ...]:
        if len({json.dumps(choice, sort_keys=True) for choice in choices}) < len(choices):
            raise ValueError(f"found {list(choices)}, expected every choice once")
        return choices


Parameter = Annotated[
    Annotated[Range, Tag("a range")] | Annotated[Choices, Tag("a choice")],
    Discriminator(lambda space: "a choice" if _is_choice(space) else "a range"),
]


def _is_choice(space: Any) -> bool:
    return isinstance(space, Choices) or (isinstance(space, Mapping) and "choices" in space)


class PruningSettings(Settings):
    """When a training ends early: its best validation is worse than the median of others at that epoch."""

    after_trials: PositiveInt = Field(default=5, description="none before so many trials were completed")
    after_epochs: NonNegativeInt = Field(default=0, description="none before so many epochs")


class SearchSettings(Settings):
    """A search for the hyper-parameters of a model: trainings with different settings, compared.

    Trials learn from the training set and are compared on the validation set; the test set is left alone.
    """

    dataset: str = Field(description="name under datasets")
    model: str = Field(description="name under models; what is not in `space` is as it says there")
    space: dict[str, Parameter] = Field(
        min_length=1,
        description="settings of the model that trials differ in, by their keys with dots, "
        "`training.batch_size`: `low` and `high`, or `choices`",
    )
    trials: PositiveInt = Field(description="trainings in all; a larger number later goes on from there")
    jobs: PositiveInt = Field(default=1, description="that share the trials and may run side by side")
    objective: str = Field(
        default="validation",
        description="what is sought: `validation`, the score of the epoch that is kept; `mean_ks` or "
        "`mean_separation` of the observables; a distance of one, `<observable>.ks`; or a number of whole "
        "samples by its key in metrics.json, `fpd`",
    )
    direction: Literal["minimise", "maximise"] = "minimise"
    seed: NonNegativeInt = Field(default=1, description="root seed of every training")
    sampler_seed: NonNegativeInt = Field(default=1, description="of the choice of settings")
    random_trials: NonNegativeInt = Field(
        default=10,
        description="trials with random settings at the start, before the tree-structured Parzen estimator "
        "learns from them; as many as `trials` for a random search",
    )
    pruning: PruningSettings | None = Field(
        default=PruningSettings(), description="trainings that end early; null for none"
    )
    evaluation: EvaluationSettings = Field(
        default=EvaluationSettings(classifiers=ClassifierSettings(use=())),
        description="of every trial, on the validation set, for objectives other than `validation`; not that "
        "of the runs, which may change without another search",
    )
    label: str = Field(default="", description="written on every figure and beside the search in the report")

    @property
    def is_scored(self) -> bool:
        """Whether showers of every trial are evaluated, beyond the score of its epochs."""
        return self.objective != "validation"

    def has(self, *groups: str) -> bool:
        """Whether settings of one of these groups are in the space, such as `preprocessing`."""
        return any(path.partition(".")[0] in groups for path in self.space)

    def first(self, model: Model) -> Model:
        """The model at a corner of the space; it does not depend on what it says of the settings there."""
        values = {path: next(iter(space.candidates.values())) for path, space in self.space.items()}
        return with_values(model, values)


def with_values(model: Model, values: Mapping[str, Any]) -> Model:
    """The settings of a model with others at some paths, keys joined by dots.

    Raises
    ------
    ValidationError
        If they are not valid.
    """
    plain = model.model_dump(mode="json")
    for path, value in values.items():
        _put(plain, path, value)
    return type(model).model_validate(plain)


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by paths as mappings in mappings, the way a configuration has them."""
    found: dict[str, Any] = {}
    for path, value in values.items():
        _put(found, path, value)
    return found


def _put(plain: dict[str, Any], path: str, value: Any) -> None:
    *groups, key = path.split(".")
    for group in groups:
        plain = plain.setdefault(group, {})
    plain[key] = value


def value_at(model: Settings, path: str) -> Any:
    """The setting at a path, as plain data."""
    value: Any = model.model_dump(mode="json")
    for key in path.split("."):
        value = value[key]
    return value


def is_integer(model: Settings, path: str) -> bool:
    """Whether the setting at a path holds an integer."""
    value = value_at(model, path)
    return isinstance(value, int) and not isinstance(value, bool)


def search_problems(
    search: SearchSettings, model: Settings, misfit: Callable[[Settings], str | None]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What keeps trials of a search from being made: keys below it, and a text.

    Parameters
    ----------
    search
        The search.
    model
        That it names.
    misfit
        Says what keeps a model from learning the data set of the search; None if nothing does.
    """
    yield from _objective_problems(search)
    problems = list(_space_problems(search, model, misfit))
    yield from problems
    if not problems:
        try:
            search.first(model)
        except ValidationError as error:
            text = refusal(error.errors(include_url=False)[0])
            yield ("space",), f"the first values of all settings are not valid together: {text}"


def _space_problems(
    search: SearchSettings, model: Settings, misfit: Callable[[Settings], str | None]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    known = [path for path in _paths(model) if path not in _FIXED]
    for path, space in search.space.items():
        if path in _FIXED:
            yield ("space", path), "found a setting that all trials have to share, expected another one"
        elif path not in known:
            yield ("space", path), f"unknown key, {nearest(path, known)}"
        else:
            for key, text in _value_problems(path, space, model, misfit):
                yield ("space", path, *key), text


def _value_problems(
    path: str, space: Range | Choices, model: Settings, misfit: Callable[[Settings], str | None]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    valid: list[Settings] = []
    for key, value in space.candidates.items():
        try:
            valid.append(with_values(model, {path: value}))
        except ValidationError as error:
            yield key, refusal(error.errors(include_url=False)[0])
            return
        text = misfit(valid[-1])
        if text:
            yield key, text
    if isinstance(space, Choices):
        return
    held = value_at(valid[0], path)
    if isinstance(held, bool) or not isinstance(held, int | float):
        yield (), f"found a range of a setting that holds {held!r}, expected choices"
    elif space.step and is_integer(valid[0], path) and not space.step.is_integer():
        yield ("step",), f"found {space.step:g}, expected an integer as the setting"


def _objective_problems(search: SearchSettings) -> Iterator[tuple[tuple[str, ...], str]]:
    objective, used = search.objective, search.evaluation.classifiers.use
    observable, dot, distance = objective.rpartition(".")
    means = [f"mean_{name}" for name in BOUNDED_DISTANCES]
    if dot and (not observable or distance not in DISTANCES):
        yield ("objective",), f"found {objective!r}, {nearest(distance, DISTANCES)} after the observable"
    elif objective.startswith("mean_") and objective not in means:
        yield ("objective",), f"found {objective!r}, {nearest(objective, means)}"
    elif objective.startswith("auc_") and objective.removeprefix("auc_") not in used:
        expected = "expected a classifier of evaluation.classifiers.use of the search"
        yield ("objective",), f"found {objective!r}, {expected}: {', '.join(used) or 'none'}"
    elif objective.startswith("neighbour_"):
        text = "nearest neighbours need showers of neither training nor validation"
        yield ("objective",), f"found {objective!r}, expected another number: {text}"


def _paths(settings: Settings) -> Iterator[str]:
    """The paths of all settings that hold a value and no further settings."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Settings):
            yield from (f"{name}.{path}" for path in _paths(value))
        else:
            yield name
