"""`g3zkp-maint health --watch`: the messenger's health as it goes. Asks for itself; needs neither Redis nor fleets."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count, islice
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from g3zkp_maint.bootstrap import Services
from g3zkp_maint.cli.output import printable, say
from g3zkp_maint.errors import MaintenanceError
from g3zkp_maint.health.history import History, Place
from g3zkp_maint.health.instances import check_all
from g3zkp_maint.health.state import Level

_BARS = "▁▂▃▄▅▆▇█"
_FAILED = "✗"
_SHOWN_LOOKS = 30
_STYLES = {Level.HEALTHY: "green", Level.DEGRADED: "yellow", Level.DOWN: "red"}


def watch(services: Services, *, every_seconds: float, looks: int | None, as_json: bool) -> Level:
    """Looks every so often, `looks` times or until Ctrl-C, and shows each look. Returns the state after the last one.

    A platform that cannot be asked is shown, and asked again with the next look.
    """
    history = History(services.settings.health, services.clock.now())
    pause = threading.Event()
    with _shown(history, as_json=as_json) as show:
        try:
            for number in islice(count(), looks):
                if number:
                    pause.wait(every_seconds)
                show(_look(services, history))
        except KeyboardInterrupt:
            pass
    return history.state.level


def _look(services: Services, history: History) -> dict[str, Any]:
    settings = services.settings.health
    try:
        report = check_all(
            services.platform,
            timeout_seconds=settings.timeout_seconds,
            tries=settings.tries,
            ask_instances=settings.ask_instances,
            clock=services.clock,
        )
    except MaintenanceError as error:
        return {"at": services.clock.now().isoformat(), "error": str(error), "code": error.code}
    return history.add(report, services.clock.now())


@contextmanager
def _shown(history: History, *, as_json: bool) -> Iterator[Callable[[dict[str, Any]], None]]:
    if as_json:
        yield lambda found: _line(json.dumps(found))
        return
    if not sys.stdout.isatty():
        yield lambda found: _line(_told(found))
        return
    with Live(Text("asking…"), console=Console(), auto_refresh=False, screen=False) as live:
        yield lambda found: live.update(view(history, found), refresh=True)


def _line(text: str) -> None:
    say(text)
    sys.stdout.flush()


def _told(found: dict[str, Any]) -> str:
    if "error" in found:
        return f"{found['at']}  {found['error']} [{found['code']}]"
    slowest = max((one["latency_seconds"] for one in found["service"]["endpoints"]), default=0)
    return f"{found['at']}  {found['state']}  {slowest * 1000:.0f} ms  {'; '.join(found['problems'])}".rstrip()


def view(history: History, found: dict[str, Any]) -> RenderableType:
    """What a terminal shows after a look."""
    state = history.state
    head = Text.assemble(
        (f" {state.level} ", f"bold reverse {_STYLES[state.level]}"),
        f" since {state.since:%Y-%m-%d %H:%M:%S} UTC, looked at {state.at:%H:%M:%S}",
    )
    table = Table(box=None, pad_edge=False)
    for name, justify in (("who", "left"), ("path", "left"), ("now", "right"), ("mean", "right"), ("most", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]  # the two words are of its type
    table.add_column(f"last {_SHOWN_LOOKS} looks")
    for (who, path), place in history.places.items():
        table.add_row(printable(who or "address"), path, *_numbers(place), sparks(place))
    lines = [found["error"]] if "error" in found else list(state.problems)
    return Group(head, table, *(Text(printable(line), style="red") for line in lines))


def _numbers(place: Place) -> tuple[str, str, str]:
    answered = place.answered()
    now = place.seconds[-1]
    shown = _FAILED if now is None else _ms(now)
    return (shown, _ms(sum(answered) / len(answered)), _ms(max(answered))) if answered else (shown, "-", "-")


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def sparks(place: Place) -> str:
    """The latencies as bars, the longest of them as a whole one; a cross for a look that failed."""
    shown = list(place.seconds)[-_SHOWN_LOOKS:]
    most = max((one for one in shown if one is not None), default=0) or 1
    steps = len(_BARS) - 1
    return "".join(_FAILED if one is None else _BARS[round(one / most * steps)] for one in shown)
