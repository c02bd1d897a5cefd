"""Parametrised showers in the manner of GFLASH, with parameters fitted to the training set.

G. Grindhammer, M. Rudowicz and S. Peters, Nucl. Instrum. Meth. A 290 (1990) 469; G. Grindhammer and S.
Peters, hep-ex/0001020: a gamma distribution in depth whose parameters fluctuate, a radial profile of two
components around the axis, energy in spots. There, parameters are functions of material constants.
"""

from pathlib import Path

import numpy as np

from caloforge.baselines.fit import TrainingSet, fit_parameters
from caloforge.baselines.model import showers_MeV
from caloforge.baselines.primaries import (
    has_direction,
    of_each_particle,
    particles,
    read_primaries,
    unknown_particle,
)
from caloforge.baselines.samples import Baseline, write_samples
from caloforge.baselines.slices import sliced
from caloforge.errors import CaloforgeError
from caloforge.seeds import derive_seed
from caloforge.showers import ShowerFile, Showers


def generate(
    *, train: Path, test: Path, output: Path, record: Path, readout_threshold_MeV: float, seed: int
) -> None:
    """Generate with `ParametrisedShowers`; see `samples.write_samples`."""
    write_samples(
        ParametrisedShowers,
        train=train,
        test=test,
        output=output,
        record=record,
        readout_threshold_MeV=readout_threshold_MeV,
        seed=seed,
    )


class ParametrisedShowers(Baseline):
    """Showers made from a few numbers that are fitted to those of each particle type of a training set.

    The visible over the incident energy and the shape and the mean depth of a gamma distribution fluctuate
    together as Gaussian logarithms. The gamma distribution, corrected on average, shares the visible energy
    out over the layers, a radial profile of two components around the axis of the primary over the cells of
    each layer. A cell gets a Poisson number of spots with exponential energies, and all cells are scaled to
    the visible energy.

    The axis is the straight flight from the entry point. Where primaries are inclined, layers of more than a
    tenth of the depth of the calorimeter are slices, with the profile of the layer around the axis at their
    depth. Axes are perpendicular where conditions do not tell the direction or the geometry not the depth. In
    images the mean depth is fitted to the centre of gravity of inclined showers, and the shape that of
    `longitudinal.usual_log_shape`.

    Parameters
    ----------
    file
        Canonical showers of the training set.
    readout_threshold_MeV
        Cells at or below it [MeV] tell little.
    seed
        Of the random numbers.

    Raises
    ------
    CaloforgeError
        If cells are not rectangular, a value is none of a shower, or there are fewer than 20 showers with
        energy of a particle type.
    """

    def __init__(self, file: ShowerFile, readout_threshold_MeV: float, seed: int) -> None:
        if file.geometry.kind != "cartesian":
            raise CaloforgeError(
                f"{file.path}: geometry {file.geometry.name} is {file.geometry.kind}, expected cartesian for "
                "parametrised showers"
            )
        self._seed = seed
        self._calorimeter = sliced(file.geometry, inclined=has_direction(file))
        self.block_showers = self._calorimeter.block_showers()
        self._fitted = {
            code: fit_parameters(
                TrainingSet(file, self._calorimeter, code),
                readout_threshold_MeV,
                derive_seed(seed, "fit", code),
            )
            for code in particles(file)
        }
        self.parameters = {str(code): found.as_dict() for code, found in self._fitted.items()}

    def showers_MeV(self, requested: Showers, file: ShowerFile, first: int) -> np.ndarray:
        """See `Baseline`."""
        cells_MeV = np.empty((len(requested), file.geometry.n_cells))
        primaries = read_primaries(requested, file)
        for code, rows in of_each_particle(requested):
            if code not in self._fitted:
                raise unknown_particle(requested, code, file, self._fitted)
            rngs = [
                np.random.default_rng(derive_seed(self._seed, "shower", int(first + row))) for row in rows
            ]
            cells_MeV[rows] = showers_MeV(self._fitted[code], self._calorimeter, primaries.of(rows), rngs)
        return cells_MeV
