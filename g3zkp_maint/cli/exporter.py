"""`g3zkp-maint exporter`: metrics for Prometheus, windows for calendars."""

from __future__ import annotations

import signal
import sys
import threading
from typing import Annotated

import typer

from g3zkp_maint import logs
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.cli.output import say
from g3zkp_maint.operations.exporter import running_exporter
from g3zkp_maint.settings import load


def exporter(
    address: Annotated[str | None, typer.Option(help="Default: metrics.address.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Default: metrics.port; 0: a free one.")] = None,
) -> None:
    """Metrics of the maintenance for Prometheus, computed from the journal, Redis and the store. SIGTERM ends it.

    Beside /metrics calendars subscribe to the maintenance windows: /windows.ics.

    It holds no state of its own: it may be started again, or run twice, at any time.
    """
    settings = load()
    logs.configure(level=settings.log.level, json_lines=settings.log.json_lines)
    given = {name: value for name, value in (("address", address), ("port", port)) if value is not None}
    metrics = settings.metrics.model_copy(update=given)
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    with running_exporter(Services(settings.model_copy(update={"metrics": metrics}))) as url:
        say(f"metrics at {url}")
        sys.stdout.flush()
        ending.wait()
