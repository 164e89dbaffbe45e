"""Leases: who may work on which resource, decided by Redis, safe when a holder dies, stops or is cut off.

A lease lasts for its time to live and is renewed by a thread of its holder. What is promised:

- Several resources are taken all or none, shared or exclusive. A dead holder is out after one time to live.
- Nobody starves: who has to wait has a place in a queue, and a later want that conflicts with an earlier one stands
  back. Take everything in **one** `acquire`: whoever asks for more while holding can wait for one who waits for him.
- The same owner asking again takes over: the new lease has a higher token and the old one, in whatever process, is
  lost. Two workers that are meant to be at it side by side therefore need two owner strings.
- A holder knows by itself when its lease may have ended: `ensure_held` compares the local monotonic clock with the
  moment *before* the last successful renewal was sent. That clock runs on while a process is stopped (SIGSTOP, a
  debugger, a frozen container), so one that wakes too late does nothing irreversible.
- A child that the holder forks works under the same lease: it sees how long that is good for, by a page that both have.
  The holder alone renews it, so children stop with him.

Hazards. Between `ensure_held` and the step itself a process can still be stopped; `Lease.token` is there to be written
with what the step leaves, and compared by whoever comes after. The monotonic clock stands still while a *machine* is
suspended: `verify`, which asks Redis, is for that. A Redis that loses its data loses the leases: the holders notice at
their next renewal, and tokens still rise.
"""

from __future__ import annotations

import math
import mmap
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from types import TracebackType
from typing import Self

import redis
import structlog

from g3zkp_maint.clock import Clock
from g3zkp_maint.coordination import keys
from g3zkp_maint.coordination.connection import reaching
from g3zkp_maint.coordination.scripts import Script
from g3zkp_maint.errors import BadInput, CoordinationUnavailable, LeaseBusy, LeaseLost, MaintenanceError

#: The resources that maintenance contends for (design 5). Any other name can be leased as well.
DATA, KEYS, REDIS, WORKLOAD, STORE = RESOURCES = ("data", "keys", "redis", "workload", "store")

#: Seconds until one who found a lease busy should ask again.
RETRY_SECONDS = 10.0

#: Seconds for which a place in the queue is kept without being asked for again; a few times the retry.
PATIENCE_SECONDS = 60.0

_log = structlog.get_logger(__name__)


class Mode(StrEnum):
    """Shared holders get on with each other; an exclusive one is alone."""

    SHARED = "shared"
    EXCLUSIVE = "exclusive"


@dataclass(frozen=True, slots=True)
class Holding:
    """One holder of one resource, as Redis has it."""

    resource: str
    owner: str
    mode: Mode
    token: int
    since: datetime
    expires: datetime


