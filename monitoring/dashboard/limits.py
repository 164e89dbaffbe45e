"""The limit of an alert, read from its expression in the rules."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

RULES = Path(__file__).parents[1] / "rules" / "g3zkp.yml"

_COMPARISON = re.compile(r"[<>]|==")
#: A number, or a product of numbers; not one that something else is multiplied by.
_NUMBER = re.compile(r" *(\d[\d.]*(?: *\* *\d[\d.]*)*)(?![\d.]| *\*)")


@dataclass(frozen=True, slots=True)
class Limit:
    """It is bad from `value` on, or, where `is_low`, below it."""

    value: float
    is_low: bool = False


def limits(rules: Path = RULES) -> Mapping[str, Limit]:
    """By alert, of those that compare with a number."""
    groups = yaml.safe_load(rules.read_text(encoding="utf-8"))["groups"]
    found = {rule["alert"]: _limit(rule["expr"]) for group in groups for rule in group["rules"]}
    return {name: limit for name, limit in found.items() if limit is not None}


def _limit(expr: str) -> Limit | None:
    """Of the first comparison. Counts and answers are whole numbers: more than 0, or equal to it, is decided at 1."""
    comparison = _COMPARISON.search(expr)
    number = comparison and _NUMBER.match(expr, comparison.end())
    if comparison is None or not number:
        return None
    value = math.prod(float(factor) for factor in number[1].split("*"))
    if value == 0:
        return Limit(1, is_low=comparison[0] == "==")
    return Limit(value, is_low=comparison[0] == "<")
