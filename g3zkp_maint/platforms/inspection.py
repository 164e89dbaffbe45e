"""What is declared where the messenger runs, as far as whoever asks may list it. No Secret is ever asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Inspected:
    """Objects with their kind and namespace. `refused` has what could not be listed (`roles in g3zkp`), and why."""

    objects: tuple[dict[str, Any], ...]
    refused: tuple[tuple[str, str], ...]


class Inspection(Protocol):
    """The cluster around the messenger, as far as audits see it."""

    def look(self) -> Inspected:
        """Raises PlatformUnavailable."""
        ...
