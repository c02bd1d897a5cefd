"""Binning files of the CaloChallenge (XML): the cells of cylindrical layers."""

from pathlib import Path
from xml.etree import ElementTree

from pydantic import Field

from caloforge.config.base import Settings
from caloforge.geometry import CylindricalLayer, Geometry


class BinningFile(Settings):
    """A geometry that an XML file of the CaloChallenge lists for a particle."""

    binning: str = Field(description="XML file, relative to the working directory")
    particle: str = Field(description="name of the particle in the file: photon, pion or electron")
    name: str = Field(default="CaloChallenge", min_length=1, description="name of the detector")

    def geometry(self) -> Geometry:
        """Read the file.

        Layers whose only edge is 0 have no cells and are left out (C. Krause et al., CaloChallenge 2022: A
        Community Challenge for Fast Calorimeter Simulation, 2024, section on the data sets and their files).

        Raises
        ------
        ValueError
            If the file cannot be read, is no binning file or does not list the particle.
        """
        try:
            root = ElementTree.parse(self.binning).getroot()
        except OSError as error:
            raise ValueError(f"{self.binning}: cannot be read: {error.strerror}") from None
        except ElementTree.ParseError as error:
            raise ValueError(f"{self.binning}: not a binning file (XML): {error}") from None
        particles = {element.get("name"): element for element in root.iter("Bin")}
        if self.particle not in particles:
            found = ", ".join(map(str, particles)) or "none"
            raise ValueError(f"{self.binning}: particle {self.particle!r} expected, found {found}")
        layers = []
        for element in particles[self.particle].iter("Layer"):
            edges = tuple(map(float, element.get("r_edges", "").split(",")))
            if len(edges) > 1:
                layers.append(
                    CylindricalLayer(
                        kind="cylindrical",
                        label=element.get("id", ""),
                        n_alpha=element.get("n_bin_alpha"),
                        r_edges_mm=edges,
                    )
                )
        if not layers:
            raise ValueError(f"{self.binning}: particle {self.particle!r} has no layer with cells")
        return Geometry(name=self.name, layers=tuple(layers), note=f"cells of {Path(self.binning).name}")
