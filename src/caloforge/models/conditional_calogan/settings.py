"""Settings of the conditional CaloGAN, with the values of the paper and of its public code."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    field_validator,
    model_validator,
)

from caloforge.config.dataset import DatasetSettings
from caloforge.config.stages import InputExpression, ModelTrainingSettings, PreprocessingSettings
from caloforge.models.layer_stack.settings import LayerStackSettings

AttributeWeights = Annotated[
    Annotated[NonNegativeFloat, Tag("one")] | Annotated[dict[str, NonNegativeFloat], Tag("each")],
    Discriminator(lambda value: "each" if isinstance(value, dict) else "one"),
]


class AttributePreprocessing(PreprocessingSettings):
    """Cells in GeV as they are; attributes with mean 0 and standard deviation 1."""

    energies: Literal["linear"] = "linear"
    inputs: tuple[InputExpression, ...] = Field(
        default=("energy", "x0", "y0", "px/pz", "py/pz"),
        min_length=2,
        description="energy and then the attributes. The paper has two angles besides x0 and y0; its theta = "
        "arccos(py/p) and phi = -arctan(px/pz) are slopes to first order around perpendicular incidence, "
        "where angles around the axis of the calorimeter are singular",
    )
    standardise: Literal[True] = True

    @field_validator("inputs")
    @classmethod
    def _energy_comes_first(cls, inputs: tuple[str, ...]) -> tuple[str, ...]:
        if inputs[0] != "energy" or len(set(inputs)) < len(inputs):
            raise ValueError(f"found {list(inputs)}, expected energy first and every input once")
        return inputs


class ConditionalCaloGanSettings(LayerStackSettings):
    """CaloGAN with convolutions, soft sparsity and a head that reads attributes off a shower.

    L. de Oliveira, M. Paganini and B. Nachman, Controlling Physical Attributes in GAN-Accelerated Simulation
    of Electromagnetic Calorimeters (2017), arXiv:1711.08813; numbers that the paper leaves open are those of
    the group's public code, https://github.com/hep-lbdl/CaloGAN.
    """

    reconstructed_inputs: ClassVar[slice] = slice(1, None)
    """The attributes, which the attribute head reads off showers."""

    family: Literal["conditional_calogan"]
    blurred_layers: tuple[NonNegativeInt, ...] = Field(
        default=(),
        description="layers, from 0, whose images the generator smears with a fixed 3 x 3 mean; the paper "
        "smears some, the last version of its public code none",
    )
    sparsity: Literal["threshold", "published"] = Field(
        default="threshold",
        description="soft share of hit cells that the discriminator sees: a cell at the readout threshold is "
        "half a hit, or the function of the public code, where one at about 0.8 GeV is",
    )
    energy_weight: NonNegativeFloat = Field(
        default=0.05, description="of the error of the visible energy of generated showers, in GeV of primary"
    )
    attribute_weights: AttributeWeights = Field(
        default=0.3,
        description="of the error of each attribute in its standard deviations, one for all or by the name "
        "of the attribute. The public code has 0.01 for errors in mm and rad: 0.3 for a position whose "
        "standard deviation is 29 mm, next to nothing for an angle",
    )
    head_learns_from: Literal["full_simulation", "both"] = Field(
        default="full_simulation",
        description="showers that the attribute head learns from: those of the data alone, as in equation 3 "
        "of the paper, or generated ones as well, as in the public code, where head and generator can agree "
        "on signs of the attributes that real showers do not have",
    )
    flipped_labels: float = Field(
        default=0.05,
        ge=0,
        lt=0.5,
        description="share of exchanged labels; the paper flips labels without stating a share, 5 % is the "
        "default of a function in the public code",
    )
    generator_steps: PositiveInt = Field(
        default=2, description="generator updates per discriminator update on each kind of showers"
    )
    kernel_penalty: NonNegativeFloat = Field(
        default=2.5e-5, description="of the sum of squares of every kernel, added to the losses"
    )
    learning_rate: PositiveFloat = 2e-4
    discriminator_learning_rate: PositiveFloat = 2e-5
    adam_betas: tuple[float, float] = (0.5, 0.999)
    preprocessing: AttributePreprocessing = AttributePreprocessing()
    training: ModelTrainingSettings = ModelTrainingSettings(epochs=150, batch_size=256)

    @property
    def attributes(self) -> tuple[str, ...]:
        """The inputs besides the energy, in their order."""
        return self.preprocessing.inputs[1:]

    @property
    def weights(self) -> tuple[float, ...]:
        """`attribute_weights`, one for each of `attributes`."""
        if isinstance(self.attribute_weights, dict):
            return tuple(self.attribute_weights[name] for name in self.attributes)
        return (self.attribute_weights,) * len(self.attributes)

    @model_validator(mode="after")
    def _weights_are_of_the_attributes(self) -> Self:
        weights = self.attribute_weights
        if isinstance(weights, dict) and set(weights) != set(self.attributes):
            raise ValueError(
                f"attribute_weights: found {', '.join(weights) or 'none'}, "
                f"expected {', '.join(self.attributes)}"
            )
        return self

    def misfit(self, dataset: DatasetSettings) -> str | None:
        """Say what keeps these networks from taking the showers of a data set; None if nothing does."""
        misfit = super().misfit(dataset)
        if misfit:
            return misfit
        geometry = dataset.geometry
        missing = [layer for layer in self.blurred_layers if layer >= len(geometry.layers)]
        if missing:
            return (
                f"blurred_layers has {missing[0]}, geometry {geometry.name} has "
                f"{len(geometry.layers)} layers counted from 0"
            )
        return None
