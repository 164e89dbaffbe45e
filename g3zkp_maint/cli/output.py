"""What commands print: tables for people, aligned lines for pipes, one JSON document for machines; progress on stderr.

Names that come from data (files, runs) are made printable first: a terminal obeys escape sequences, also those in a file
name.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from g3zkp_maint.progress import NoProgress, Progress
from g3zkp_maint.quantity import human_bytes, human_seconds

__all__ = [
    "AsJson",
    "Lines",
    "human_bytes",
    "human_seconds",
    "print_json",
    "print_table",
    "printable",
    "progress",
    "say",
]

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

#: For the signatures of commands: `as_json: AsJson = False`.
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document, for machines.")]

_LINE_SECONDS = 3.0
_LINE_SHARE = 0.1


def say(text: str) -> None:
    """A line for people on stdout."""
    sys.stdout.write(printable(text) + "\n")


def print_json(document: object) -> None:
    """One JSON document on stdout; times in ISO, paths and the like as text."""
    sys.stdout.write(json.dumps(document, indent=2, default=_jsonable) + "\n")


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "", right: Collection[str] = ()
) -> None:
    """A table on a terminal, else lines aligned in columns with a head, which `awk` and `grep` can read.

    `right` names the columns that are aligned on their right, as numbers are.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_rich(columns, cells, title, right)
        return
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for row in ([name.upper() for name in columns], *cells):
        parts = [
            cell.rjust(width) if name in right else cell.ljust(width)
            for cell, width, name in zip(row, widths, columns, strict=True)
        ]
        sys.stdout.write("  ".join(parts).rstrip() + "\n")


def printable(value: object) -> str:
    """`value` as text on one line: control characters and bytes that are not UTF-8 as escapes, a time in UTC."""
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(value))


@contextmanager
def progress(label: str, total: int | None = None, *, quiet: bool = False) -> Iterator[Progress]:
    """Shows how far work of `total` bytes is: a bar on a terminal, else a line every few seconds or tenth of the whole.

    `quiet` shows nothing (`--json`). All of it goes to stderr.
    """
    if quiet:
        yield NoProgress()
    elif sys.stderr.isatty():
        with _bars() as bars:
            yield _Bar(bars, label, total)
    else:
        lines = Lines(label, total, sys.stderr)
        yield lines
        lines.finish()


class Lines:
    """Progress as plain lines: at most one in `_LINE_SECONDS`, except where another tenth of the whole is done."""

    def __init__(
        self, label: str, total: int | None, stream: TextIO, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._label, self._total, self._stream, self._monotonic = label, total, stream, monotonic
        self._lock = threading.Lock()
        self._bytes = self._files = 0
        self._start = self._written_at = monotonic()
        self._written_bytes = 0

    def advance(self, bytes: int = 0, files: int = 0) -> None:
        with self._lock:
            self._bytes += bytes
            self._files += files
            if self._is_due():
                self._write()

    def step(self, name: str) -> None:
        with self._lock:
            self._stream.write(f"{self._label}: {printable(name)}\n")

    def finish(self) -> None:
        """The last line: what was done, in what time."""
        with self._lock:
            self._write()

    def _is_due(self) -> bool:
        share = (self._bytes - self._written_bytes) / self._total if self._total else 0
        return share >= _LINE_SHARE or self._monotonic() - self._written_at >= _LINE_SECONDS

    def _write(self) -> None:
        now = self._monotonic()
        elapsed = now - self._start
        share = f" {100 * self._bytes / self._total:.0f} %" if self._total else ""
        rate = f", {human_bytes(self._bytes / elapsed)}/s" if elapsed > 0 else ""
        self._stream.write(
            f"{self._label}:{share} {human_bytes(self._bytes)}, {self._files} files, {human_seconds(elapsed)}{rate}\n"
        )
        self._written_at, self._written_bytes = now, self._bytes


class _Bar:
    """Progress as rich's bar, which does its own locking."""

    def __init__(self, bars: Bars, label: str, total: int | None) -> None:
        self._bars, self._label = bars, label
        self._task = bars.add_task(label, total=total)

    def advance(self, bytes: int = 0, files: int = 0) -> None:  # noqa: ARG002 -- the bar measures bytes
        self._bars.advance(self._task, bytes)

    def step(self, name: str) -> None:
        self._bars.update(self._task, description=f"{self._label}: {printable(name)}")


def _bars() -> Bars:
    from rich import progress as rich  # noqa: PLC0415 -- pipes and --help do without
    from rich.console import Console  # noqa: PLC0415

    return rich.Progress(
        rich.TextColumn("{task.description}", markup=False),
        rich.BarColumn(),
        rich.TaskProgressColumn(),
        rich.DownloadColumn(binary_units=True),
        rich.TransferSpeedColumn(),
        rich.TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def _print_rich(columns: Sequence[str], cells: Sequence[Sequence[str]], title: str, right: Collection[str]) -> None:
    from rich.console import Console  # noqa: PLC0415 -- pipes and --help do without
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(title=title or None, title_justify="left")
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left")
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))  # Text: brackets in a name are no markup
    Console().print(table)


def _jsonable(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)
