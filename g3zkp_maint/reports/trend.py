"""The weeks up to this one: from the journal as far as it reaches, before that and beside it from earlier reports. Pure."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from g3zkp_maint.backup.name import BackupName
from g3zkp_maint.errors import BadInput
from g3zkp_maint.history import RunLine
from g3zkp_maint.reports.facts import BackupMade, Duration, HealthWeek, Point
from g3zkp_maint.reports.slots import mark_of
from g3zkp_maint.reports.sources import Sources, StoredObject
from g3zkp_maint.reports.week import Week

#: Weeks in a row that are shown, this one included.
WEEKS = 12
_FOLDER = re.compile(r"\d{4}/\d{2}/(g3zkp_[a-z]+_\d{8}_\d{6})/.+")


def trend(
    sources: Sources, lines: Sequence[RunLine], *, missed: int | None, health: HealthWeek | None
) -> tuple[Point, ...]:
    """Oldest first; the last one is this week. Weeks of which nothing is known are left out."""
    by_week: dict[Week, list[RunLine]] = {}
    for line in lines:
        by_week.setdefault(Week.of(line.started), []).append(line)
    backups = None if sources.objects is None else _backup_bytes(sources.objects)
    before = {point.week: point for point in sources.before}
    found = []
    for back in range(WEEKS - 1, -1, -1):
        week = sources.week.back(back)
        point = before.get(str(week)) or _from_journal(week, by_week.get(week, ()))
        if week == sources.week:
            point = _this_week(sources, by_week.get(week, ()), missed, health)
        if backups is not None:
            point = point.model_copy(update={"backup_bytes": backups.get(week, 0)})
        found.append(point)
    while len(found) > 1 and _is_empty(found[0]):
        found.pop(0)
    return tuple(found)


def backups_made(objects: Iterable[StoredObject], week: Week) -> tuple[BackupMade, ...]:
    """The backups of that week, oldest first, with what their own objects take in the store."""
    sizes = _sizes(objects)
    return tuple(
        BackupMade(name=str(name), type=str(name.type), at=name.at, bytes=sizes[name])
        for name in sorted(sizes)
        if name.at in week
    )


def outcomes(lines: Iterable[RunLine]) -> dict[str, int]:
    """How many runs came to what; those under way are `open`."""
    return dict(Counter(mark_of(line) for line in lines))


def _this_week(sources: Sources, lines: Sequence[RunLine], missed: int | None, health: HealthWeek | None) -> Point:
    store = sources.objects
    return _from_journal(sources.week, lines).model_copy(
        update={
            "missed": missed,
            "store_bytes": None if store is None else sum(one.size for one in store),
            "store_objects": None if store is None else len(store),
            "up_share": health.up_share if health else None,
            "p95_ms": health.p95_ms if health else None,
        }
    )


def _from_journal(week: Week, lines: Sequence[RunLine]) -> Point:
    return Point(week=str(week), runs=outcomes(lines), durations=durations(lines))


def durations(lines: Iterable[RunLine]) -> dict[str, Duration]:
    """By task, of the runs that ended well."""
    seconds: dict[str, list[float]] = {}
    for line in lines:
        if mark_of(line) == "ok":
            seconds.setdefault(line.task, []).append(line.seconds)
    return {
        task: Duration(count=len(own), median=statistics.median(own), longest=max(own))
        for task, own in sorted(seconds.items())
    }


def _backup_bytes(objects: Iterable[StoredObject]) -> Mapping[Week, int]:
    found: Counter[Week] = Counter()
    for name, size in _sizes(objects).items():
        found[Week.of(name.at)] += size
    return found


def _sizes(objects: Iterable[StoredObject]) -> dict[BackupName, int]:
    found: Counter[BackupName] = Counter()
    for one in objects:
        match = _FOLDER.fullmatch(one.key)
        name = _name(match[1]) if match else None
        if name is not None:
            found[name] += one.size
    return dict(found)


def _name(text: str) -> BackupName | None:
    try:
        return BackupName.parse(text)
    except BadInput:  # somebody else's folder
        return None


def _is_empty(point: Point) -> bool:
    return not (point.runs or point.backup_bytes or point.store_bytes)


def moment(seconds: float) -> datetime | None:
    """A time of the metrics' facts, in which 0 is never."""
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
