"""The Lua scripts of this package, as callables that speak the product's errors.

A script runs in Redis alone, with no other command in between: that is what makes a lease of several resources all or
nothing. Each lies in `lua/` with its keys and arguments explained at its top; `common.lua` is put before all of them.
Key names that hold a resource are built here only in `keys.py`, so scripts get every key they touch from their caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import Any

import redis

from g3zkp_maint.coordination.connection import reaching

_FOLDER = resources.files(__package__) / "lua"


class Script:
    """One script of `lua/`, loaded into Redis on first use and again after a restart of it."""

    def __init__(self, client: redis.Redis, name: str) -> None:
        self._client = client
        self._call = client.register_script(_text("common") + _text(name))

    def __call__(self, purpose: str, *, keys: Sequence[str], args: Sequence[str | int]) -> Any:
        """The script's answer. Raises as `reaching` does, with `purpose` in the message."""
        with reaching(self._client, purpose):
            return self._call(keys=list(keys), args=list(args))


def _text(name: str) -> str:
    return (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")
