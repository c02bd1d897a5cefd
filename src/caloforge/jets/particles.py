"""Towers as massless particles.

Particles of n events are an awkward array of the type `n * var * {px, py, pz, E}`, float64 [GeV]. Their order
matters: FastJet decides between equal distances, of which a grid has many, by it.
"""

import awkward as ak
import numpy as np

from caloforge.geometry import EtaPhiLayer


def pixel_particles(images_MeV: np.ndarray, layer: EtaPhiLayer) -> ak.Array:
    """Pixels with energy as massless particles in the direction of their centres, in the order of the cells.

    Parameters
    ----------
    images_MeV
        Energies [MeV], shape (n, V).
    layer
        The V towers.
    """
    event, cell = np.divmod(np.flatnonzero(images_MeV > 0), layer.n_cells)
    counts = np.bincount(event, minlength=len(images_MeV))
    energy_GeV = images_MeV[event, cell].astype(np.float64) / 1000
    return massless_particles(counts, energy_GeV, directions(*pixel_centres(layer))[:, cell])


def pixel_centres(layer: EtaPhiLayer) -> tuple[np.ndarray, np.ndarray]:
    """Pseudorapidity and azimuth [rad] of the centre of every cell, both of shape (V,)."""
    eta, phi = ((edges[:-1] + edges[1:]) / 2 for edges in (layer.edges(0), layer.edges(1)))
    return np.repeat(eta, len(phi)), np.tile(phi, len(eta))


def directions(eta: np.ndarray, phi: np.ndarray) -> np.ndarray:
    """Unit vectors of the directions with these pseudorapidities and azimuths [rad]: shape (3, k)."""
    return np.stack([np.cos(phi) / np.cosh(eta), np.sin(phi) / np.cosh(eta), np.tanh(eta)])


def massless_particles(counts: np.ndarray, energy_GeV: np.ndarray, direction: np.ndarray) -> ak.Array:
    """Particles from energy and direction.

    Parameters
    ----------
    counts
        Number of particles in each event, shape (n,).
    energy_GeV, direction
        Energy [GeV], shape (k,), and unit vector, shape (3, k), of the particles of all events one after the
        other.
    """
    momentum = dict(zip(("px", "py", "pz"), energy_GeV * direction, strict=True))
    return ak.unflatten(ak.zip(momentum | {"E": energy_GeV}), counts)


def flat(particles: ak.Array) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Number of particles in each list, and the components of all particles one after the other [GeV]."""
    return (
        ak.to_numpy(ak.num(particles)),
        {name: ak.to_numpy(ak.flatten(particles[name])) for name in ("px", "py", "pz", "E")},
    )


def pick(particles: ak.Array, row: np.ndarray, index: ak.Array) -> ak.Array:
    """Lists of particles picked from other lists, each in the order of the list it is from.

    Parameters
    ----------
    particles
        Lists to pick from.
    row
        Which of them each new list is from, shape (m,).
    index
        Positions in that list, type `m * var * int`.
    """
    counts, lengths = ak.to_numpy(ak.num(index)), ak.to_numpy(ak.num(particles))
    first = np.cumsum(lengths) - lengths
    position = np.repeat(first[row], counts) + ak.to_numpy(ak.flatten(ak.sort(index)))
    return ak.unflatten(ak.to_packed(ak.flatten(particles)[position]), counts)
