"""What g3zkp-maint needs to be installed, with the versions that are here: `make pins` writes them for the image."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

OURS = "g3zkp-maint"

_HEAD = """\
# What the image is built with: every package that g3zkp-maint needs, in the version that the tests ran with. Made by `make pins`.
"""


def needed(name: str = OURS) -> Iterator[Distribution]:
    """Distributions that `name` needs to be installed, itself first; one may come twice."""
    yield from _walk(name, (), set())


def _walk(name: str, extras: tuple[str, ...], seen: set[tuple[str, tuple[str, ...]]]) -> Iterator[Distribution]:
    found = distribution(name)
    if (found.name, extras) in seen:
        return
    seen.add((found.name, extras))
    yield found
    for text in found.requires or ():
        one = Requirement(text)
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras or ("",)):
            yield from _walk(one.name, tuple(sorted(one.extras)), seen)


def pins() -> dict[str, str]:
    """Version by name, of all but g3zkp-maint itself."""
    found = {str(canonicalize_name(one.name)): one.version for one in needed()}
    del found[OURS]
    return dict(sorted(found.items()))


if __name__ == "__main__":
    sys.stdout.write(_HEAD + "".join(f"{name}=={version}\n" for name, version in pins().items()))