class Leases:
    """Takes leases, and lists who has which."""

    def __init__(
        self,
        client: redis.Redis,
        *,
        clock: Clock,
        ttl_seconds: float,
        renew_seconds: float,
        retry_seconds: float = RETRY_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._client = client
        self._clock = clock
        self._ttl_seconds = ttl_seconds
        self._retry_seconds = retry_seconds
        self._patience_seconds = patience_seconds
        self._acquire = Script(client, "acquire")
        self._renewal = Renewal(client, clock=clock, ttl_seconds=ttl_seconds, renew_seconds=renew_seconds)

    def acquire(self, wants: Mapping[str, Mode], *, owner: str, queue: bool = True) -> Lease:
        """Takes every resource of `wants` in its mode, or none.

        `owner` names the work, not the process: the same owner asking again replaces its own lease (takeover). With
        `queue`, who has to stand back keeps its place for `patience_seconds`; each new call renews it.
        Raises LeaseBusy, which names the resource, who has it or is in front, and since when; BadInput when `wants` is
        empty or a name unusable; CoordinationUnavailable.
        """
        if not wants or not owner:
            raise BadInput(f"a lease needs at least one resource and an owner, got {dict(wants)!r} and {owner!r}")
        resources = sorted(wants)
        patience = _milliseconds(self._patience_seconds) if queue else 0
        args: list[str | int] = [owner, _milliseconds(self._ttl_seconds), patience]
        names = [keys.LEASES, keys.QUEUE_PLACES]
        for resource in resources:
            names += [keys.lease(resource), keys.fence(resource), keys.waiters(resource)]
            args += [resource, wants[resource].value]
        sent = self._clock.monotonic()
        answer = self._acquire(f"take the lease on {', '.join(resources)}", keys=names, args=args)
        if answer[0] == "busy":
            raise self._busy(owner, *answer[1:])
        tokens = dict(zip(resources, map(int, answer[2:]), strict=True))
        return Lease(self._renewal, owner=owner, tokens=tokens, held_from=sent)

    def attach(self, *, owner: str, tokens: Mapping[str, int]) -> Lease:
        """Goes on under a lease that another step of the same work left by `detach`, in whatever process: several may
        do so side by side, and each renews it. Raises LeaseLost when it ran out or was taken over meanwhile."""
        sent = self._clock.monotonic()
        missing = self._renewal.renew(owner, tokens)
        if missing:
            raise LeaseLost(
                f"the lease of {owner} on {missing!r} ran out between two steps, or was taken over; stop here"
            )
        return Lease(self._renewal, owner=owner, tokens=tokens, held_from=sent)

    def withdraw(self, resources: Iterable[str], *, owner: str) -> None:
        """Gives up `owner`'s places in the queue, so that nobody stands back for one who no longer waits."""
        with reaching(self._client, f"give up {owner}'s place in the queue"):
            for resource in resources:
                self._client.hdel(keys.waiters(resource), owner)

    def holders(self) -> list[Holding]:
        """Every live holding of every resource, ordered by resource and token."""
        with reaching(self._client, "list leases"):
            resources = [str(resource) for resource in self._client.zrange(keys.LEASES, 0, -1)]
            pipeline = self._client.pipeline(transaction=True)
            pipeline.time()
            for resource in resources:
                pipeline.hgetall(keys.lease(resource))
            (seconds, micros), *tables = pipeline.execute()
        now = datetime.fromtimestamp(seconds + micros / 1e6, UTC)
        found = [_holding(name, *pair) for name, t in zip(resources, tables, strict=True) for pair in t.items()]
        return sorted((h for h in found if h.expires > now), key=lambda h: (h.resource, h.token))

    def break_(self, resource: str) -> int:
        """Removes every holder of `resource` by force, and counts them; they notice at their next `verify` or renewal.

        For an operator who knows that the holder is gone for good. Its steps until then are not undone.
        """
        with reaching(self._client, f"break the lease on {resource}"):
            pipeline = self._client.pipeline(transaction=True)
            pipeline.hlen(keys.lease(resource))
            pipeline.delete(keys.lease(resource))
            pipeline.zrem(keys.LEASES, resource)
            count = int(pipeline.execute()[0])
        _log.warning("lease-broken", resource=resource, holders=count)
        return count

    def _busy(self, owner: str, now: str, resource: str, why: str, other: str, mode: str, since: str) -> LeaseBusy:
        started = _moment(since)
        seconds = (int(now) - int(since)) / 1000
        what = "is held" if why == "held" else "is waited for, earlier,"
        return LeaseBusy(
            f"{owner} cannot have the lease on {resource!r}: it {what} by {other} ({mode}, since "
            f"{started:%Y-%m-%d %H:%M:%S}Z, {seconds:.0f} s); try again later",
            retry_after_seconds=self._retry_seconds,
            resource=resource,
            holder=other,
        )


class Renewal:
    """How leases are renewed, checked and given back: what each of them shares with the others of its process."""

    def __init__(self, client: redis.Redis, *, clock: Clock, ttl_seconds: float, renew_seconds: float) -> None:
        self.clock = clock
        self.ttl_seconds = ttl_seconds
        self.renew_seconds = renew_seconds
        self._renew = Script(client, "renew")
        self._release = Script(client, "release")

    def renew(self, owner: str, tokens: Mapping[str, int]) -> str:
        """Renews all or none. Returns '' or the name of a resource that is no longer held."""
        return self._ask(owner, tokens, ttl=_milliseconds(self.ttl_seconds))

    def extend(self, owner: str, tokens: Mapping[str, int], *, seconds: float) -> str:
        """As `renew`, for another time than usual."""
        return self._ask(owner, tokens, ttl=_milliseconds(seconds))

    def check(self, owner: str, tokens: Mapping[str, int]) -> str:
        """As `renew`, and changes nothing."""
        return self._ask(owner, tokens, ttl=0)

    def release(self, owner: str, tokens: Mapping[str, int]) -> None:
        self._release(f"release a lease of {owner}", keys=_lease_keys(tokens), args=[owner, *_flat(tokens)])

    def _ask(self, owner: str, tokens: Mapping[str, int], *, ttl: int) -> str:
        args = [owner, ttl, *_flat(tokens)]
        return str(self._renew(f"ask for a lease of {owner}", keys=_lease_keys(tokens), args=args))


class Lease:
    """A lease that is held, and renewed until it is released or lost. Leaving its `with` block releases it.

    It is a Guard. `tokens` are the fencing tokens by resource; `token` is the highest of them.
    """

    def __init__(self, renewal: Renewal, *, owner: str, tokens: Mapping[str, int], held_from: float) -> None:
        """`held_from`: the monotonic time, in seconds, just before the lease was asked for."""
        self.owner = owner
        self.tokens: Mapping[str, int] = dict(tokens)
        self._renewal = renewal
        self._deadline = _Moment(held_from + renewal.ttl_seconds)
        self._lost: str | None = None
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"lease {', '.join(tokens)}", daemon=True)
        self._thread.start()

    @property
    def token(self) -> int:
        return max(self.tokens.values())

    def ensure_held(self) -> None:
        """Raises LeaseLost when the lease is lost, given back, or may have expired by the local monotonic clock."""
        if self._released.is_set():
            raise LeaseLost(f"{self} was given back: nothing may be done under it any more")
        self._watch_the_clock()
        if self._lost is not None:
            raise LeaseLost(f"{self} is lost: {self._lost}. Stop here; whoever has it now takes up the work")

    def verify(self) -> None:
        """Asks Redis whether each resource is still held with this token. Raises LeaseLost where one is not.

        With Redis away the lease is as good as its time to live: LeaseLost only past that.
        """
        self.ensure_held()
        try:
            self._note(self._renewal.check(self.owner, self.tokens))
        except CoordinationUnavailable as error:
            _log.warning("lease-not-verified", lease=str(self), reason=str(error))
        self.ensure_held()

    def release(self) -> None:
        """Gives the resources back, each only if still held with this token. Never raises for what Redis does: the
        lease then ends by itself, and an error on its way out of the `with` block must not be hidden."""
        if self._released.is_set():
            return
        self._released.set()
        try:
            self._renewal.release(self.owner, self.tokens)
        except (MaintenanceError, redis.RedisError) as error:
            _log.warning("lease-not-released", lease=str(self), reason=str(error))

    def detach(self, *, seconds: float) -> None:
        """Ends this holder's part without giving the resources back: they stay held for `seconds`, within which the
        next step of the same work must `attach`. Raises LeaseLost, CoordinationUnavailable."""
        self.ensure_held()
        missing = self._renewal.extend(self.owner, self.tokens, seconds=seconds)
        if missing:
            self._note(missing)
        self.ensure_held()
        self._released.set()

    def detach_quietly(self, *, seconds: float) -> None:
        """As `detach`, on the way out of a block: a lease that is lost already must not hide the block's own error."""
        try:
            self.detach(seconds=seconds)
        except MaintenanceError as error:
            self._released.set()
            _log.warning("lease-not-detached", lease=str(self), reason=str(error))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __str__(self) -> str:
        held = ", ".join(f"{resource} (token {token})" for resource, token in self.tokens.items())
        return f"the lease of {self.owner} on {held}"

    def _keep(self) -> None:
        pause = self._renewal.renew_seconds
        while not self._released.wait(pause) and self._lost is None:
            pause = self._renewal.renew_seconds
            try:
                self._renew()
            except CoordinationUnavailable as error:
                # Redis may be back at once: ask again soon, for what is left of the time to live.
                pause /= 10
                _log.warning("lease-not-renewed", lease=str(self), reason=str(error))
            except Exception as error:  # noqa: BLE001 - a thread has no caller: whatever it is, nothing is renewed
                self._lose(f"its renewal failed: {type(error).__name__}: {error}")

    def _renew(self) -> None:
        # Once past the deadline it stays lost, even if Redis should still have it: somebody may have been told so.
        self._watch_the_clock()
        if self._lost is not None:
            return
        sent = self._renewal.clock.monotonic()
        missing = self._renewal.renew(self.owner, self.tokens)
        self._note(missing)
        if not missing and self._lost is None:
            self._deadline.seconds = sent + self._renewal.ttl_seconds

    def _watch_the_clock(self) -> None:
        if self._renewal.clock.monotonic() >= self._deadline.seconds:
            self._lose("it was not renewed within its time to live; this process was stopped, or cut off from Redis")

    def _note(self, missing: str) -> None:
        if missing and not self._released.is_set():
            self._lose(f"{missing!r} was taken over by another, or broken, or it ran out")

    def _lose(self, reason: str) -> None:
        if self._lost is None:
            self._lost = reason
            self._deadline.seconds = -math.inf
            _log.error("lease-lost", lease=str(self), reason=reason)


class _Moment:
    """Seconds of the monotonic clock, the same for all processes of a machine, in memory that forked children share."""

    def __init__(self, seconds: float) -> None:
        self._shared = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("d")
        self.seconds = seconds

    @property
    def seconds(self) -> float:
        return self._shared[0]

    @seconds.setter
    def seconds(self, seconds: float) -> None:
        self._shared[0] = seconds


def _lease_keys(resources: Iterable[str]) -> list[str]:
    return [keys.LEASES, *(keys.lease(resource) for resource in resources)]


def _flat(tokens: Mapping[str, int]) -> list[str | int]:
    return [part for pair in tokens.items() for part in pair]


def _holding(resource: str, owner: str, value: str) -> Holding:
    mode, token, since, expires = value.split(" ")
    return Holding(resource, owner, Mode(mode), int(token), _moment(since), _moment(expires))


def _moment(milliseconds: str) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
