"""A rotation in a process that kills itself at a call of the platform: `python rotating.py SLOT METHOD:N:before|after`."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from functools import partial
from typing import Any

from g3zkp_maint.bootstrap import Services
from g3zkp_maint.coordination.occasion import Occasion
from g3zkp_maint.operations.rotation import WANTS, RotationRequest, rotate
from g3zkp_maint.rotation.history import TASK


class Deadly:
    """A platform that kills its own process with SIGKILL: before or after the n-th call of a method."""

    def __init__(self, inner: Any, moment: str) -> None:
        self._inner = inner
        self._moment = moment
        self._calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        def called(*args: Any, **kwargs: Any) -> Any:
            self._calls[name] += 1
            self._maybe_die(f"{name}:{self._calls[name]}:before")
            found = getattr(self._inner, name)(*args, **kwargs)
            self._maybe_die(f"{name}:{self._calls[name]}:after")
            return found

        return called

    def _maybe_die(self, moment: str) -> None:
        if moment == self._moment:
            os.kill(os.getpid(), signal.SIGKILL)


def perform(services: Services, slot: str, *types: str, force: bool = True) -> dict[str, Any]:
    request = RotationRequest.of(types, force=force, reason="a test" if force else "")
    occasion = Occasion(TASK, slot, f"test:{os.getpid()}", "{}", wants=WANTS)
    found: dict[str, Any] = services.conductor.perform(occasion, partial(rotate, services, request, slot))
    return found


if __name__ == "__main__":
    of = Services()
    of.__dict__["platform"] = Deadly(of.platform, sys.argv[2])
    perform(of, sys.argv[1])
