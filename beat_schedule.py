"""The maintenance calendar, as data (UTC). Section 6 of the maintenance protocols, line by line.

An entry's task is `queue.verb`; the queue decides which fleet does it. Where entries of one task meet in a slot, the
rarer one runs and the other is superseded: on Sundays the full backup stands in for the incremental one.
`g3zkp-maint calendar show` prints what this comes to, day by day.
"""

from __future__ import annotations

from datetime import time

from g3zkp_maint.calendar.cadence import Daily, EveryMinutes, EverySeconds, Monthly, Weekday, Weekly
from g3zkp_maint.calendar.entry import CalendarEntry

MINUTE = 60
HOUR = 60 * MINUTE

CALENDAR: tuple[CalendarEntry, ...] = (
    # An outage must show within minutes. What health was half an hour ago helps nobody: a missed check is skipped.
    CalendarEntry(
        name="health",
        task="observe.health",
        cadence=EveryMinutes(5),
        missed="skip",
        starting_deadline_seconds=4 * MINUTE,
        soft_limit_seconds=2 * MINUTE,
        hard_limit_seconds=3 * MINUTE,
        why="an outage shows within five minutes",
    ),
    # At most a day of messages may be lost. Late is better than never: a missed one runs as soon as it can.
    CalendarEntry(
        name="backup-incremental",
        task="backup.run",
        cadence=Daily(time(2)),
        args=("incremental",),
        soft_limit_seconds=3 * HOUR,
        hard_limit_seconds=3 * HOUR + 5 * MINUTE,
        why="at most a day's data can be lost",
    ),
    # After the backup, so that nothing is deleted before it was saved once more; the lease on the data sees to it
    # where the backup takes longer than an hour.
    CalendarEntry(
        name="cleanup",
        task="cleanup.run",
        cadence=Daily(time(3)),
        soft_limit_seconds=2 * HOUR,
        hard_limit_seconds=2 * HOUR + 5 * MINUTE,
        why="expired messages, proofs and sessions go, as promised to users",
    ),
    # A day is how long a weak setting or a leaked permission may stay unseen.
    CalendarEntry(
        name="security-scan",
        task="observe.security_scan",
        cadence=Daily(time(4)),
        soft_limit_seconds=1 * HOUR,
        hard_limit_seconds=1 * HOUR + 5 * MINUTE,
        why="a weak setting is seen within a day",
    ),
    # A chain of incrementals is only as good as its oldest archive: once a week all is read and stored anew.
    CalendarEntry(
        name="backup-full",
        task="backup.run",
        cadence=Weekly(Weekday.SUNDAY, time(2)),
        args=("full",),
        soft_limit_seconds=6 * HOUR,
        hard_limit_seconds=6 * HOUR + 5 * MINUTE,
        why="everything is stored anew, independent of what was stored before",
    ),
    # Weekly look, rotation of what is due only. It restarts the messenger's pods, hence disruptive; after the full
    # backup, which holds the keys as they were.
    CalendarEntry(
        name="rotate-keys",
        task="crypto.rotate_keys",
        cadence=Weekly(Weekday.SUNDAY, time(3)),
        soft_limit_seconds=1 * HOUR,
        hard_limit_seconds=1 * HOUR + 5 * MINUTE,
        disruptive=True,
        why="no key serves longer than its time",
    ),
    # When users are fewest, so that the figures of two weeks can be compared. Run at another hour it would compare
    # badly: after its deadline it is skipped.
    CalendarEntry(
        name="benchmark",
        task="observe.benchmark",
        cadence=Weekly(Weekday.SUNDAY, time(4)),
        missed="skip",
        starting_deadline_seconds=1 * HOUR,
        soft_limit_seconds=1 * HOUR,
        hard_limit_seconds=1 * HOUR + 5 * MINUTE,
        why="a slow decay shows from week to week",
    ),
    # Months have up to 31 days and findings begin 30 before an end: the weekly roll-out looks and tells as well.
    CalendarEntry(
        name="check-certificates",
        task="crypto.check_certificates",
        cadence=Monthly(1, time(2)),
        soft_limit_seconds=1 * HOUR,
        hard_limit_seconds=1 * HOUR + 5 * MINUTE,
        why="no certificate expires unseen",
    ),
    # What is merely old. Advisories come by the monthly audit, where it has a scanner.
    CalendarEntry(
        name="check-dependencies",
        task="observe.check_dependencies",
        cadence=Monthly(1, time(3)),
        soft_limit_seconds=1 * HOUR,
        hard_limit_seconds=1 * HOUR + 5 * MINUTE,
        why="old dependencies are listed before they are vulnerable",
    ),
    # Another task than the daily scan, and so not in its group: at 04:00 on the 1st both run.
    CalendarEntry(
        name="security-audit",
        task="observe.security_audit",
        cadence=Monthly(1, time(4)),
        soft_limit_seconds=2 * HOUR,
        hard_limit_seconds=2 * HOUR + 5 * MINUTE,
        why="the whole of it, with evidence that is kept",
    ),
)


