"""`windows` over a real Valkey: planned, opened, closed, and what people got by a real webhook."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from icalendar import Calendar
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from g3zkp_maint import cli
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.errors import BadInput
from g3zkp_maint.operations import windows as operations
from g3zkp_maint.settings import Redis, Settings
from g3zkp_maint.testing.webhook import Webhook, running_webhook
from g3zkp_maint.windows.kind import Kind
from g3zkp_maint.windows.proposal import Proposal

pytestmark = pytest.mark.integration

Invoke = Callable[..., Result]
#: Beyond the notice of any type, and on no Sunday.
FAR = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) + timedelta(days=21)
AT = FAR + timedelta(days=1 if FAR.isoweekday() == 7 else 0)


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with running_webhook() as found:
        yield found


@pytest.fixture
def invoke(redis_url: str, webhook: Webhook) -> Invoke:
    urls = json.dumps([webhook.url().get_secret_value()])

    def run(*args: str) -> Result:
        environment = {"G3ZKP_REDIS__URL": redis_url, "G3ZKP_NOTICES__URLS": urls}
        return CliRunner(env=environment).invoke(cli.app, ["windows", *args], prog_name="g3zkp-maint")

    return run


def answered(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def plan(invoke: Invoke, *more: str, type: str = "major", at: datetime = AT) -> Any:
    return answered(invoke("plan", type, "--at", f"{at:%Y-%m-%dT%H:%M}", "--json", *more))


def states(invoke: Invoke) -> dict[str, str]:
    return {one["id"]: one["verdict"] for one in answered(invoke("list", "--json"))}


def test_a_window_is_planned_listed_exported_and_cancelled(invoke: Invoke, tmp_path: Path, webhook: Webhook) -> None:
    dry = plan(invoke, "--dry-run", "--minutes", "90")
    assert dry["id"] not in states(invoke)
    window = plan(invoke, "--minutes", "90", "--what", "a new version")
    assert (window["how"], window["told_later"]) == ("planned", None)
    assert states(invoke)[window["id"]] == "takes place"
    assert any(one.startswith("weekly-") for one in states(invoke)), "what recurs is there as well"
    table = invoke("list").stdout
    assert "WINDOW" in table
    assert "1 h 30 min" in table
    closed = answered(invoke("close", window["id"], "--reason", "not needed", "--json"))
    assert (closed["how"], closed["revision"]) == ("cancelled", 1)
    assert states(invoke)[window["id"]] == "stopped"
    assert invoke("ics", "-o", str(tmp_path / "w.ics")).exit_code == 0
    document = Calendar.from_ical((tmp_path / "w.ics").read_bytes())
    (event,) = [one for one in document.walk("VEVENT") if one["UID"].startswith(window["id"])]
    assert (event["SEQUENCE"], str(event["STATUS"])) == (1, "CANCELLED")
    assert webhook.posted == [], "nobody knew of it"


def test_an_emergency_is_told_at_once_and_so_is_its_early_end(invoke: Invoke, webhook: Webhook) -> None:
    window = answered(
        invoke("open", "security", "--minutes", "20", "--emergency", "--reason", "a key has leaked", "--json")
    )
    assert [one.partition(":")[0] for one in webhook.titles()] == ["Emergency maintenance is under way"]
    assert "Why without the usual notice: a key has leaked" in webhook.posted[0][1]["message"]
    assert [one["id"] for one in answered(invoke("list", "--json")) if one["open"] and one["emergency"]] == [
        window["id"]
    ]
    assert answered(invoke("close", window["id"], "--reason", "done", "--json"))["how"] == "closed"
    assert [one.partition(":")[0] for one in webhook.titles()][1:] == ["Emergency maintenance has ended early"]
    assert not any(one["open"] and one["emergency"] for one in answered(invoke("list", "--json")))


def test_a_window_is_open_also_where_nobody_can_be_told_now(invoke: Invoke, webhook: Webhook) -> None:
    webhook.status = 500
    window = answered(invoke("open", "security", "--emergency", "--reason", "leak", "--json"))
    assert "did not go out" in window["told_later"]
    assert states(invoke)[window["id"]] == "takes place"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["open", "security"], "add --emergency and --reason"),
        (["open", "security", "--emergency"], "needs a reason"),
        (["open", "tiny", "--emergency", "--reason", "x"], "there are security, minor, major, infrastructure"),
        (["plan", "major", "--at", "tomorrow"], "is no time"),
        (["plan", "major", "--at", "2020-01-01T02:00"], "is in the past"),
        (["plan", "major", "--at", f"{AT:%Y-%m-%dT%H:%M}", "--until", f"{AT:%Y-%m-%dT%H:%M}"], "before it begins"),
        (["plan", "major", "--at", f"{AT:%Y-%m-%dT%H:%M}", "--until", "x", "--minutes", "9"], "not both"),
        (["close", "weekly-20200101T0300", "--reason", "x"], "windows list"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(invoke: Invoke, args: list[str], said: str) -> None:
    result = invoke(*args)
    assert result.exit_code == 2
    assert said in result.output
    assert "[bad-input]" in result.output


def test_of_two_who_plan_the_same_time_at_once_one_is_refused(redis_url: str) -> None:
    wish = Proposal(Kind.MAJOR, AT, AT + timedelta(hours=1), "op")
    outcomes, together = list[str](), threading.Barrier(6)

    def go() -> None:
        services = Services(Settings(redis=Redis(url=SecretStr(redis_url))))
        together.wait()
        try:
            operations.open_window(services, wish)
            outcomes.append("planned")
        except BadInput:
            outcomes.append("refused")
        services.redis.close()

    threads = [threading.Thread(target=go) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(outcomes) == ["planned"] + ["refused"] * 5


# -- subscribed to -------------------------------------------------------------------------------------------------------

_SUBSCRIBED = """
import sys, httpx
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.operations.exporter import running_exporter
with running_exporter(Services()) as url:
    metrics = httpx.get(url, timeout=60, trust_env=False)
    assert metrics.status_code == 200 and "icalendar" not in sys.modules, "it costs memory before it is asked for"
    found = httpx.get(url.replace("/metrics", "/windows.ics"), timeout=60, trust_env=False)
print(found.headers["content-type"])
print(found.text)
"""


def test_calendars_subscribe_to_the_windows_at_the_exporter(invoke: Invoke, redis_url: str) -> None:
    environment = {
        "G3ZKP_REDIS__URL": redis_url,
        "G3ZKP_METRICS__PORT": "0",
        "G3ZKP_METRICS__LOOK_INTO_STORE": "false",
        "G3ZKP_METRICS__LOOK_INTO_SECRET": "false",
        "G3ZKP_METRICS__ASK_MESSENGER": "false",
    }

    kept, off = plan(invoke)["id"], plan(invoke, at=AT + timedelta(days=7))["id"]
    answered(invoke("close", off, "--reason", "not needed", "--json"))
    argv = [sys.executable, "-c", _SUBSCRIBED]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    kind, _, text = done.stdout[done.stdout.index("text/calendar") :].partition("\n")
    assert kind == "text/calendar; charset=utf-8"
    events = {str(one["uid"]): str(one["status"]) for one in Calendar.from_ical(text).walk("VEVENT")}
    assert (events[f"{kept}@g3zkp-maint"], events[f"{off}@g3zkp-maint"]) == ("CONFIRMED", "CANCELLED")
