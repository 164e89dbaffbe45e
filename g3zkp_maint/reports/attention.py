"""What of a week a person should look at: each a sentence, the bad ones first. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

from g3zkp_maint.reports.facts import Attention, Failure, HealthWeek, Storage, WeekFacts

#: As the alert on backups has it: a daily one that is half a day late.
_BACKUP_AGE = timedelta(hours=36)
#: Each full backup is drilled, once a week; two weeks is one that was missed.
_DRILL_AGE = timedelta(days=14)
_GOOD_SHARE, _BAD_SHARE = 0.999, 0.99
#: Looks that may lack before it is worth a word: those of a restart of the fleet.
_LOOKS_SHARE = 0.98
_NAMED = 4
#: The days of a high finding, by default.
_CERTIFICATE_LEFT = timedelta(days=14)
#: Rotations are weekly, and may be a day late.
_KEY_GRACE_SECONDS = timedelta(days=8).total_seconds()


def attention(facts: WeekFacts) -> tuple[Attention, ...]:
    """The most urgent first, else in the order of the page."""
    found = [
        *_of_runs(facts),
        *_of_missed(facts),
        *(_of_storage(facts.storage, facts) if facts.storage else ()),
        *_of_drills(facts),
        *_of_keys(facts),
        *(_of_health(facts.health) if facts.health else ()),
        *_of_findings(facts),
        *_of_speed(facts),
        *_of_certificates(facts),
        *(_warn(f"Not known: {text}", "about") for text in facts.unknown),
    ]
    return tuple(sorted(found, key=lambda one: one.urgency != "bad"))


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 run`, `2 runs`."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def _bad(text: str, anchor: str) -> Attention:
    return Attention(urgency="bad", text=text, anchor=anchor)


def _warn(text: str, anchor: str) -> Attention:
    return Attention(urgency="warn", text=text, anchor=anchor)


def _of_runs(facts: WeekFacts) -> Iterator[Attention]:
    partial = [one for one in facts.failures if one.code == "partial"]
    failed = [one for one in facts.failures if one.code != "partial"]
    if failed:
        yield _bad(
            f"{counted(_sum(failed), 'run')} failed: {_named(f'{one.task} ({one.code})' for one in failed)}", "failures"
        )
    if partial:
        yield _warn(f"{counted(_sum(partial), 'run')} ended partial: {_named(one.task for one in partial)}", "failures")


def _of_missed(facts: WeekFacts) -> Iterator[Attention]:
    gone = [(one.entry, len(one.slots) + one.more) for one in facts.missed if one.policy != "skip"]
    if gone:
        total = sum(count for _, count in gone)
        yield _bad(
            f"{counted(total, 'slot')} missed: {_named(f'{name} ({count})' for name, count in gone)}", "calendar"
        )
    for entry in facts.entries:
        missed = entry.count("missed")
        if entry.policy == "skip" and entry.due and missed / entry.due > 1 - _LOOKS_SHARE:
            yield _warn(f"{entry.name}: {missed} of {entry.due} slots skipped", "calendar")
    unknown = sum(entry.count("unknown") for entry in facts.entries)
    if unknown:
        yield _warn(f"{counted(unknown, 'slot')} from before the journal's first record", "calendar")


def _of_storage(storage: Storage, facts: WeekFacts) -> Iterator[Attention]:
    if not storage.is_judged:
        return
    if storage.newest_at is None:
        yield _bad("There is no whole backup that can be believed", "storage")
    elif facts.made_at - storage.newest_at > _BACKUP_AGE:
        yield _bad(f"The newest whole backup is of {storage.newest_at:%a %d %b, %H:%M}", "storage")
    if storage.invalid:
        yield _bad(f"{counted(storage.invalid, 'backup')} must not be believed: see backup list", "storage")
    if storage.is_partial:
        yield _warn("The newest backup is partial", "storage")


def _of_drills(facts: WeekFacts) -> Iterator[Attention]:
    if facts.drills is None:
        return
    distrusted = sum(not one.is_believed for one in facts.drills)
    if distrusted:
        yield _bad(f"{counted(distrusted, 'piece', 'pieces')} of drill evidence must not be believed", "drills")
    believed = [one for one in facts.drills if one.is_believed and one.at is not None]
    if not believed:
        yield _warn("No drill has proved a restore in the weeks shown", "drills")
        return
    last = believed[0]
    if last.outcome != "ok":
        yield _bad(f"The last drill failed: {_named(last.failed) or last.backup}", "drills")
    passed = next((one.at for one in believed if one.outcome == "ok"), None)
    if passed is None or facts.made_at - passed > _DRILL_AGE:
        since = "in the weeks shown" if passed is None else f"since {passed:%a %d %b}"
        yield _warn(f"No drill has passed {since}", "drills")


def _of_keys(facts: WeekFacts) -> Iterator[Attention]:
    due = [one for one in facts.keys or () if one.due]
    late = [
        one for one in due if one.age_seconds is not None and one.age_seconds > one.every_seconds + _KEY_GRACE_SECONDS
    ]
    if late:
        yield _bad(f"Keys overdue for rotation: {_named(one.type for one in late)}", "keys")
    others = [one for one in due if one not in late]
    if others:
        named = _named(f"{one.type} ({one.problem})" if one.problem else one.type for one in others)
        yield _warn(f"Keys due for rotation: {named}", "keys")


def _of_health(health: HealthWeek) -> Iterator[Attention]:
    share = health.up_share
    if share is not None and share < _GOOD_SHARE:
        make = _bad if share < _BAD_SHARE else _warn
        yield make(f"The messenger was up in {100 * share:.2f} % of the looks", "health")
    if health.expected and health.looks / health.expected < _LOOKS_SHARE:
        yield _warn(f"{health.looks} of {health.expected} looks at the messenger were taken", "health")


def _of_speed(facts: WeekFacts) -> Iterator[Attention]:
    worse = [one.name for one in facts.speed.figures if one.is_worse] if facts.speed else []
    if worse:
        yield _warn(f"The benchmark is worse than before: {_named(worse)}", "speed")


def _of_certificates(facts: WeekFacts) -> Iterator[Attention]:
    if facts.certificates is None:
        return
    left = facts.certificates.first_end - facts.made_at
    if left < _CERTIFICATE_LEFT:
        text = (
            "A certificate has ended" if left <= timedelta() else f"A certificate ends in {counted(left.days, 'day')}"
        )
        yield (_bad if left <= timedelta() else _warn)(text, "keys")


def _of_findings(facts: WeekFacts) -> Iterator[Attention]:
    counts = facts.findings.counts if facts.findings else {}
    if counts.get("critical"):
        yield _bad(f"{counted(counts['critical'], 'critical finding')} of the security scan", "findings")
    if counts.get("high"):
        yield _warn(f"{counted(counts['high'], 'finding')} of high severity", "findings")


def _sum(failures: Iterable[Failure]) -> int:
    return sum(one.count for one in failures)


def _named(names: Iterable[str]) -> str:
    every = list(names)
    more = len(every) - _NAMED
    return ", ".join(every[:_NAMED]) + (f" and {more} more" if more > 0 else "")
