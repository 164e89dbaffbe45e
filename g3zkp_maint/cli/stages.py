"""The steps of a backup in the journal, as its progress tells of them: `plan`, `shards` (all of them as one), `seal`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from g3zkp_maint.coordination.journal import Step
from g3zkp_maint.progress import Progress

_ONE_EACH = ("plan", "seal")


class Stages:
    """A Progress that passes everything on, and keeps one step of the journal open: the one that is under way."""

    def __init__(self, shown: Progress, step: Callable[[str], AbstractContextManager[Step]]) -> None:
        self._shown = shown
        self._step = step
        self._lock = threading.Lock()
        self._name = ""
        self._open: AbstractContextManager[Step] | None = None
        self._current: Step | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._close(kind, error, trace)

    def advance(self, bytes: int = 0, files: int = 0) -> None:
        with self._lock:
            if self._current is not None and self._name == "shards":
                self._current.bytes = (self._current.bytes or 0) + bytes
        self._shown.advance(bytes, files)

    def step(self, name: str) -> None:
        stage = name if name in _ONE_EACH else "shards"
        with self._lock:
            if stage != self._name:
                self._close(None, None, None)
                self._name, self._open = stage, self._step(stage)
                self._current = self._open.__enter__()
        self._shown.step(name)

    def _close(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open is not None:
            opened, self._open, self._current = self._open, None, None
            opened.__exit__(kind, error, trace)
