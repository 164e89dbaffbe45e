"""How one run is shown: a tree of its starts and steps, by columns that a pipe can read."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import datetime

from g3zkp_maint.cli.output import human_bytes, human_seconds, printable, say
from g3zkp_maint.history import RunLine
from g3zkp_maint.run_tree import Branch

_REMARK_LENGTH = 100


def print_run(line: RunLine, starts: Sequence[Branch]) -> None:
    """A head, then a line for each start and each of its steps; errors below the line that they belong to."""
    say(line.run)
    parts = [line.task, line.slot, line.state, line.outcome, human_seconds(line.seconds)]
    parts += [human_bytes(line.bytes)] if line.bytes else []
    say("  ".join(part for part in parts if part))
    rows = list(_rows(starts))
    widths = [max(len(row[column]) for row, _ in rows) for column in range(5)] if rows else []
    for row, below in rows:
        cells = [
            row[0].ljust(widths[0]),
            row[1].ljust(widths[1]),
            row[2].rjust(widths[2]),
            row[3].rjust(widths[3]),
            row[4].ljust(widths[4]),
            row[5],
        ]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
        sys.stdout.writelines(f"{text}\n" for text in below)


def _rows(starts: Sequence[Branch]) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Of each line its cells (branch, time, took, bytes, outcome, remarks), and what is said below it."""
    for start in starts:
        last = start is starts[-1]
        yield _line(start, "└─ " if last else "├─ ", "   " if last else "│  ")
        for step in start.steps:
            is_last = step is start.steps[-1]
            stem = "   " if last else "│  "
            yield _line(step, stem + ("└─ " if is_last else "├─ "), stem + ("   " if is_last else "│  "))


def _line(one: Branch, twig: str, stem: str) -> tuple[tuple[str, ...], list[str]]:
    name = one.name + (f" ({one.tries} tries)" if one.tries > 1 else "")
    took = "" if one.seconds is None else human_seconds(one.seconds)
    moved = "" if one.bytes is None else human_bytes(one.bytes)
    below = [f"{stem}  {printable(one.error)}"] if one.error else []
    return (twig + printable(name), _time(one.began), took, moved, _end(one), _remarks(one)), below


def _end(one: Branch) -> str:
    if not one.how:
        return "under way"
    return printable(one.outcome if one.how == "finished" and one.outcome else f"{one.how} {one.outcome}".rstrip())


def _remarks(one: Branch) -> str:
    words = [f"{name}={printable(value)}" for name, value in one.remarks.items() if value not in {None, ""}]
    who = [f"attempt {one.attempt}"] if one.attempt > 1 else []
    who += [printable(one.owner)] if one.owner else []
    text = " ".join([*who, *words])
    return text if len(text) <= _REMARK_LENGTH else text[: _REMARK_LENGTH - 1] + "…"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}Z"
