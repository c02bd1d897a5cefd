"""Settings of the stages that every model passes through."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from caloforge.config.base import Settings

InputExpression = Annotated[str, Field(pattern=r"^([A-Za-z]\w*(/[A-Za-z]\w*)?|log\([A-Za-z]\w*\))$")]


class PreprocessingSettings(Settings):
    """What a network sees of cell energies and of conditions."""

    energies: Literal["box_cox", "linear"] = Field(
        default="box_cox", description="cell energies on a censored Box-Cox scale, or as they are in GeV"
    )
    power: Literal["fit"] | Annotated[float, Field(ge=0, le=1)] = Field(
        default="fit",
        description="Box-Cox power of the cell energies; 'fit' takes the most likely one, 0 is the logarithm",
    )
    inputs: tuple[InputExpression, ...] | None = Field(
        default=None,
        min_length=1,
        description="network inputs: conditions, ratios such as px/pz or logarithms such as log(energy), "
        "where energy is the incident energy [GeV]; null for every condition",
    )
    standardise: bool = Field(
        default=True, description="shift and scale every input to mean 0 and standard deviation 1"
    )


class TrainingSettings(Settings):
    """The training loop of every network."""

    epochs: PositiveInt
    batch_size: PositiveInt = 64
    schedule: Literal["constant", "cosine"] = Field(
        default="constant", description="learning rates: as they are, or down to zero along half a cosine"
    )
    validate_every: PositiveInt = Field(default=1, description="epochs between two validations")
    keep: Literal["best", "last"] = Field(
        default="best", description="keep the weights of the best validation or those of the last epoch"
    )
    ema_decay: float = Field(
        default=0,
        ge=0,
        lt=1,
        description="decay per step of the averaged generator weights; 0 for no averaging",
    )
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="float32",
        description="of the forward and backward passes; penalties stay in float32. auto is bfloat16 where "
        "the processor or GPU has instructions for it, and float32 elsewhere",
    )
    threads: PositiveInt = Field(default=2, description="CPU threads")
    checkpoint_minutes: NonNegativeFloat = Field(default=5, description="time between two checkpoints")
    memory_budget_MB: PositiveInt = Field(
        default=4000, description="showers are held in memory up to this size and read in blocks beyond it"
    )


class ModelTrainingSettings(TrainingSettings):
    """The training loop of a generative model."""

    validation: Literal["observables", "shower_shapes"] = Field(
        default="observables",
        description="score that chooses the epoch: mean Kolmogorov-Smirnov distance of the shower "
        "observables or, for grids of several layers, relative error of the mean shower shapes",
    )


class GridSettings(Settings):
    """Conditions to generate showers for, besides those of the test set."""

    values: dict[str, Annotated[tuple[float, ...], Field(min_length=1)]] = Field(
        min_length=1,
        description="values of every condition; every combination is generated. The incident energy [GeV] is "
        "`energy` if it is among them, else the momentum",
    )
    repeats: PositiveInt = Field(default=1, description="showers per combination")


def attributes(conditions: Iterable[str]) -> list[str]:
    """What a shower is asked for: its conditions, and `energy` [GeV] where they do not give it."""
    names = list(conditions)
    return names if "energy" in names or {"px", "py", "pz"} <= set(names) else [*names, "energy"]


class TraversalSettings(Settings):
    """Conditions that are stepped one at a time while the noise and the other conditions stay."""

    steps: dict[str, Annotated[tuple[float, ...], Field(min_length=2)]] = Field(
        min_length=1,
        description="values that a condition takes, one condition after the other. The energy is stepped as "
        "`energy` where px, py and pz do not give it",
    )
    at: dict[str, float] = Field(
        default={},
        description="values of conditions while another one is stepped; medians of the test set otherwise",
    )
    repeats: PositiveInt = Field(
        default=10, description="showers per step, which differ in their noise; every step has the same noise"
    )


class SamplingSettings(Settings):
    """How showers are generated."""

    batch_size: PositiveInt = Field(default=256, description="showers per pass through the generator")
    threads: PositiveInt = Field(default=2, description="CPU threads")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    jobs: PositiveInt = Field(
        default=1,
        description="jobs that share the showers for the conditions of a test set; those of a grid and of "
        "traversals are always generated in one",
    )


class TimingSettings(Settings):
    """How the time of generation is measured against the batch size."""

    batch_sizes: tuple[PositiveInt, ...] = Field(
        default=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
        min_length=1,
        description="showers per pass through the generator, increasing",
    )
    repeats: PositiveInt = Field(default=20, description="passes that are timed for a batch size, at most")
    time_limit_s: PositiveFloat = Field(
        default=3, description="no further pass of a batch size begins after so long [s]; one always counts"
    )
    threads: PositiveInt = Field(default=2, description="CPU threads")
    gpus: tuple[PositiveInt, ...] = Field(
        default=(1, 2),
        description="numbers of GPUs that share every batch, increasing, besides the CPU; what the machine "
        "lacks is reported as not measured",
    )

    @field_validator("batch_sizes", "gpus")
    @classmethod
    def _numbers_increase(cls, numbers: tuple[int, ...]) -> tuple[int, ...]:
        if any(low >= high for low, high in pairwise(numbers)):
            raise ValueError(f"found {list(numbers)}, expected increasing numbers")
        return numbers


class RegularGridSettings(Settings):
    """Comparison of mean showers and of single cells, for calorimeters that are a regular grid of cells."""

    shape_energies_GeV: tuple[PositiveFloat, ...] = Field(
        default=(100, 200, 300, 400), description="energies at which shower shapes are compared [GeV]"
    )
    shape_half_width_GeV: PositiveFloat = Field(
        default=5, description="showers count that are this close to such an energy [GeV]"
    )
    core_energy_GeV: PositiveFloat = Field(
        default=250, description="energy at which the cells in the core are compared [GeV]"
    )
    core_half_width_GeV: PositiveFloat = Field(default=2, description="as `shape_half_width_GeV` [GeV]")
    window_showers: PositiveInt = Field(
        default=100, description="a range of energies is widened until it holds so many showers"
    )
    ssim_pairs: PositiveInt = Field(
        default=500, description="pairs of showers behind each mean structural similarity"
    )
    ssim_range_MeV: PositiveFloat = Field(
        default=0.1, description="range of cell energies of the structural similarity, its L [MeV]"
    )


class NeighbourSettings(Settings):
    """Search for the nearest showers of another sample."""

    queries: PositiveInt = Field(
        default=2000, ge=100, description="showers of each sample whose nearest training shower is sought"
    )
    pool: PositiveInt = Field(default=20000, description="training or generated showers searched, at most")


class CoverageSettings(Settings):
    """Precision, recall, density and coverage of the high-level features."""

    showers: PositiveInt = Field(
        default=10_000,
        ge=50,
        description="showers or collisions of each sample, at most, and never more than half of the test set",
    )


class ParticleSettings(Settings):
    """Classifiers that tell particle types apart, for data sets with the condition `pdg`."""

    showers: PositiveInt = Field(
        default=2000, ge=100, description="showers of each particle type in each sample, at most"
    )


class ClassifierSettings(Settings):
    """Classifiers that try to tell generated showers from the full simulation."""

    use: tuple[Literal["trees", "mlp", "cells_mlp", "cells_cnn"], ...] = Field(
        default=("trees", "mlp", "cells_mlp", "cells_cnn"),
        description="boosted trees and a network on observables, a network on cells and, where all layers "
        "have the same cells, a convolutional one; an empty list for none",
    )
    showers: PositiveInt = Field(default=5000, ge=100, description="showers of each sample, at most")
    folds: PositiveInt = Field(
        default=5, ge=3, le=20, description="parts of the showers, of which each is tested once"
    )
    epochs: PositiveInt = Field(default=15, description="of the networks, at most")
    threads: PositiveInt = Field(default=1, description="CPU threads of the networks")


class EvaluationSettings(Settings):
    """Metrics and their uncertainties."""

    bins: PositiveInt = Field(default=40, ge=5, description="bins of the histograms of the separation power")
    bootstrap: PositiveInt = Field(default=100, ge=10, description="resamplings behind each uncertainty")
    neighbours: NeighbourSettings = NeighbourSettings()
    coverage: CoverageSettings = CoverageSettings()
    particles: ParticleSettings = ParticleSettings()
    classifiers: ClassifierSettings = ClassifierSettings()
    reconstructed_energies_GeV: tuple[PositiveFloat, ...] = Field(
        default=(100, 150, 300),
        description="energies at which the energies that a network of the model reads off showers are "
        "compared [GeV], in ranges with `shape_half_width_GeV` and `window_showers` of `regular_grid`",
    )
    regular_grid: RegularGridSettings = RegularGridSettings()
    seed: NonNegativeInt = 2026


class TrimmingSettings(Settings):
    """Trimming of jets (D. Krohn, J. Thaler and L.-T. Wang, JHEP 02 (2010) 084)."""

    radius: PositiveFloat = Field(default=0.2, description="of the kt subjets")
    pt_fraction: float = Field(
        default=0.03, gt=0, lt=1, description="subjets below this share of the pT of the jet are taken away"
    )


class SoftDropSettings(Settings):
    """Soft drop (A. J. Larkoski, S. Marzani, G. Soyez and J. Thaler, JHEP 05 (2014) 146)."""

    z_cut: float = Field(default=0.1, gt=0, lt=0.5)
    beta: float = 0


class JetSettings(Settings):
    """Jets in images of collisions; radius and pT as in the public code of CALPAGAN."""

    radius: PositiveFloat = Field(default=0.5, description="of the anti-kt jets")
    pt_min_GeV: PositiveFloat = Field(default=20, description="jets have at least this pT, before trimming")
    eta_max: PositiveFloat | None = Field(
        default=None,
        description="jets have at most this |eta|; null for no cut, as in the paper: the image ends anyway",
    )
    trimming: TrimmingSettings | None = Field(
        default=TrimmingSettings(), description="of the two leading jets; null for jets as they are"
    )
    axes: Literal["exclusive_kt", "one_pass"] = Field(
        default="exclusive_kt",
        description="axes of the N-subjettiness: the exclusive kt subjets, or one minimisation from there",
    )
    soft_drop: SoftDropSettings = SoftDropSettings()
    towers: Literal["pixels", "delphes"] = Field(
        default="pixels",
        description="where the particles of the fast simulation are: in the centres of the pixels, as those "
        "of the other samples, or where the towers of Delphes are",
    )


class FigureSettings(Settings):
    """How figures look."""

    style: Literal["ATLAS", "CMS", "LHCb2", "ALICE"] | None = Field(
        default=None, description="mplhep style; null for the plain one"
    )
    dpi: PositiveInt = Field(default=150, ge=50, le=600)
    energies_GeV: tuple[PositiveFloat, ...] = Field(
        default=(2, 5, 10, 20, 50, 100, 200, 500),
        min_length=2,
        description="edges of the energy ranges of the response figures [GeV]; those before the first and "
        "after the last shower are not drawn",
    )
    displays: PositiveInt = Field(default=4, le=8, description="showers drawn side by side, or collisions")

    @field_validator("energies_GeV")
    @classmethod
    def _energies_increase(cls, energies: tuple[float, ...]) -> tuple[float, ...]:
        if any(low >= high for low, high in pairwise(energies)):
            raise ValueError("edges must increase")
        return energies
