"""What k8s/ lets each account do, for the monthly audit.

`python -m g3zkp_maint.testing.least_rights K8S OUT` writes it as g3zkp_maint/audit/least_rights.yaml has it.
"""

from __future__ import annotations

import copy
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

from g3zkp_maint.audit.least_rights import FLEETS, MESSENGER
from g3zkp_maint.audit.rights import Grant, grants
from g3zkp_maint.testing.rendered import Object, of_kind, optional_components, render, render_with

_PLACES = {"g3zkp": MESSENGER, "g3zkp-maint": FLEETS, None: None}
_HEAD = """\
# What k8s/base grants each account (is_needed), and what the components of k8s/components add. Made by `make rights`.
"""


def document(base: list[Object], whole: list[Object]) -> dict[str, list[Object]]:
    """By account, from the base and from what it is with all components."""
    needed = grants(base)
    optional = [one for one in grants(whole) if one not in needed]
    accounts = [
        (str(one["metadata"]["namespace"]), str(one["metadata"]["name"])) for one in of_kind(whole, "ServiceAccount")
    ]
    return {
        f"{_PLACES[namespace]}/{name}": [
            *_entries(needed, f"system:serviceaccount:{namespace}:{name}", is_needed=True),
            *_entries(optional, f"system:serviceaccount:{namespace}:{name}", is_needed=False),
        ]
        for namespace, name in sorted(accounts)
    }


def text(k8s: Path) -> str:
    """The file as it should be. Raises CalledProcessError where kubectl cannot render."""
    with tempfile.TemporaryDirectory() as scratch:
        whole = render_with(k8s, "production", optional_components(k8s), Path(scratch))
    found = document(render(k8s / "base"), whole)
    return _HEAD + yaml.safe_dump(found, sort_keys=False, default_flow_style=None, width=120)


def _entries(found: Iterable[Grant], subject: str, *, is_needed: bool) -> Iterator[Object]:
    for one in found:
        if one.subject == subject:
            kind, _, name = one.role.partition("/")
            role = f"{kind}/{name.rpartition('/')[2]}"
            # A Role of two accounts is written out twice: references are no easy reading.
            yield {
                "role": role,
                "in": _PLACES[one.namespace],
                "is_needed": is_needed,
                "rules": copy.deepcopy([*one.rules]),
            }


if __name__ == "__main__":
    k8s, out = map(Path, sys.argv[1:])
    out.write_text(text(k8s), encoding="utf-8")
