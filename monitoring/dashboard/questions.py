"""What an operator asks, by topic."""

from __future__ import annotations

from monitoring.dashboard.question import Query, Question, Row, age, of, own

_WATCHDOG = 'alertname="G3ZKPMaintWatchdog"'
_REDIS = 'source="redis"'

WELL = Row(
    "Is all well?",
    (
        Question(
            "What is wrong now?",
            "Alerts that fire, by name; none is shown as a dash. docs/runbook.md, section Alerts, says what to do about each.",
            (
                Query(
                    "sum by (alertname, severity) (ALERTS{"
                    'alertstate="firing",alertname=~"G3ZKP.*",alertname!="G3ZKPMaintWatchdog",namespace=~"$namespace"})',
                    "{{alertname}} ({{severity}})",
                ),
            ),
            "none",
            limit=1,
        ),
        Question(
            "Are the rules evaluated?",
            "1: the watchdog fires, as it must always. Nothing: Prometheus lacks the rules, and no alert will ever come.",
            (Query(f'count(ALERTS{{{_WATCHDOG},alertstate="firing"}})', "watchdog"),),
            "none",
        ),
        Question(
            "Does the exporter see everything?",
            "1 for each source that it could read the last time. What it tells of one at 0 is old, or missing.",
            (Query(f"max by (source) ({own('source_up')})", "{{source}}"),),
            "none",
            alert="G3ZKPMaintSourceDown",
        ),
    ),
)

BACKUPS = Row(
    "Backups",
    (
        Question(
            "How old is the newest whole backup?",
            "The newest in the store that is valid and whole. Decades mean that there is none.",
            (Query(f"min({age('backup_newest_timestamp_seconds')})", "age"),),
            "s",
            alert="G3ZKPMaintBackupStale",
        ),
        Question(
            "Does the newest backup lack something?",
            "1: it is partial; `backups show` lists what lacks.",
            (Query(f"max({own('backup_is_partial')})", "partial"),),
            "none",
            alert="G3ZKPMaintBackupPartial",
        ),
        Question(
            "Must a manifest not be believed?",
            "Manifests, among the newest, that no trusted fleet has signed, or that were changed.",
            (Query(f"max({own('backup_invalid_manifests')})", "manifests"),),
            "none",
            alert="G3ZKPMaintBackupDistrusted",
        ),
        Question(
            "How many backups are there?",
            "By their manifests, as retention has left them.",
            (Query(f"max({own('backups')})", "backups"),),
            "none",
        ),
        Question(
            "How does the store grow?",
            "All that is in it, and what the newest backup has added.",
            (
                Query(f"max({own('store_bytes')})", "in the store"),
                Query(f"max({own('backup_newest_stored_bytes')})", "added by the newest backup"),
            ),
            "bytes",
            "series",
        ),
        Question(
            "What is stored, read and freed?",
            "Bytes a second, over an hour, by task.",
            (Query(f"sum by (task, kind) (rate({own('bytes_total')}[1h]))", "{{task}} {{kind}}"),),
            "Bps",
            "series",
        ),
    ),
)

RESTORES = Row(
    "Restores",
    (
        Question(
            "Did the last drill pass?",
            "1: the newest full backup was restored and checked. 0: it was not, whatever its manifest says.",
            (Query(f"min({own('drill_passed')})", "passed"),),
            "none",
            alert="G3ZKPMaintDrillFailed",
        ),
        Question(
            "For how long has no drill passed?",
            "A drill follows each full backup; before the first one it is the age of the journal.",
            (Query(f"min({age('drill_fresh_timestamp_seconds')})", "since the last"),),
            "s",
            alert="G3ZKPMaintDrillStale",
        ),
        Question(
            "How long does a restore take?",
            "What the last drill took to restore everything.",
            (Query(f"max({own('drill_recovery_seconds')})", "recovery time"),),
            "s",
        ),
        Question(
            "How much would be lost?",
            "How old the data of the backup was at the last drill.",
            (Query(f"max({own('drill_recovery_point_seconds')})", "recovery point"),),
            "s",
        ),
    ),
)

#: An alert on an entry begins at this age; rules and dashboard say it in the same words.
ENTRY_LIMIT = "1.25 * max by (namespace, entry) (g3zkp_maint_entry_interval_seconds) + 600"
KEY_LIMIT = "max by (namespace, type) (g3zkp_maint_key_interval_seconds) + 8 * 86400"

