"""Rotations for tests: by whoever asks, by a process that kills itself at a call of the platform, by a messenger that
answers otherwise than it should.

`python -m g3zkp_maint.testing.rotating SLOT METHOD:N:before|after` is the second.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from g3zkp_maint.bootstrap import Services
from g3zkp_maint.coordination.occasion import Occasion
from g3zkp_maint.errors import TemporaryError
from g3zkp_maint.operations.rotation import WANTS, RotationRequest, rotate
from g3zkp_maint.platforms.base import ExecStream, SecretData
from g3zkp_maint.rotation.history import TASK

_PATIENCE_SECONDS = 60.0


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


@dataclass
class Altered:
    """A platform whose messenger has run `prelude` (JavaScript) before each call, with `before_patch` called before the
    n-th patch of a Secret."""

    inner: Any
    prelude: str = ""
    before_patch: Callable[[int], None] = lambda number: None  # noqa: ARG005
    patches: int = 0

    def exec(self, workload: str, argv: Sequence[str], stdin: Any = None, **options: Any) -> ExecStream:
        found: ExecStream = self.inner.exec(workload, [*argv[:2], self.prelude + argv[2], *argv[3:]], stdin, **options)
        return found

    def patch_secret(self, *args: Any, **options: Any) -> SecretData:
        self.patches += 1
        self.before_patch(self.patches)
        found: SecretData = self.inner.patch_secret(*args, **options)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def perform(services: Services, slot: str, *types: str, force: bool = True) -> dict[str, Any]:
    request = RotationRequest.of(types, force=force, reason="a test" if force else "")
    occasion = Occasion(TASK, slot, f"test:{os.getpid()}", "{}", wants=WANTS)
    found: dict[str, Any] = services.conductor.perform(occasion, partial(rotate, services, request, slot))
    return found


def insist(services: Services, slot: str, *types: str, force: bool = True) -> dict[str, Any]:
    """As a fleet does: again and again while it may pass, as for the leases of one who was killed."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return perform(services, slot, *types, force=force)
        except TemporaryError:
            if time.monotonic() >= until:
                raise
            time.sleep(0.1)


def kill_at(moment: str, slot: str) -> None:
    """A rotation in a process of its own, with this one's settings, that ends at `moment`: `restart:1:after`."""
    argv = [sys.executable, "-m", __name__, slot, moment]
    child = subprocess.run(argv, capture_output=True, timeout=_PATIENCE_SECONDS, check=False)
    if child.returncode != -signal.SIGKILL:
        raise AssertionError(f"it never came to {moment}: {child.stderr.decode()[-2000:]}")


def replace_platform(services: Services, platform: Any) -> None:
    services.__dict__["platform"] = platform


def replace_settings(services: Services, group: str, **fields: object) -> None:
    """Other values for some settings of a group, for these services alone."""
    changed = getattr(services.settings, group).model_copy(update=fields)
    services.settings = services.settings.model_copy(update={group: changed})


if __name__ == "__main__":
    of = Services()
    replace_platform(of, Deadly(of.platform, sys.argv[2]))
    perform(of, sys.argv[1])
