"""One thing, told as lines `name  value`: what is empty is left out, what counts bytes or seconds is put for people."""

from __future__ import annotations

from collections.abc import Mapping

from g3zkp_maint.cli.output import human_bytes, human_seconds, printable, say


def print_facts(facts: Mapping[str, object]) -> None:
    """Names end in `bytes` or `_seconds` where their value is so many of them; of a list, each item has its line."""
    shown = {name: value for name, value in facts.items() if value is not None and value not in ("", [], (), {})}
    width = max(map(len, shown), default=0)
    for name, value in shown.items():
        label = name.removesuffix("_seconds").replace("_", " ")
        for number, item in enumerate(value if isinstance(value, list | tuple) else [value]):
            say(f"{label if not number else '':<{width}}  {_text(name, item)}")


def _text(name: str, value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{number} {key}" for key, number in sorted(value.items()))
    if isinstance(value, int | float) and not isinstance(value, bool):
        if name.endswith("bytes"):
            return human_bytes(value)
        if name.endswith("_seconds"):
            return human_seconds(value)
    return printable(value)
