"""What a weekly report says, as a document: frozen, and the same JSON that lies beside the page in the store.

It lies open there: names and times of runs and backups, codes, counts and ages are in it; no message of an error, no path,
nothing that a finding has seen. What could not be asked is None or empty, and `unknown` says so: a report that lacks
something makes nothing up. The page is rendered from this alone.
"""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

#: What became of slots: `open` are under way or in a queue; `unknown` are from before the journal's first record.
Mark = Literal["ok", "partial", "failed", "missed", "superseded", "open", "unknown"]
MARKS: tuple[Mark, ...] = ("ok", "partial", "failed", "missed", "superseded", "open", "unknown")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Day(_Model):
    """The slots of one day that are over, by what became of them."""

    day: AwareDatetime
    marks: dict[Mark, int] = {}

    @property
    def due(self) -> int:
        """Slots that were to run."""
        return sum(count for mark, count in self.marks.items() if mark != "superseded")

    def count(self, mark: Mark) -> int:
        return self.marks.get(mark, 0)


class EntryWeek(_Model):
    """One entry of the calendar, over the seven days. `policy` is what a missed slot of it leads to."""

    name: str
    task: str
    cadence: str
    why: str
    policy: str
    days: tuple[Day, ...]

    def count(self, mark: Mark) -> int:
        return sum(day.count(mark) for day in self.days)

    @property
    def due(self) -> int:
        return sum(day.due for day in self.days)


class Missed(_Model):
    """Slots of one entry for which nothing ran."""

    entry: str
    policy: str
    slots: tuple[str, ...]
    more: int = 0


class Failure(_Model):
    """Runs of one task that ended with one code: how many, and the last of them. `meaning` is that of the code: what an
    error says of itself may name files, and a report lies open in the store."""

    task: str
    code: str
    count: int
    last_at: AwareDatetime
    slot: str
    run: str
    attempts: int
    meaning: str


class Besides(_Model):
    """Runs of one task that were for no slot of the calendar: what follows a backup, and what people started."""

    task: str
    count: int
    failed: int
    last_at: AwareDatetime
    seconds: float
    bytes: int


class Duration(_Model):
    """How long the runs of a task that ended well took, in seconds."""

    count: int
    median: float
    longest: float


class Point(_Model):
    """One week in a row of them. None: not known. `runs` counts those that ended, by outcome; `durations` by task;
    `backup_bytes` is what the backups made in that week take in the store."""

    week: str
    runs: dict[str, int] = {}
    missed: int | None = None
    durations: dict[str, Duration] = {}
    store_bytes: int | None = None
    store_objects: int | None = None
    backup_bytes: int | None = None
    up_share: float | None = None
    p95_ms: int | None = None


class BackupMade(_Model):
    """A backup of the week, by its name; `bytes` is what its own objects take."""

    name: str
    type: str
    at: AwareDatetime
    bytes: int


class Storage(_Model):
    """The store as it was when the report was made; `newest_at` is of the newest backup that can be believed and is whole,
    `newest_full_at` of the newest full one, `invalid` counts newer manifests that must not be believed. With `is_judged`
    False the store was listed and no manifest read: of these nothing is known. `stored_bytes`, `freed_bytes` and
    `read_bytes` are the week's, by the journal."""

    bytes: int
    objects: int
    backups: int
    is_judged: bool = True
    newest_at: AwareDatetime | None = None
    newest_full_at: AwareDatetime | None = None
    is_partial: bool = False
    invalid: int = 0
    made: tuple[BackupMade, ...] = ()
    stored_bytes: int = 0
    freed_bytes: int = 0
    read_bytes: int = 0


class Drill(_Model):
    """What signed evidence says. `recovery_seconds`: to restore all of it; `recovery_point_seconds`: how old the data
    was. `is_believed` False: it must not be, and `problem` says why."""

    at: AwareDatetime | None
    backup: str
    outcome: str
    recovery_seconds: float
    recovery_point_seconds: int
    failed: tuple[str, ...] = ()
    is_believed: bool = True
    problem: str = ""


class KeyAge(_Model):
    """One type of the messenger's keys."""

    type: str
    age_seconds: float | None
    every_seconds: float
    next_due: AwareDatetime | None
    due: bool
    problem: str = ""


