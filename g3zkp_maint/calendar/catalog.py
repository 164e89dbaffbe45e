"""The calendar module that the settings name, loaded and checked.

Loaded by name because `beat_schedule.py` is the top layer, and because tests and other sites bring their own.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from g3zkp_maint.calendar.entry import CalendarEntry
from g3zkp_maint.errors import MaintenanceError, SettingsError


@dataclass(frozen=True, slots=True)
class Catalog:
    """`maintenance` is the calendar proper (CALENDAR), `upkeep` what the product does for itself (UPKEEP)."""

    maintenance: tuple[CalendarEntry, ...]
    upkeep: tuple[CalendarEntry, ...] = ()

    @property
    def everything(self) -> tuple[CalendarEntry, ...]:
        """What is dispatched. Precedence is resolved over all of it."""
        return self.maintenance + self.upkeep


def load_catalog(module: str) -> Catalog:
    """The catalog of the Python module `module`. Raises SettingsError: no such module, no CALENDAR, a name twice."""
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise SettingsError(f"beat.calendar={module!r}: {error}; name a Python module that can be imported") from error
    except MaintenanceError as error:
        raise SettingsError(f"beat.calendar={module!r} is wrong: {error}") from error
    if not hasattr(loaded, "CALENDAR"):
        raise SettingsError(f"beat.calendar={module!r} has no CALENDAR; it must be a tuple of CalendarEntry")
    catalog = Catalog(tuple(loaded.CALENDAR), tuple(getattr(loaded, "UPKEEP", ())))
    _check(catalog, module)
    return catalog


def _check(catalog: Catalog, module: str) -> None:
    strangers = [type(one).__name__ for one in catalog.everything if not isinstance(one, CalendarEntry)]
    if strangers:
        raise SettingsError(f"beat.calendar={module!r} holds {strangers[0]}; only CalendarEntry may be in it")
    names = [entry.name for entry in catalog.everything]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(f"beat.calendar={module!r} names {', '.join(twice)} twice; names must differ")
