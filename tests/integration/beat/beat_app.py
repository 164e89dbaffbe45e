"""The Celery app that the beats of these tests run: the real scheduler, an own calendar, a queue to look into."""

from __future__ import annotations

import os

from celery import Celery

from g3zkp_maint import logs
from g3zkp_maint.settings import load
from workers.beat import beat_conf

logs.configure(level="info", json_lines=True)

app = Celery("beat-test")
app.conf.update(
    beat_conf(load()),
    broker_url=os.environ["G3ZKP_REDIS__URL"],
    result_backend=os.environ["G3ZKP_REDIS__URL"],
    task_default_queue="observed",
    worker_hijack_root_logger=False,
)


@app.task(name="observe.beep")
def beep(*args: str, slot: str | None = None) -> None: ...


@app.task(name="backup.beep")
def run(*args: str, slot: str | None = None) -> None: ...
