"""What a source says of its events beside their cells: number, energy of the primary, conditions."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from caloforge.config.dataset import DatasetSettings
from caloforge.errors import CaloforgeError
from caloforge.ingest.batch import Entries
from caloforge.ingest.columns import Formula, parse
from caloforge.showers import Showers
from caloforge.units import unit_factor


@dataclass(frozen=True)
class PrimaryColumns:
    """Formulas of the columns that a source has for each event.

    Attributes
    ----------
    event
        Event number; None to count events.
    incident_energy
        Energy of the primary; None for collision events.
    incident_factor
        To MeV.
    conditions
        By name.
    """

    event: Formula | None
    incident_energy: Formula | None
    incident_factor: float
    conditions: Mapping[str, Formula]

    @classmethod
    def of(
        cls, settings: DatasetSettings, present: Collection[str], where: str, noun: str = "branch"
    ) -> Self:
        """The formulas of the settings, each column of them being among those `present`.

        Raises
        ------
        CaloforgeError
            If a column is missing; `where` and `noun` are for the message.
        """
        source = settings.source
        energy = source.incident_energy
        try:
            event = source.event and parse(source.event, present, where, noun)
        except CaloforgeError as error:
            raise CaloforgeError(f"{error}; with source.event: null events are counted instead") from None
        return cls(
            event,
            energy and parse(energy.column, present, where, noun),
            unit_factor(energy.unit, "MeV") if energy else 1,
            {
                name: parse(condition.column, present, where, noun)
                for name, condition in settings.conditions.items()
            },
        )

    @property
    def formulas(self) -> tuple[Formula, ...]:
        """All formulas."""
        return tuple(filter(None, (self.event, self.incident_energy, *self.conditions.values())))

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns to read, each once."""
        return tuple(dict.fromkeys(name for formula in self.formulas for name in formula.columns))

    def entries(
        self, columns: Mapping[str, np.ndarray], n: int, where: str, first_entry: int, before: int, noun: str
    ) -> Entries:
        """The n entries whose columns these are, `before` of them being in earlier files."""
        event = self.event(columns) if self.event else np.arange(n) + first_entry + before
        return Entries(where, first_entry, event, noun)

    def showers(self, entries: Entries, columns: Mapping[str, np.ndarray], cells_MeV: np.ndarray) -> Showers:
        """Showers of the entries, every number of the columns checked.

        Parameters
        ----------
        entries, columns
            Of n events.
        cells_MeV
            Cell energies, checked, float32, shape (n, V).

        Raises
        ------
        CaloforgeError
            If a number is not finite, an energy not above 0, an event number no integer.
        """
        event = entries.event_numbers(self.event.text if self.event else "event")
        if self.incident_energy:
            found = self.incident_energy(columns)
            incident_MeV = entries.incident_MeV(self.incident_energy.text, found, self.incident_factor)
        else:
            incident_MeV = cells_MeV.sum(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
        conditions = {
            name: entries.numbers(formula.text, formula(columns)) for name, formula in self.conditions.items()
        }
        return Showers(cells_MeV, incident_MeV, conditions, event)