def _canary(queue: str) -> CalendarEntry:
    # A worker that lives and no longer consumes is noticed only by a task that goes the whole way (design 8, rule 8).
    return CalendarEntry(
        name=f"canary-{queue}",
        task=f"{queue}.canary",
        cadence=EveryMinutes(5),
        missed="skip",
        starting_deadline_seconds=4 * MINUTE,
        soft_limit_seconds=30,
        hard_limit_seconds=60,
        recorded=False,
        why=f"the {queue} fleet takes tasks and ends them",
    )


#: What the product does for itself. Apart, so that the calendar above reads as the protocols do.
UPKEEP: tuple[CalendarEntry, ...] = (
    # A run whose worker was killed is found and given out again. As often as `coordination.reap_seconds` by default.
    CalendarEntry(
        name="reap",
        task="observe.reap",
        cadence=EverySeconds(30),
        missed="skip",
        starting_deadline_seconds=25,
        soft_limit_seconds=60,
        hard_limit_seconds=90,
        recorded=False,
        why="runs of dead workers are taken up again",
    ),
    # A restore removes its helper pods, and whoever goes on with it those of before. This is for one with which nobody goes
    # on: its helper would keep a volume, as root, for hours. By the fleet that has the right to. Waits for pods to be gone.
    CalendarEntry(
        name="sweep-helpers",
        task="crypto.sweep_helpers",
        cadence=EveryMinutes(10),
        missed="skip",
        starting_deadline_seconds=9 * MINUTE,
        soft_limit_seconds=7 * MINUTE,
        hard_limit_seconds=8 * MINUTE,
        recorded=False,
        why="no helper pod outlives its restore by more than minutes",
    ),
    # Notices of windows are told to the quarter of an hour, and silences are made an hour ahead. The next look does what
    # a missed one would have done.
    CalendarEntry(
        name="window-notices",
        task="observe.window_notices",
        cadence=EveryMinutes(15),
        missed="skip",
        starting_deadline_seconds=14 * MINUTE,
        soft_limit_seconds=4 * MINUTE,
        hard_limit_seconds=5 * MINUTE,
        why="people are told of maintenance in time, and once",
    ),
    # What is damaged is found while other copies are whole. After the backup and the night's other work; what a day
    # misses is read on the days after.
    CalendarEntry(
        name="reread",
        task="backup.reread",
        cadence=Daily(time(5)),
        soft_limit_seconds=4 * HOUR,
        hard_limit_seconds=4 * HOUR + 5 * MINUTE,
        why="every stored byte is read again within 30 days",
    ),
    # Copies decay as well, and are read by nobody until the day they are needed. Without a second store it ends at once.
    CalendarEntry(
        name="reread-second",
        task="backup.reread_second",
        cadence=Daily(time(5, 30)),
        soft_limit_seconds=4 * HOUR,
        hard_limit_seconds=4 * HOUR + 5 * MINUTE,
        why="every byte of the copies is read again within 30 days",
    ),
    # What was renewed since, by whomever, is in use only after a restart: in the weekly window, after the rotation, whose
    # lease it waits for. With nothing renewed it ends at once.
    CalendarEntry(
        name="roll-out-certificates",
        task="crypto.roll_out_certificates",
        cadence=Weekly(Weekday.SUNDAY, time(3, 10)),
        soft_limit_seconds=1 * HOUR,
        hard_limit_seconds=1 * HOUR + 5 * MINUTE,
        disruptive=True,
        why="a renewed certificate is in use within a week",
    ),
    # When the week is over and Monday's night work is done, and before people begin theirs. Late is as good.
    CalendarEntry(
        name="weekly-report",
        task="observe.weekly_report",
        cadence=Weekly(Weekday.MONDAY, time(6)),
        soft_limit_seconds=10 * MINUTE,
        hard_limit_seconds=11 * MINUTE,
        why="what ran, what was missed and what grew is seen every week",
    ),
    *(_canary(queue) for queue in ("backup", "crypto", "cleanup", "observe")),
)
