"""Every metric that the exporter has: its kind, what it means, its labels. The exporter can give no other, the page
docs/monitoring.md is made of this, and rules and dashboard are checked against it.

Labels have few values: calendar entries, tasks, queues, resources, outcomes, error codes, key types. No run, no slot, no
backup and no worker is a label. A timestamp of 0 means never; `…_fresh_timestamp_seconds` begins with the
journal instead, so that a rule on age neither misses what never was nor fires on the first day.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["gauge", "counter", "summary"]

PREFIX = "g3zkp_maint_"


@dataclass(frozen=True, slots=True)
class Metric:
    """`name` as it is asked for in PromQL, a summary's without `_sum` and `_count`; `unit` is in the name."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()

    @property
    def series(self) -> tuple[str, ...]:
        """The names that a query may use."""
        return (f"{self.name}_sum", f"{self.name}_count") if self.kind == "summary" else (self.name,)


def _gauge(name: str, help: str, *labels: str) -> Metric:
    return Metric(PREFIX + name, "gauge", help, labels)


def _counter(name: str, help: str, *labels: str) -> Metric:
    return Metric(PREFIX + name, "counter", help, labels)


METRICS: tuple[Metric, ...] = (
    # The exporter itself.
    _gauge("build_info", "1; the version is the label.", "version"),
    _gauge("source_up", "Whether what is read from this source could be read the last time.", "source"),
    _gauge("source_refreshed_timestamp_seconds", "When this source was read last; 0: never.", "source"),
    _gauge("source_read_seconds", "How long the last reading of this source took.", "source"),
    # The calendar.
    _gauge("entry_interval_seconds", "The longest time between two slots of a calendar entry.", "entry"),
    _gauge("entry_next_timestamp_seconds", "The next slot of a calendar entry.", "entry"),
    _gauge(
        "entry_last_success_timestamp_seconds",
        "When a run of this entry, or of the one that runs in its place, ended well; 0: never.",
        "entry",
    ),
    _gauge(
        "entry_fresh_timestamp_seconds",
        "The last success of this entry; where there was none, when it came onto the calendar, or the beginning of the "
        "journal. Alerts are on its age.",
        "entry",
    ),
    _gauge("entry_last_duration_seconds", "How long the last run of this entry took, waiting included.", "entry"),
    _counter("entry_slots_missed_total", "Slots of this entry that no run was started for.", "entry"),
    # Runs, from the journal.
    _gauge("journal_begin_timestamp_seconds", "The time of the first record that was read from the journal."),
    _counter("journal_records_total", "Records ever written to the journal."),
    _counter(
        "runs_total", "Runs that ended, by outcome: ok, partial, failed, skipped, superseded, other.", "task", "outcome"
    ),
    _counter("run_failures_total", "Runs that failed, by error code (docs/runbook.md).", "task", "code"),
    Metric(
        f"{PREFIX}run_duration_seconds", "summary", "From a run's first start to its end, waiting included.", ("task",)
    ),
    _gauge("task_last_success_timestamp_seconds", "When a run of this task ended well; 0: never.", "task"),
    _gauge(
        "task_last_run_ok",
        "Whether the run of this task that ended last ended well. Not told once that run was reset, nor, of a task that "
        "nothing starts again by itself, a day after.",
        "task",
    ),
    _counter("bytes_total", "Bytes stored, read or freed in the store, as the journal tells of them.", "task", "kind"),
    _gauge(
        "reread_overdue_objects",
        "Stored objects that the last re-reading found unread for longer than verify.reread_days.",
        "task",
    ),
    # The messenger, as observe.health has found it.
    _gauge(
        "messenger_state",
        "1 for the state that the messenger is in by the looks of observe.health (healthy, degraded, down), 0 for the others; "
        "none before the first look.",
        "state",
    ),
    _gauge("messenger_state_since_timestamp_seconds", "The first look, of those in a row, that left it in this state."),
    _gauge("messenger_looked_timestamp_seconds", "The last look; what it found is only as new as that."),
    _gauge(
        "messenger_answer_seconds",
        "How long the last try of a path (health, ready, metrics) at the messenger's address took in the last look, whether "
        "it was well or not.",
        "path",
    ),
    _counter("leases_lost_total", "Steps that ended because their lease was lost.", "task"),
    # This moment, from Redis.
    _gauge("runs_open", "Runs that are queued, waiting, running or between two steps."),
    _gauge("runs_active", "Runs that a worker is at, by the queue of their task.", "queue"),
    _gauge("queue_messages", "Messages that wait in a queue.", "queue"),
    _gauge("messages_unacknowledged", "Messages that are with workers."),
    _gauge("fleet_workers", "Workers of a queue that are there.", "queue"),
    _gauge("canary_arrived_timestamp_seconds", "When the canary of a queue arrived last; 0: never.", "queue"),
    _gauge("canary_duration_seconds", "How long it took from its slot.", "queue"),
    _gauge("lease_holders", "Who holds a resource, counted.", "resource", "mode"),
    _gauge("lease_waiters", "Who waits for a resource, counted.", "resource"),
    _gauge("beat_tick_timestamp_seconds", "When a leading beat had published all that was due; 0: never."),
    _gauge("beat_published_timestamp_seconds", "When beat published a message last; 0: never."),
    _gauge("beat_lock_held", "Whether a beat leads."),
    # The store.
    _gauge("backups", "Backups in the store, by their manifests."),
    _gauge("backup_newest_timestamp_seconds", "The time of the newest backup that is valid and whole; 0: none."),
    _gauge("backup_newest_full_timestamp_seconds", "The same of full backups."),
    _gauge("backup_newest_stored_bytes", "What the newest backup that is valid and whole added to the store."),
    _gauge("backup_is_partial", "Whether the newest valid backup is partial."),
    _gauge("backup_invalid_manifests", "Manifests newer than the newest whole full backup that must not be believed."),
    _gauge("store_objects", "Objects in the store."),
    _gauge("store_bytes", "Bytes in the store."),
    _gauge("drill_last_timestamp_seconds", "When the last drill was, by its evidence; 0: never."),
    _gauge("drill_last_passed_timestamp_seconds", "When the last drill was that passed; 0: never."),
    _gauge(
        "drill_fresh_timestamp_seconds", "The last drill that passed; where none has, the beginning of the journal."
    ),
    _gauge("drill_passed", "Whether the last drill passed."),
    _gauge("drill_recovery_seconds", "How long the last drill took to restore everything."),
    _gauge("drill_recovery_point_seconds", "How old the data was at the last drill."),
    # Keys.
    _gauge("key_rotated_timestamp_seconds", "When the key of this type was rotated last; 0: nothing is known.", "type"),
    _gauge("key_interval_seconds", "At what age a key of this type is due for rotation.", "type"),
    # Maintenance windows.
    _gauge("window_open", "Whether a maintenance window of this type is open.", "type"),
    _gauge("window_next_timestamp_seconds", "When the next window of this type begins; 0: none is planned.", "type"),
    # Certificates, as the last look saw them.
    _gauge("certificate_expiry_timestamp_seconds", "When this certificate ends.", "certificate"),
    # By the names that the maintenance protocols give.
    Metric("g3zkp_security_audit_passed", "gauge", "Whether the last security audit passed, from the journal."),
    Metric("g3zkp_disk_usage_percent", "gauge", "Used share of the messenger's data volume, as the messenger tells."),
)

BY_NAME = {metric.name: metric for metric in METRICS}
