"""Settings of families that are conditioned on the energy and the type of the primary."""

from typing import Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from caloforge.config.base import Settings
from caloforge.config.stages import InputExpression, PreprocessingSettings

EnergyRange = tuple[PositiveFloat, PositiveFloat]


class PrimaryPreprocessing(PreprocessingSettings):
    """Energies in GeV as they are: the networks compare sums of cells with the energy of the primary."""

    energies: Literal["linear"] = "linear"
    inputs: tuple[InputExpression, ...] = Field(
        default=("energy",),
        description="energy, and for several particle types the condition with their code",
    )
    standardise: Literal[False] = False


class PrimarySettings(Settings):
    """What a model is asked for: an energy, and one of several particle types if it learns several."""

    energies_GeV: EnergyRange | None = Field(
        default=None,
        description="energies of generated showers in training are uniform in this range [GeV]; null for "
        "those of the data. The public codes have a range whatever the data: 100 to 500 in 3DGAN, 1 to 100 "
        "in CaloGAN",
    )
    particles: tuple[int, ...] = Field(
        default=(),
        description="PDG codes of the particle types that one model learns, which the second of "
        "`preprocessing.inputs` gives; empty for one type",
    )
    preprocessing: PrimaryPreprocessing = PrimaryPreprocessing()

    @model_validator(mode="after")
    def _particles_are_several(self) -> Self:
        if len(self.particles) == 1 or len(set(self.particles)) < len(self.particles):
            raise ValueError(
                f"particles: found {list(self.particles)}, expected none or several different ones"
            )
        return self

    @model_validator(mode="after")
    def _inputs_are_energy_and_particle(self) -> Self:
        inputs = self.preprocessing.inputs
        if inputs[:1] != ("energy",) or len(inputs) != (2 if self.particles else 1):
            expected = "energy and the condition with the particle" if self.particles else "energy alone"
            raise ValueError(f"preprocessing.inputs: found {list(inputs)}, expected {expected}")
        return self

    @model_validator(mode="after")
    def _energies_increase(self) -> Self:
        require_increasing("energies_GeV", self.energies_GeV)
        return self


def require_increasing(name: str, energies_GeV: EnergyRange | None) -> None:
    """Refuse a range of energies that does not begin with the lower one.

    Raises
    ------
    ValueError
        In the words of the setting `name`.
    """
    if energies_GeV and energies_GeV[0] >= energies_GeV[1]:
        raise ValueError(f"{name}: found {list(energies_GeV)}, expected the lower energy first")


def require_energies_of_the_data(shape_weight: float, energies_GeV: EnergyRange | None) -> None:
    """Refuse to compare shapes of generated and real showers that do not have the same energies.

    Raises
    ------
    ValueError
        If there is a weight of shapes and a range of energies.
    """
    if shape_weight and energies_GeV:
        raise ValueError(
            f"shape_weight: found {shape_weight:g} with energies_GeV {list(energies_GeV)}, "
            "expected 0 or energies_GeV null: shapes are compared at the energies of the data"
        )
