"""A small kubelet: looks again and again at what should run and what does, and does what brings them together.

Level-triggered: each look starts from the wanted specifications alone, so nothing asked for can be missed. It never
waits: probes answer later, a stop has a deadline, a process that crashes is started again after a growing pause.
All of it happens on the caller's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from g3zkp_maint.errors import PlatformError
from g3zkp_maint.platforms.process import ProcessIdentity
from g3zkp_maint.stack.child import Child
from g3zkp_maint.stack.processes import ProcessSpec

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0
#: One that has run for so long starts with a short pause again.
_STEADY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A process as it is now. `identity` and `revision` are None while it is down; `restarts` counts its crashes."""

    name: str
    identity: ProcessIdentity | None
    revision: int | None
    is_ready: bool
    restarts: int


@dataclass(slots=True)
class _Place:
    """Where a process is or was. `not_before` and `pause` are the backoff, in seconds of the monotonic clock."""

    child: Child | None = None
    not_before: float = 0.0
    pause: float = _FIRST_PAUSE_SECONDS
    restarts: int = 0


class Supervisor:
    """`say` gets a line for people whenever a process ends or will not start."""

    def __init__(self, *, say: Callable[[str], None]) -> None:
        self._say = say
        self._places: dict[str, _Place] = {}
        self._probing = ThreadPoolExecutor(max_workers=4, thread_name_prefix="probe")

    def look(self, wanted: Sequence[ProcessSpec], now: float, *, at_once: bool = False) -> None:
        """One round. `at_once` kills what is to stop; `now` is in seconds of the monotonic clock."""
        specs = {spec.name: spec for spec in wanted}
        for name in {**self._places, **specs}:
            place = self._places.setdefault(name, _Place())
            self._collect(place, now)
            self._reconcile(place, specs.get(name), now, at_once=at_once)

    def seen(self) -> list[Seen]:
        return [_picture(name, place) for name, place in self._places.items()]

    def are_ready(self, names: Iterable[str]) -> bool:
        return all(self._child_is_ready(name) for name in names)

    def lowest_rank(self) -> int | None:
        """The stop rank of what is to stop first among all that runs; None when nothing runs."""
        ranks = [place.child.spec.stop_rank for place in self._places.values() if place.child is not None]
        return min(ranks, default=None)

    def close(self) -> None:
        self._probing.shutdown(wait=False, cancel_futures=True)

    def _child_is_ready(self, name: str) -> bool:
        child = self._places[name].child if name in self._places else None
        return child is not None and child.is_ready

    def _collect(self, place: _Place, now: float) -> None:
        child = place.child
        code = None if child is None else child.ended()
        if child is None or code is None:
            return
        place.child = None
        if child.is_stopping:
            return
        place.pause = _FIRST_PAUSE_SECONDS if now - child.started_at > _STEADY_SECONDS else place.pause
        self._postpone(place, child.spec, now, f"ended by itself ({_ending(code)})")

    def _postpone(self, place: _Place, spec: ProcessSpec, now: float, what: str) -> None:
        place.restarts += 1
        place.not_before = now + place.pause
        self._say(f"{spec.name} {what}; starting it again in {place.pause:g} s, see {spec.log}")
        place.pause = min(place.pause * 2, _LONGEST_PAUSE_SECONDS)

    def _reconcile(self, place: _Place, spec: ProcessSpec | None, now: float, *, at_once: bool) -> None:
        child = place.child
        if child is None:
            if spec is not None and now >= place.not_before and self.are_ready(spec.after):
                self._start(place, spec, now)
        elif child.is_stopping or spec != child.spec:
            child.stop(now, at_once=at_once)
        else:
            child.probe(self._probing, now)

    def _start(self, place: _Place, spec: ProcessSpec, now: float) -> None:
        try:
            place.child = Child(spec, now)
        except OSError as error:
            self._postpone(place, spec, now, f"cannot be started ({error.strerror})")
        except PlatformError as error:
            self._postpone(place, spec, now, f"cannot be started ({error})")


def _picture(name: str, place: _Place) -> Seen:
    child = place.child
    if child is None:
        return Seen(name, None, None, is_ready=False, restarts=place.restarts)
    return Seen(name, child.identity, child.spec.revision, is_ready=child.is_ready, restarts=place.restarts)


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