CALENDAR = Row(
    "Calendar and runs",
    (
        Question(
            "What is overdue?",
            "The time since each entry of the calendar ended well, as a share of the time after which an alert begins.",
            (
                Query(
                    f"min by (namespace, entry) ({age('entry_fresh_timestamp_seconds')}) / ({ENTRY_LIMIT})",
                    "{{entry}}",
                ),
            ),
            "percentunit",
            "bars",
            limit=1,
        ),
        Question(
            "What is due next?",
            "The time until each entry's next slot.",
            (Query(f"sort(min by (entry) ({own('entry_next_timestamp_seconds')}) - time() > 0)", "{{entry}}"),),
            "s",
            "bars",
        ),
        Question(
            "Which task failed the last time?",
            "0 for each task whose last run did not end well.",
            (Query(f"min by (task) ({own('task_last_run_ok')})", "{{task}}"),),
            "none",
            alert="G3ZKPMaintTaskFailed",
        ),
        Question(
            "Why do runs fail?",
            "Failures of a day by error code; docs/runbook.md, section Error codes, explains each.",
            (Query(f"sum by (task, code) (increase({own('run_failures_total')}[1d])) > 0", "{{task}}: {{code}}"),),
            "none",
            "bars",
            limit=1,
        ),
        Question(
            "How do runs end?",
            "Runs an hour by outcome.",
            (Query(f"sum by (outcome) (increase({own('runs_total')}[1h]))", "{{outcome}}"),),
            "none",
            "series",
        ),
        Question(
            "How long do runs take?",
            "The mean of a day, from the first start to the end, waiting included.",
            (
                Query(
                    f"sum by (task) (increase({own('run_duration_seconds_sum')}[1d]))"
                    f" / (sum by (task) (increase({own('run_duration_seconds_count')}[1d])) > 0)",
                    "{{task}}",
                ),
            ),
            "s",
            "series",
        ),
        Question(
            "Is a maintenance window open?",
            "1 for each type of which one is open now.",
            (Query(f"max by (type) ({own('window_open')})", "{{type}}"),),
            "none",
        ),
        Question(
            "When does the next window begin?",
            "Of the types of which one is planned; `windows list` shows what it is for.",
            (Query(f"min by (type) ({own('window_next_timestamp_seconds')} > 0) - time()", "{{type}}"),),
            "s",
        ),
        Question(
            "Were slots missed?",
            "Slots of a day for which no run was started, by entry.",
            (Query(f"sum by (entry) (increase({own('entry_slots_missed_total')}[1d]))", "{{entry}}"),),
            "none",
            "bars",
            limit=1,
        ),
    ),
)

KEYS = Row(
    "Keys and certificates",
    (
        Question(
            "How old are the keys?",
            "Since each type of key was rotated last; where nothing is known of it, it is not shown.",
            (Query(f"min by (type) (time() - ({own('key_rotated_timestamp_seconds')} > 0))", "{{type}}"),),
            "s",
        ),
        Question(
            "Which key is overdue?",
            "The age of each key as a share of the age at which an alert begins: its interval, and eight days.",
            (
                Query(
                    f"min by (namespace, type) (time() - ({own('key_rotated_timestamp_seconds')} > 0)) / ({KEY_LIMIT})",
                    "{{type}}",
                ),
            ),
            "percentunit",
            "bars",
            limit=1,
        ),
        Question(
            "When do certificates end?",
            "As the last look saw them; those that are renewed by themselves should be so 30 days before.",
            (
                Query(
                    f"min by (certificate) ({own('certificate_expiry_timestamp_seconds')}) - time()", "{{certificate}}"
                ),
            ),
            "s",
            alert="G3ZKPMaintCertificateExpiring",
        ),
    ),
)


