"""`windows` over a real Valkey: planned, opened, closed, and what people got by a real webhook."""

from __future__ import annotations

import json
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
