"""The journal: what each run and each of its steps did, in order, in a Redis stream; and what nobody may alter unseen.

Metrics, reports and `g3zkp-maint runs` are computed from it, so they are right after a restart too. Each record is also a
log line. Guarantees, and their limits:

- Each record has a number and the SHA-256 of the record before it, in its canonical form; the head of the chain lies
  beside the stream. `verify` finds a record changed, removed, added or put elsewhere. The cap on the stream takes the
  oldest away; an anchor, moved by just as many, tells that from a removal. Whoever can rewrite the stream, the head and
  the anchor together can forge: the log line holds number and digest, so that a log kept elsewhere shows even that.
- Redis being away never stops a run: records wait in this process, in order and up to a bound, for the next write.
  A process that dies then takes them along; its log lines stay. A record may be there twice when an answer was lost.
- No secret enters: details are short scalars, and errors that are not ours are named by their type only.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain
from typing import Any, TypeAlias

import redis
import structlog

from g3zkp_maint.clock import Clock
from g3zkp_maint.coordination import keys
from g3zkp_maint.coordination.connection import reaching
from g3zkp_maint.coordination.run_record import described
from g3zkp_maint.coordination.scripts import Script
from g3zkp_maint.errors import BadInput, CoordinationUnavailable, LeaseLost

Scalar: TypeAlias = str | int | float | bool | None

#: Longer texts in a record are cut to this many characters, and a detail has at most so many entries.
TEXT_LENGTH = 500
DETAIL_ENTRIES = 30

#: Records that wait in a process for Redis to come back; the oldest fall out past that.
BUFFERED = 1000

#: How often a record is tried when others write at the same moment. Each failure means that another one succeeded.
_TRIES = 100

#: Records fetched at a time.
_BATCH = 500

#: What `before` is in the first record ever.
_NOTHING = ""

_EVENT = re.compile(r"[a-z][a-z-]{0,39}")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class JournalEvent:
    """One thing that happened. `event` is a word: started, finished, failed, waiting, superseded, lease-lost, note...

    `bytes` is how much was moved, None where that has no meaning; `at` is UTC, by default the moment of writing;
    `outcome` is ok, partial, failed, or an error's code; `detail` holds a few scalars. Raises BadInput for others.
    """

    event: str
    run: str
    task: str
    slot: str
    step: str = ""
    at: datetime | None = None
    bytes: int | None = None
    attempt: int = 0
    owner: str = ""
    outcome: str = ""
    detail: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _EVENT.fullmatch(self.event):
            raise BadInput(f"journal event {self.event[:80]!r} must be a word in lower case, such as 'finished'")
        object.__setattr__(self, "detail", _checked_detail(self.detail))


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """An event as it stands in the journal: `id` is the stream's, `number` counts up from 1, `before` is the digest of
    the record before."""

    id: str
    number: int
    before: str
    event: JournalEvent


@dataclass(frozen=True, slots=True)
class JournalAudit:
    """What `verify` found. `records` were looked at, up to the first broken one; `broken_id` is its id in the stream,
    '' where the end is missing, and None when the chain is whole."""

    records: int
    broken_id: str | None = None
    reason: str = ""

    @property
    def is_whole(self) -> bool:
        return self.broken_id is None


@dataclass(slots=True)
class Step:
    """A step under way: what it tells at its end. `bytes` and `outcome` are set by the work, `detail` grows by `note`."""

    bytes: int | None = None
    outcome: str = "ok"
    detail: dict[str, Scalar] = field(default_factory=dict)

    def note(self, **detail: Scalar) -> None:
        self.detail.update(detail)


class Journal:
    """Writes, reads and verifies the journal. Safe for threads."""

    def __init__(self, client: redis.Redis, *, clock: Clock, cap: int) -> None:
        """`cap`: about how many records are kept."""
        self._client = client
        self._clock = clock
        self._cap = cap
        self._append = Script(client, "append_journal")
        self._lock = threading.Lock()
        self._waiting: deque[JournalEvent] = deque()
        self._dropped = 0

    def write(self, event: JournalEvent) -> None:
        """Appends the event, after those that still wait. Never fails for Redis being away."""
        with self._lock:
            self._keep(event if event.at else replace(event, at=self._clock.now()))
            try:
                self._flush()
            except CoordinationUnavailable as error:
                _log_line(self._waiting[-1])
                _log.warning("journal-buffered", waiting=len(self._waiting), dropped=self._dropped, reason=str(error))

    @contextmanager
    def step(self, run: str, task: str, slot: str, step: str, *, attempt: int = 0, owner: str = "") -> Iterator[Step]:
        """Writes `started`, then `finished` with the seconds it took and what the block set on the Step; on an error
        `failed` (`lease-lost` for that), with its code as outcome, and lets it pass."""
        base = JournalEvent("started", run, task, slot, step, attempt=attempt, owner=owner)
        self.write(base)
        begun = self._clock.monotonic()
        current = Step()
        try:
            yield current
        except BaseException as error:  # also for an interrupt the journal tells how the step ended
            self._end(base, current, begun, error)
            raise
        self._end(base, current, begun, None)

    def read(
        self,
        since: datetime | None = None,
        *,
        task: str | None = None,
        run: str | None = None,
        only: Callable[[Mapping[str, str]], bool] | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[JournalRecord]:
        """Records written at or after `since`, oldest first, or newest first with `reverse`; of one task, one run, or
        those whose fields (of JournalEvent, as text) `only` wants. What is not wanted costs a fifth of a record."""
        found = 0
        for id_, fields in self._entries(_start(since), reverse=reverse):
            if limit is not None and found >= limit:
                return
            if task in {None, fields.get("task")} and run in {None, fields.get("run")} and (not only or only(fields)):
                found += 1
                yield _from_fields(id_, fields)

    def after(self, id: str) -> Iterator[JournalRecord]:
        """The records that follow the one of that id in the stream, oldest first; all that there are after ''."""
        for id_, fields in self._entries(f"({id}" if id else "-"):
            yield _from_fields(id_, fields)

    def last_number(self) -> int:
        """The number of the newest record; 0 where none was ever written."""
        with reaching(self._client, "read the journal"):
            return int(self._client.hget(keys.JOURNAL_HEAD, "number") or 0)

    def verify(self) -> JournalAudit:
        """Follows the chain from the oldest record to the head as it was at the start, and reports the first break."""
        with reaching(self._client, "verify the journal"):
            # In one transaction: later the cap may take records away, but only such as were seen here.
            pipeline = self._client.pipeline(transaction=True)
            pipeline.hgetall(keys.JOURNAL_HEAD)
            pipeline.hgetall(keys.JOURNAL_ANCHOR)
            pipeline.xrange(keys.JOURNAL, "-", "+", count=_BATCH)
            pipeline.xlen(keys.JOURNAL)
            head, anchor, first, length = pipeline.execute()
        rest = self._entries(f"({first[-1][0]}") if first else iter(())
        return _follow(chain(first, rest), head=head, anchor=anchor, length=length)

    # -- writing -------------------------------------------------------------------------------------------------------

    def _end(self, base: JournalEvent, step: Step, begun: float, error: BaseException | None) -> None:
        seconds = round(self._clock.monotonic() - begun, 3)
        detail: dict[str, Scalar] = {**step.detail, "seconds": seconds}
        event, outcome = "finished", step.outcome
        if error is not None:
            told = described(error)
            event, outcome = ("lease-lost" if isinstance(error, LeaseLost) else "failed"), told.code
            detail["error"] = told.message
        self.write(replace(base, event=event, bytes=step.bytes, outcome=outcome, detail=detail))

    def _keep(self, event: JournalEvent) -> None:
        if len(self._waiting) >= BUFFERED:
            self._waiting.popleft()
            self._dropped += 1
        self._waiting.append(event)

    def _flush(self) -> None:
        if self._dropped and self._waiting:
            lost = {"dropped": self._dropped}
            self._append_one(replace(self._waiting[0], event="records-dropped", outcome="", bytes=None, detail=lost))
            self._dropped = 0
        while self._waiting:
            self._append_one(self._waiting[0])
            self._waiting.popleft()

    def _append_one(self, event: JournalEvent) -> None:
        with reaching(self._client, "write the journal"):
            number, before = self._client.hmget(keys.JOURNAL_HEAD, "number", "digest")
        last, before = int(number or 0), str(before or _NOTHING)
        for _ in range(_TRIES):
            fields = _to_fields(event, number=last + 1, before=before)
            digest = _digest(fields)
            args: list[str | int] = [before, digest, last + 1, self._cap]
            args += [part for pair in fields.items() for part in pair]
            answer = self._append(
                "write the journal", keys=[keys.JOURNAL, keys.JOURNAL_HEAD, keys.JOURNAL_ANCHOR], args=args
            )
            # The head can be this very record: it was appended, and the answer to that was lost.
            if answer[0] == "appended" or answer[2] == digest:
                return _log_line(event, number=last + 1, digest=digest)
            last, before = int(answer[1]), str(answer[2])
        raise CoordinationUnavailable(f"the journal was written by others {_TRIES} times over; try again later")

    # -- reading -------------------------------------------------------------------------------------------------------

    def _entries(self, start: str, *, reverse: bool = False) -> Iterator[tuple[str, dict[str, str]]]:
        low, high = start, "+"
        while True:
            with reaching(self._client, "read the journal"):
                answer: Any = (
                    self._client.xrevrange(keys.JOURNAL, high, low, count=_BATCH)
                    if reverse
                    else self._client.xrange(keys.JOURNAL, low, high, count=_BATCH)
                )
            batch: list[Any] = list(answer)
            yield from batch
            if len(batch) < _BATCH:
                return
            last = f"({batch[-1][0]}"
            low, high = (low, last) if reverse else (last, high)


def _follow(
    entries: Iterable[tuple[str, Mapping[str, str]]],
    *,
    head: Mapping[str, str],
    anchor: Mapping[str, str],
    length: int,
) -> JournalAudit:
    """Walks the chain from the anchor to the head; `length` is how many records the stream had then."""
    cut = int(anchor.get("cut", 0))
    number, before, seen = cut, anchor.get("digest", _NOTHING), 0
    last = int(head.get("number", 0))
    for id_, fields in entries:
        if number >= last:
            break
        fault = _fault(fields, number=number + 1, before=before)
        if fault:
            return JournalAudit(seen, id_, fault)
        number, before, seen = number + 1, _digest(fields), seen + 1
    if number != last or before != head.get("digest", _NOTHING):
        return JournalAudit(seen, "", f"the last record is number {number}; the head tells of {last}, or of another")
    if length != last - cut:
        return JournalAudit(
            seen, "", f"the stream had {length} records, the head tells of {last - cut}: some were added"
        )
    return JournalAudit(seen)


def _fault(fields: Mapping[str, str], *, number: int, before: str) -> str:
    if fields.get("number") != str(number):
        return f"expected record number {number}, found {fields.get('number')}: records are missing or were added"
    if fields.get("before") != before:
        return f"record {number} does not follow the one before it: that one, or this link, was changed"
    return ""


def _digest(fields: Mapping[str, str]) -> str:
    canonical = json.dumps(dict(fields), ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _to_fields(event: JournalEvent, *, number: int, before: str) -> dict[str, str]:
    if event.at is None:
        raise BadInput("a journal event is stored with its time")
    fields = {
        name: _cut(str(getattr(event, name))) for name in ("event", "run", "task", "slot", "step", "owner", "outcome")
    }
    fields["at"] = event.at.isoformat(timespec="milliseconds")
    fields["attempt"] = str(event.attempt)
    fields["bytes"] = "" if event.bytes is None else str(event.bytes)
    fields["detail"] = json.dumps(event.detail, ensure_ascii=False, sort_keys=True)
    return {"number": str(number), "before": before, **fields}


def _from_fields(id_: str, fields: Mapping[str, str]) -> JournalRecord:
    texts = {name: fields.get(name, "") for name in ("event", "run", "task", "slot", "step", "owner", "outcome")}
    event = JournalEvent(
        **texts,
        at=datetime.fromisoformat(fields["at"]),
        attempt=int(fields["attempt"]),
        bytes=int(fields["bytes"]) if fields["bytes"] else None,
        detail=json.loads(fields["detail"]),
    )
    return JournalRecord(id_, int(fields["number"]), fields["before"], event)


def _log_line(event: JournalEvent, *, number: int = 0, digest: str = "") -> None:
    shown = {
        name: getattr(event, name) for name in ("run", "task", "slot", "step", "owner", "outcome", "bytes", "attempt")
    }
    at = event.at.isoformat(timespec="milliseconds") if event.at else None
    detail = dict(event.detail)
    line = f"{'step' if event.step else 'run'}-{event.event}"
    _log.info(
        line,
        **{k: v for k, v in shown.items() if v not in {"", None}},
        at=at,
        detail=detail,
        journal=number,
        digest=digest,
    )


def _checked_detail(detail: Mapping[str, Scalar]) -> dict[str, Scalar]:
    if len(detail) > DETAIL_ENTRIES:
        raise BadInput(f"a journal detail has at most {DETAIL_ENTRIES} entries, got {len(detail)}")
    return {_cut(name): _checked_scalar(name, value) for name, value in detail.items()}


def _checked_scalar(name: str, value: Any) -> Scalar:
    if isinstance(value, str):
        return _cut(value)
    is_plain = value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value))
    if not is_plain:
        raise BadInput(
            f"journal detail {name!r} is a {type(value).__name__}; only text, numbers, booleans and None are kept"
        )
    return value  # type: ignore[no-any-return]


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_LENGTH else text[: TEXT_LENGTH - 1] + "…"


def _start(since: datetime | None) -> str:
    return "-" if since is None else str(round(since.timestamp() * 1000))