class HealthDay(_Model):
    """The looks of one day, by what they found, and their latencies in milliseconds."""

    day: AwareDatetime
    healthy: int = 0
    degraded: int = 0
    down: int = 0
    median_ms: int | None = None
    p95_ms: int | None = None

    @property
    def looks(self) -> int:
        return self.healthy + self.degraded + self.down


class Spell(_Model):
    """A time in which the messenger was not well; `until` None: it lasted beyond the week."""

    level: str
    since: AwareDatetime
    until: AwareDatetime | None


class HealthWeek(_Model):
    """`expected` looks were due; `up_share` is that of the looks by which users could reach it."""

    expected: int
    looks: int
    up_share: float | None
    healthy_share: float | None
    median_ms: int | None
    p95_ms: int | None
    slowest_ms: int | None
    days: tuple[HealthDay, ...]
    spells: tuple[Spell, ...] = ()


class WindowHeld(_Model):
    """A maintenance window of the week, or of the next one."""

    id: str
    kind: str
    start: AwareDatetime
    end: AwareDatetime
    what: str
    state: str
    is_next: bool = False


class FindingSeen(_Model):
    """How many findings of one check; where they are is for `g3zkp-maint audit`, and not for who reads the store."""

    severity: str
    check: str
    count: int
    remedy: str


class Findings(_Model):
    """What the last security scan found, worst first."""

    at: AwareDatetime
    counts: dict[str, int]
    shown: tuple[FindingSeen, ...] = ()


class SpeedFigure(_Model):
    """One figure of the last benchmark beside the median of those before, as people read them; `change` is the share by
    which it is worse (below 0: better), None where there is too little to compare with."""

    name: str
    now: str
    before: str = ""
    change: float | None = None
    is_worse: bool = False


class SpeedRun(_Model):
    """How long the messenger took to answer in one benchmark, at the 95th percentile, in ms."""

    at: AwareDatetime
    health_ms: float | None
    ready_ms: float | None


class Speed(_Model):
    """The benchmarks; `runs` are oldest first, the last one is that of `at`."""

    at: AwareDatetime
    figures: tuple[SpeedFigure, ...]
    runs: tuple[SpeedRun, ...]


class CertificatesSeen(_Model):
    """How many the last look saw, and when the first of them ends. Which they are is for `g3zkp-maint certificates list`."""

    count: int
    first_end: AwareDatetime


class Attention(_Model):
    """Something that a person should look at. `anchor` is the section that tells more."""

    urgency: Literal["bad", "warn"]
    text: str
    anchor: str = ""


class WeekFacts(_Model):
    """All of it. `is_over`: the week was when this was made; `journal_since` is the time of the oldest record."""

    kind: Literal["g3zkp-weekly-report"] = "g3zkp-weekly-report"
    version: Literal[1] = 1
    week: str
    start: AwareDatetime
    end: AwareDatetime
    made_at: AwareDatetime
    is_over: bool
    product: str
    namespace: str
    journal_since: AwareDatetime | None
    runs: dict[str, int]
    entries: tuple[EntryWeek, ...]
    missed: tuple[Missed, ...] = ()
    failures: tuple[Failure, ...] = ()
    besides: tuple[Besides, ...] = ()
    trend: tuple[Point, ...]
    storage: Storage | None = None
    drills: tuple[Drill, ...] | None = None
    keys: tuple[KeyAge, ...] | None = None
    health: HealthWeek | None = None
    windows: tuple[WindowHeld, ...] = ()
    findings: Findings | None = None
    speed: Speed | None = None
    certificates: CertificatesSeen | None = None
    attention: tuple[Attention, ...] = Field(default=())
    unknown: tuple[str, ...] = ()

    @property
    def missed_count(self) -> int:
        return sum(entry.count("missed") for entry in self.entries)

    @property
    def verdict(self) -> Literal["good", "warn", "bad"]:
        """The worst of what needs attention."""
        urgencies = {one.urgency for one in self.attention}
        return "bad" if "bad" in urgencies else "warn" if "warn" in urgencies else "good"
