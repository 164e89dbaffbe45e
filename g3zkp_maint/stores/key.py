"""What a key of a store may be: the same rule for all of them, so that archives can move from one to another."""

from __future__ import annotations

from g3zkp_maint.errors import BadInput


def is_key(key: str) -> bool:
    """A relative POSIX path: no empty part, none that starts with a dot (those are the stores' own)."""
    return not any(not part or part.startswith(".") or "\0" in part for part in key.split("/"))


def checked_key(key: str) -> str:
    """Raises BadInput for what is no key."""
    if not is_key(key):
        raise BadInput(f"{key!r} is not a store key: relative, no empty part, none that starts with a dot")
    return key


def checked_prefix(prefix: str) -> str:
    """Any beginning of a key. Raises BadInput for one with which no key can begin."""
    folder = prefix.rpartition("/")[0]
    if folder:
        checked_key(folder)
    return prefix
