"""Binning files of the CaloChallenge (XML): the cells of cylindrical layers."""

from pathlib import Path
from xml.etree import ElementTree

from pydantic import Field, ValidationError

from caloforge.config.base import Settings
from caloforge.geometry import CylindricalLayer, Geometry

LARGEST_BYTES = 1 << 20
"""Of a binning file; those of the CaloChallenge are some kilobytes."""


class BinningFile(Settings):
    """A geometry that an XML file of the CaloChallenge lists for a particle."""

    binning: str = Field(description="XML file, relative to the working directory")
    particle: str = Field(description="name of the particle in the file: photon, pion or electron")
    name: str = Field(default="CaloChallenge", min_length=1, description="name of the detector")

    def geometry(self) -> Geometry:
        """Read the file: `<Bins><Bin pid name><Layer id r_edges n_bin_alpha/></Bin></Bins>`, edges in mm.

        Layers whose only edge is 0 have no cells and are left out (C. Krause et al., CaloChallenge 2022: A
        Community Challenge for Fast Calorimeter Simulation, 2024, section on the data sets and their files).

        Raises
        ------
        ValueError
            If the file cannot be read, is no binning file, does not list the particle or describes a layer
            that cannot be.
        """
        particles = self._bins().findall("Bin")
        found = [element for element in particles if element.get("name") == self.particle]
        if len(found) != 1:
            names = ", ".join(element.get("name", "") for element in particles) or "none"
            raise ValueError(f"{self.binning}: particles {names} found, expected {self.particle} once")
        layers = tuple(filter(None, map(self._layer, found[0].findall("Layer"))))
        if not layers:
            raise ValueError(f"{self.binning}: particle {self.particle}: no layer with cells found")
        return Geometry(name=self.name, layers=layers, note=f"cells of {Path(self.binning).name}")

    def _bins(self) -> ElementTree.Element:
        """The outermost element of the file."""
        try:
            with Path(self.binning).open("rb") as file:
                content = file.read(LARGEST_BYTES + 1)
        except OSError as error:
            raise ValueError(f"{self.binning}: cannot be read: {error.strerror}") from None
        if len(content) > LARGEST_BYTES:
            raise ValueError(
                f"{self.binning}: more than {LARGEST_BYTES} bytes found, expected a binning file"
            )
        try:
            root = ElementTree.fromstring(content)  # expat limits what entities may grow to
        except (ElementTree.ParseError, LookupError, ValueError) as error:
            raise ValueError(f"{self.binning}: not a binning file (XML): {error}") from None
        if root.tag != "Bins":
            raise ValueError(f"{self.binning}: element {root.tag} found, expected Bins (a binning file)")
        return root

    def _layer(self, element: ElementTree.Element) -> CylindricalLayer | None:
        """A layer, or None if it has no cells."""
        where = f"{self.binning}: particle {self.particle}, layer {element.get('id', 'without id')}"
        text = {name: element.get(name) for name in ("id", "r_edges", "n_bin_alpha")}
        for name, value in text.items():
            if value is None:
                raise ValueError(f"{where}: no attribute {name} found")
        edges = [edge.strip() for edge in text["r_edges"].split(",")]
        if edges in (["0"], ["0.0"]):
            return None
        try:
            layer = CylindricalLayer(
                kind="cylindrical", label=text["id"], n_alpha=text["n_bin_alpha"].strip(), r_edges_mm=edges
            )
        except ValidationError as error:
            problem = error.errors()[0]
            name = "n_bin_alpha" if problem["loc"][0] == "n_alpha" else "r_edges"
            message = problem["msg"].removeprefix("Value error, ")
            raise ValueError(f"{where}: {name} {text[name]!r} found: {message}") from None
        if layer.r_edges_mm[0] < 0:
            raise ValueError(f"{where}: r_edges {text['r_edges']!r} found: a radius cannot be below 0")
        return layer
