"""How long work tells of itself: the domain reports through this Protocol and knows nothing of who listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called from any thread, often; must be cheap and must not raise."""

    def advance(self, bytes: int = 0, files: int = 0) -> None:
        """So many more bytes and files are done."""
        ...

    def step(self, name: str) -> None:
        """The work goes on to the step of this name."""
        ...


class NoProgress:
    """Nobody listens."""

    def advance(self, bytes: int = 0, files: int = 0) -> None:
        pass

    def step(self, name: str) -> None:
        pass
