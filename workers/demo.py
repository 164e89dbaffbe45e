"""What the demonstration enqueues, as any Python shell could: `python -m workers.demo STEP …` prints the result as JSON.

It is run by `g3zkp-maint demo` with the operator's environment; the fleets do the work.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from workers.backup import run, verify
from workers.cleanup import run as clean_up
from workers.crypto import plan_restore, restore, rotate_keys

_SECONDS = 300


def back_up(kind: str) -> Any:
    return run.delay(kind).get(timeout=_SECONDS)


def verify_fully(name: str) -> Any:
    return verify.delay(name, "full").get(timeout=_SECONDS)


def bring_back(name: str) -> Any:
    plan = plan_restore.delay(name).get(timeout=_SECONDS)
    wanted = restore.delay(name, confirm=plan["token"], force=True, reason="demonstration of a disaster")
    return wanted.get(timeout=_SECONDS)


def rotate(reason: str) -> Any:
    return rotate_keys.delay(force=True, reason=reason).get(timeout=_SECONDS)


def expire(mode: str) -> Any:
    return clean_up.delay(dry_run=mode == "dry-run").get(timeout=_SECONDS)


STEPS: dict[str, Callable[[str], Any]] = {
    "backup": back_up,
    "verify": verify_fully,
    "restore": bring_back,
    "rotate": rotate,
    "cleanup": expire,
}

if __name__ == "__main__":
    sys.stdout.write(json.dumps(STEPS[sys.argv[1]](sys.argv[2])) + "\n")
