"""Versions as npm (semver.org), Python (PEP 440) and tags of images write them, as far as a plan needs them: their order,
and how far one is from another."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

_VERSION = re.compile(r"v?(\d{1,9}(?:\.\d{1,9}){0,3})(.*)", re.DOTALL)
#: Beside what follows the numbers: builds are none (semver), post-releases are none (PEP 440).
_FINAL = re.compile(r"(?:\+.*|\.post\d+)?")


class Change(StrEnum):
    """How much a step from one version to another may change (semver.org). `unknown` where versions do not say."""

    PATCH = "patch"
    MINOR = "minor"
    MAJOR = "major"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """`numbers` as written; `rest` is what follows them (`-alpine`, `rc1`, '')."""

    numbers: tuple[int, ...]
    rest: str = ""

    @property
    def is_final(self) -> bool:
        """No prerelease. Of a tag, `rest` is its variant, which says nothing of that."""
        return _FINAL.fullmatch(self.rest) is not None

    @classmethod
    def parse(cls, text: str) -> Version | None:
        """None for what begins with no number."""
        match = _VERSION.fullmatch(text.strip())
        return None if match is None else cls(tuple(map(int, match[1].split("."))), match[2])


def change(current: Version, newer: Version) -> Change:
    """Below 1.0 the first number that is not 0 is the one that breaks things."""
    length = max(len(current.numbers), len(newer.numbers), 3)
    one, two = (version.numbers + (0,) * (length - len(version.numbers)) for version in (current, newer))
    differs = next((place for place in range(length) if one[place] != two[place]), length)
    leading = next((place for place in range(length) if one[place]), 0)
    if differs <= leading:
        return Change.MAJOR
    return Change.MINOR if differs == 1 else Change.PATCH


def newest(current: str, offered: list[str]) -> str | None:
    """The newest final version of those offered, where it is newer than `current`; None where none is."""
    own = Version.parse(current)
    if own is None:
        return None
    found = {version: text for text in offered if (version := Version.parse(text)) and version.is_final}
    best = max(found, default=None, key=lambda one: _padded(one.numbers))
    return found[best] if best and _padded(best.numbers) > _padded(own.numbers) else None


def newest_tag(current: str, offered: list[str]) -> str | None:
    """As `newest`, of an image's tags: those of the same variant, and as exact as the current one (`18-alpine` is followed
    by `20-alpine`, and not by `20.1.0-alpine` or `20`)."""
    own = Version.parse(current)
    if own is None:
        return None
    like = {
        one: text for text in offered if (one := Version.parse(text)) is not None and _is_like(text, one, current, own)
    }
    best = max(like, default=own)
    return like[best] if best.numbers > own.numbers else None


def _is_like(text: str, one: Version, current: str, own: Version) -> bool:
    """A number that is much longer is a date, or a build, and not a version of this row."""
    return (one.rest, len(one.numbers), text[:1] == "v") == (own.rest, len(own.numbers), current[:1] == "v") and len(
        str(one.numbers[0])
    ) <= len(str(own.numbers[0])) + 2


def _padded(numbers: tuple[int, ...]) -> tuple[int, ...]:
    return numbers + (0,) * (4 - len(numbers))
