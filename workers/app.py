"""The Celery application: `celery -A workers.app worker|beat|flower`. Settings come from `G3ZKP_*`, when first needed.

At least once, run once: messages are acknowledged after the work, given out again when a worker is lost, and every task
that matters begins at its run record (workers/task.py). Nothing here decides anything about maintenance.
"""

from __future__ import annotations

import importlib
from typing import Any

from celery import Celery
from celery.signals import setup_logging
from kombu.entity import Exchange, Queue

from g3zkp_maint import logs
from g3zkp_maint.settings import Settings, load
from workers import outage, presence
from workers.beat import beat_conf

QUEUES = ("backup", "crypto", "cleanup", "observe")

TASK_MODULES = ("workers.backup", "workers.crypto", "workers.cleanup", "workers.observe")


def route(name: str, *_: Any, **__: Any) -> dict[str, str]:
    """A task's queue is the part of its name before the dot: its fleet, and so what it may do."""
    queue = name.partition(".")[0]
    return {"queue": queue if queue in QUEUES else "observe"}


def _queue(name: str) -> Queue:
    """Bound to an exchange of its own: by default all queues are bound to one, by one key."""
    return Queue(name, Exchange(name), routing_key=name)  # type: ignore[no-untyped-call]


def configuration(settings: Settings) -> dict[str, Any]:
    """What Celery is told. Limits and times are those of the settings."""
    url = settings.redis.url.get_secret_value()
    transport = {
        # Longer than any hard limit, and safe anyway: a task that comes twice finds its run record.
        "visibility_timeout": settings.tasks.visibility_seconds,
        "socket_keepalive": True,
        # A network that swallows packets must not hold a publisher for as long as TCP would wait.
        "socket_timeout": 30,
        "socket_connect_timeout": 10,
        "health_check_interval": 30,
        "retry_on_timeout": True,
    }
    return {
        "broker_url": url,
        "broker_transport_options": transport,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "result_backend": url,
        "result_backend_transport_options": {"retry_policy": {"timeout": 60.0}},
        "result_backend_always_retry": True,
        "result_expires": settings.tasks.result_days * 86_400,
        "result_extended": True,
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "timezone": "UTC",
        "enable_utc": True,
        "task_queues": [_queue(name) for name in QUEUES],
        "task_default_queue": "observe",
        "task_create_missing_queues": False,
        "task_routes": (route,),
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_track_started": True,
        "task_send_sent_event": True,
        "task_soft_time_limit": settings.tasks.soft_limit_seconds,
        "task_time_limit": settings.tasks.hard_limit_seconds,
        "task_publish_retry_policy": {"max_retries": 20, "interval_start": 0, "interval_step": 0.5, "interval_max": 5},
        "worker_prefetch_multiplier": 1,
        "worker_send_task_events": True,
        "g3zkp_starved_seconds": settings.tasks.starved_seconds,
        "worker_soft_shutdown_timeout": settings.tasks.shutdown_seconds,
        "worker_hijack_root_logger": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        **beat_conf(settings, announce=_announce),
    }


def _announce(*args: Any) -> None:
    """Beat's decisions go to the journal, through this process's services."""
    from workers.beat import journaled  # noqa: PLC0415
    from workers.task import services  # noqa: PLC0415

    journaled(services().journal)(*args)


app = Celery("g3zkp", include=list(TASK_MODULES), strict_typing=True)
app.add_defaults(lambda: configuration(load()))
outage.install(app)
presence.install(app)


@setup_logging.connect  # type: ignore[untyped-decorator]  # Celery publishes no types
def _set_up_logging(**_: Any) -> None:
    settings = load()
    logs.configure(level=settings.log.level, json_lines=settings.log.json_lines)


def load_tasks() -> None:
    """Registers every task, as a worker does at its start."""
    for module in TASK_MODULES:
        importlib.import_module(module)
