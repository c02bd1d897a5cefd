"""A trained model, ready to use."""

from pathlib import Path
from typing import Any

from caloforge import checkpoint as checkpoints
from caloforge.models.family import Family, build
from caloforge.preprocessing import Preprocessing
from caloforge.showers import ShowerFile


def load_model(model: Any, reference: ShowerFile, preprocessing: Preprocessing, checkpoint: Path) -> Family:
    """The trained model, on the CPU and in evaluation mode, for showers like those of `reference`.

    Raises
    ------
    CaloforgeError
        If the checkpoint was made with other settings, another geometry or another preprocessing, or the
        file lacks the images that the model is given.
    """
    preprocessing.require_inputs(reference)
    content = checkpoints.load(checkpoint, model.family)
    checkpoints.require(
        checkpoint,
        content,
        settings=model.model_dump(mode="json"),
        geometry=reference.geometry.model_dump(mode="json"),
        preprocessing=preprocessing.as_dict(),
    )
    network = build(model, reference.geometry, preprocessing)
    network.load_state_dict(content["weights"])
    return network.eval()