MACHINERY = Row(
    "Machinery",
    (
        Question(
            "Is each fleet there?",
            "Workers that take tasks of each queue.",
            (Query(f"max by (queue) ({own('fleet_workers')})", "{{queue}}"),),
            "none",
            alert="G3ZKPMaintFleetMissing",
        ),
        Question(
            "Does each queue move?",
            "Since the last canary came through; a fleet that is at something long takes none meanwhile.",
            (Query(f"min by (queue) ({age('canary_arrived_timestamp_seconds')})", "{{queue}}"),),
            "s",
            alert="G3ZKPMaintQueueStuck",
        ),
        Question(
            "Does a beat lead?",
            "Since a leading beat has published all that was due.",
            (Query(f"min({age('beat_tick_timestamp_seconds')})", "since the last round"),),
            "s",
            alert="G3ZKPMaintBeatLeaderless",
        ),
        Question(
            "Is Redis reached?",
            "1: the exporter reaches the Redis that the fleets work by.",
            (Query(f"max({own('source_up', _REDIS)})", "redis"),),
            "none",
            alert="G3ZKPMaintRedisDown",
        ),
        Question(
            "What waits?",
            "Messages in each queue.",
            (Query(f"max by (queue) ({own('queue_messages')})", "{{queue}}"),),
            "none",
            "series",
        ),
        Question(
            "What is being worked on?",
            "Runs that a worker is at, by queue, and all that are open.",
            (
                Query(f"max by (queue) ({own('runs_active')})", "{{queue}}"),
                Query(f"max({own('runs_open')})", "open"),
            ),
            "none",
            "series",
        ),
        Question(
            "Who holds what, and who waits for it?",
            "Holders of each resource, and who waits.",
            (
                Query(f"max by (resource, mode) ({own('lease_holders')})", "{{resource}} {{mode}}"),
                Query(f"max by (resource) ({own('lease_waiters')})", "{{resource}} waiting"),
            ),
            "none",
            "series",
        ),
        Question(
            "Were leases lost?",
            "Steps of an hour that ended because their lease was lost: a worker was stopped, or cut off from Redis.",
            (Query(f"sum by (task) (increase({own('leases_lost_total')}[1h]))", "{{task}}"),),
            "none",
            "series",
        ),
    ),
)

_DURATIONS = of("g3zkp_request_duration_seconds_bucket")

MESSENGER = Row(
    "Messenger",
    (
        Question(
            "Is the messenger up?",
            "By the looks of observe.health every five minutes. Degraded: an instance lacks, or it answers slowly; down: its "
            "users cannot reach it.",
            (Query(f"max by (state) ({own('messenger_state')})", "{{state}}"),),
            "none",
            "series",
        ),
        Question(
            "Since when?",
            "How long it has been in its state, and how old the last look is: what is older than ten minutes tells of then.",
            (
                Query(f"max({age('messenger_state_since_timestamp_seconds')})", "in this state"),
                Query(f"min({age('messenger_looked_timestamp_seconds')})", "last look"),
            ),
            "s",
        ),
        Question(
            "How fast does it answer the health check?",
            "Each path, from connecting to the last byte of its last try.",
            (Query(f"max by (path) ({own('messenger_answer_seconds')})", "{{path}}"),),
            "s",
            "series",
        ),
        Question(
            "Do requests fail?",
            "Requests a second that fail by fault of the messenger.",
            (Query(f"sum(rate({of('g3zkp_errors_total')}[5m]))", "errors"),),
            "reqps",
            "series",
            alert="G3ZKPHighErrorRate",
        ),
        Question(
            "How fast does it answer?",
            "The 95th percentile and the median of all instances together.",
            (
                Query(f"histogram_quantile(0.95, sum by (le) (rate({_DURATIONS}[5m])))", "95 %"),
                Query(f"histogram_quantile(0.5, sum by (le) (rate({_DURATIONS}[5m])))", "50 %"),
            ),
            "s",
            "series",
            alert="G3ZKPHighLatency",
        ),
        Question(
            "How much is it asked?",
            "Requests a second.",
            (Query(f"sum(rate({of('g3zkp_request_duration_seconds_count')}[5m]))", "requests"),),
            "reqps",
            "series",
        ),
        Question(
            "How long does a proof take?",
            "The last one, in the slowest instance.",
            (Query(f"max({of('g3zkp_proof_generation_seconds')})", "proof"),),
            "s",
            "series",
            alert="G3ZKPProofGenerationSlow",
        ),
        Question(
            "How full is its disk?",
            "Of the data volume.",
            (Query(f"max({of('g3zkp_disk_usage_percent')})", "used"),),
            "percent",
            alert="G3ZKPLowDiskSpace",
        ),
        Question(
            "Did the security audit pass?",
            "1: the last one did, by the messenger's own word and by ours.",
            (Query(f"min({of('g3zkp_security_audit_passed')})", "passed"),),
            "none",
            alert="G3ZKPSecurityAuditFailed",
        ),
    ),
)

ROWS: tuple[Row, ...] = (WELL, BACKUPS, RESTORES, CALENDAR, KEYS, MACHINERY, MESSENGER)
