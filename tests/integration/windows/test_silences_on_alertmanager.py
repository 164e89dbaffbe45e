"""Windows and a real Alertmanager: silences made, found again, lifted; alerts that hold work back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from g3zkp_maint.alertmanager import Alertmanager
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.coordination.occasion import Held, Occasion
from g3zkp_maint.coordination.run_record import RunState
from g3zkp_maint.errors import AlertmanagerUnavailable, HeldBack
from g3zkp_maint.operations import windows as operations
from g3zkp_maint.settings import Platform, Redis, Settings, Windows
from g3zkp_maint.testing.open_window import opened
from g3zkp_maint.testing.prometheus import running_alertmanager
from g3zkp_maint.testing.running_stack import wait_for
from g3zkp_maint.testing.webhook import Webhook, running_webhook
from g3zkp_maint.windows import words
from g3zkp_maint.windows.kind import Kind
from g3zkp_maint.windows.leave import Work
from g3zkp_maint.windows.proposal import Proposal

pytestmark = pytest.mark.integration

SILENCED, HOLDING, OTHER = "G3ZKPHighErrorRate", "G3ZKPMaintBackupStale", "G3ZKPLowDiskSpace"
ROTATION = Work("rotating signing keys", 60, "a test")


@dataclass(frozen=True)
class Place:
    """An Alertmanager for all tests of the module, a Redis of each test's own."""

    url: str
    webhook: Webhook
    redis_url: str

    def services(self, platform: Platform | None = None, **windows: Any) -> Services:
        chosen = Windows(recurring=(), alertmanager_url=SecretStr(self.url), **windows)
        redis = Redis(url=SecretStr(self.redis_url))
        return Services(Settings(redis=redis, windows=chosen, platform=platform or Platform()))

    def alert(self, name: str, *, ends: bool = False, **labels: str) -> None:
        now = datetime.now(UTC)
        times = {"startsAt": (now - timedelta(minutes=5)).isoformat()} | ({"endsAt": now.isoformat()} if ends else {})
        httpx.post(
            f"{self.url}/api/v2/alerts", json=[{"labels": {"alertname": name, **labels}, **times}], trust_env=False
        ).raise_for_status()

    def delivered(self) -> set[str]:
        """Of all alerts that were ever posted to people."""
        return {alert["labels"]["alertname"] for _, posted in self.webhook.posted for alert in posted["alerts"]}

    def told_of(self, name: str) -> set[str]:
        """The namespaces whose alert of that name was ever posted."""
        posted = (alert["labels"] for _, posted in self.webhook.posted for alert in posted["alerts"])
        return {labels.get("namespace", "") for labels in posted if labels["alertname"] == name}

    def silences(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = httpx.get(f"{self.url}/api/v2/silences", trust_env=False).json()
        return [one for one in found if one["status"]["state"] != "expired"]


@pytest.fixture(scope="module")
def alertmanager(
    tmp_path_factory: pytest.TempPathFactory, require_program: Callable[[str], str]
) -> Iterator[tuple[str, Webhook]]:
    folder, program = tmp_path_factory.mktemp("silences"), require_program("prometheus-alertmanager")
    with running_webhook() as webhook:
        address = f"http://127.0.0.1:{webhook.port}/alerts"
        with running_alertmanager(program, folder / "alertmanager", webhook=address) as found:
            yield f"http://{found}", webhook


@pytest.fixture
def place(alertmanager: tuple[str, Webhook], redis_url: str) -> Iterator[Place]:
    found = Place(*alertmanager, redis_url)
    yield found
    for one in found.silences():
        httpx.delete(f"{found.url}/api/v2/silence/{one['id']}", trust_env=False).raise_for_status()
    for name in (SILENCED, HOLDING, OTHER):
        found.alert(name, ends=True)


def tend(services: Services) -> dict[str, Any]:
    slot = f"test-{datetime.now(UTC).timestamp()}"
    occasion = Occasion(operations.TASK, slot, "a test", "{}")
    found: dict[str, Any] = services.conductor.perform(occasion, partial(operations.tend, services))
    return found


def test_what_a_restart_causes_is_silent_in_a_window_and_told_after_it(place: Place) -> None:
    services = place.services()
    with opened(services) as window:
        assert tend(services)["silenced"] == 1
        (silence,) = place.silences()
        assert (silence["status"]["state"], silence["createdBy"]) == ("active", "g3zkp-maint")
        assert datetime.fromisoformat(silence["endsAt"]) == window.end
        place.webhook.posted.clear()
        place.alert(SILENCED, case="in the window")
        place.alert(OTHER)
        wait_for(lambda: OTHER in place.delivered(), 10, lambda: f"told: {place.webhook.posted}")
        assert SILENCED not in place.delivered()
        assert tend(services)["silenced"] == 0, "it has its silence"
    # Closed an hour before its end: lifted with that.
    assert tend(services)["lifted"] == 1
    assert place.silences() == []
    wait_for(lambda: SILENCED in place.delivered(), 10, lambda: f"told: {place.webhook.posted}")
    assert tend(services)["lifted"] == 0
    place.alert(SILENCED, ends=True, case="in the window")


_KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from functools import partial
import httpx
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.coordination.occasion import Occasion
from g3zkp_maint.operations import windows

send = httpx.request
def request(method, *args, **kwargs):
    answer = send(method, *args, **kwargs)
    if method == "POST":
        os.kill(os.getpid(), signal.SIGKILL)
    return answer
httpx.request = request
services = Services()
services.conductor.perform(Occasion(windows.TASK, "killed", "a test", "{}"), partial(windows.tend, services))
"""


def test_a_silence_is_found_again_after_a_kill_in_the_moment_it_was_made(place: Place) -> None:
    services = place.services()
    environment = {
        "G3ZKP_REDIS__URL": place.redis_url,
        "G3ZKP_WINDOWS__ALERTMANAGER_URL": place.url,
        "G3ZKP_WINDOWS__RECURRING": "[]",
    }
    with opened(services):
        killed = subprocess.run([sys.executable, "-c", _KILLED], env=environment, check=False, timeout=60)
        assert killed.returncode == -9
        assert len(place.silences()) == 1
        assert tend(services)["silenced"] == 0
        assert len(place.silences()) == 1
    assert tend(services)["lifted"] == 1
    assert place.silences() == []


def test_a_window_to_come_has_its_silence_ahead_and_none_once_it_is_cancelled(place: Place) -> None:
    services = place.services()
    start = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=30)
    wish = Proposal(Kind.MAJOR, start, start + timedelta(hours=1), "a test", emergency=True, reason="soon")
    window = operations.open_window(services, wish)
    tend(services)
    (silence,) = place.silences()
    assert (silence["status"]["state"], datetime.fromisoformat(silence["startsAt"])) == ("pending", start)
    later = window.replaced(start, end=window.end + timedelta(hours=1))
    services.windows.change(lambda _: (later,))
    tend(services)
    (changed,) = place.silences()
    assert datetime.fromisoformat(changed["endsAt"]) == later.end
    operations.close_window(services, window.id, why="not needed", by="a test")
    tend(services)
    assert place.silences() == []


def test_silences_of_others_are_left_alone(place: Place) -> None:
    now = datetime.now(UTC)
    document = {
        "matchers": [{"name": "alertname", "value": "x", "isRegex": False}],
        "startsAt": now.isoformat(),
        "endsAt": (now + timedelta(hours=1)).isoformat(),
        "createdBy": "somebody",
        "comment": "maintenance window weekly-20200101T0300",
    }
    httpx.post(f"{place.url}/api/v2/silences", json=document, trust_env=False).raise_for_status()
    assert tend(place.services())["lifted"] == 0
    assert len(place.silences()) == 1


def test_of_two_messengers_on_one_alertmanager_each_silences_and_heeds_its_own_alerts(place: Place) -> None:
    one, other = place.services(alert_namespace="one"), place.services(Platform(kind="kubernetes", namespace="other"))
    with opened(one):
        assert tend(one)["silenced"] == 1
        # Of the same name in both, as weekly windows are: the other's silence is no reason to make none.
        assert one.alertmanager is not None
        assert other.alertmanager is not None
        assert (len(one.alertmanager.silences()), other.alertmanager.silences()) == (1, ())
        for namespace in ("one", "other"):
            place.alert(SILENCED, namespace=namespace)
        place.alert(HOLDING, namespace="other")
        told = partial(place.told_of, SILENCED)
        wait_for(lambda: "other" in told(), 10, lambda: f"told: {place.webhook.posted}")
        assert "one" not in told()
        assert one.alertmanager.firing([SILENCED, HOLDING]) == (SILENCED,)
        assert other.alertmanager.firing([SILENCED, HOLDING]) == (SILENCED, HOLDING)
        # The other puts and lifts its own, and leaves that one's.
        assert tend(other)["silenced"] == 1
        (added,) = other.alertmanager.silences()
        other.alertmanager.lift(added)
        assert [silence["matchers"][-1]["value"] for silence in place.silences()] == ["one"]
    for namespace in ("one", "other"):
        place.alert(SILENCED, ends=True, namespace=namespace)
    place.alert(HOLDING, ends=True, namespace="other")


# -- alerts that hold work back ------------------------------------------------------------------------------------------


def rotate(services: Services, slot: str, **options: Any) -> Any:
    """Only what asks for leave; the rest of a rotation is no matter here."""

    def body(held: Held) -> str:
        operations.take_leave(services, lambda: ROTATION, held, force=bool(options), reason=options.get("reason", ""))
        return "done"

    return services.conductor.perform(Occasion("crypto.rotate_keys", slot, "a test", "{}"), body)


def asked(services: Services, slot: str) -> dict[str, Any]:
    """What the journal tells of the last time that the run asked."""
    events = [record.event for record in services.journal.read(task="crypto.rotate_keys")]
    return dict([one.detail for one in events if one.step == words.STEP and one.slot == slot][-1])


def test_a_firing_alert_holds_a_rotation_back_until_it_is_over_or_force_goes_past_it(place: Place) -> None:
    services = place.services()
    with opened(services) as window:
        place.alert(OTHER)
        assert rotate(services, "quiet") == "done"
        assert asked(services, "quiet")["leave"] == "window"
        place.alert(HOLDING)
        with pytest.raises(HeldBack, match=HOLDING):
            rotate(services, "held")
        record = services.runs.get("crypto.rotate_keys", "held")
        assert record is not None
        assert record.state is RunState.WAITING
        told = asked(services, "held")
        assert (told["leave"], told["cause"], told["alerts"], told["window"]) == ("held", "alert", HOLDING, window.id)
        assert rotate(services, "forced", reason="the key has leaked") == "done"
        assert asked(services, "forced")["reason"] == "the key has leaked"
        place.alert(HOLDING, ends=True)
        assert rotate(services, "held") == "done"


def test_an_alert_counts_though_our_window_silences_it_and_not_once_somebody_has_silenced_it(place: Place) -> None:
    services = place.services()
    with opened(services):
        tend(services)
        place.alert(SILENCED)
        alertmanager = services.alertmanager
        assert alertmanager is not None
        wait_for(lambda: alertmanager.firing([SILENCED, HOLDING]) == (SILENCED,), 10, lambda: "it does not count")
        now = datetime.now(UTC)
        document = {
            "matchers": [{"name": "alertname", "value": SILENCED, "isRegex": False}],
            "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(hours=1)).isoformat(),
            "createdBy": "somebody",
            "comment": "is known",
        }
        httpx.post(f"{place.url}/api/v2/silences", json=document, trust_env=False).raise_for_status()
        wait_for(lambda: alertmanager.firing([SILENCED, HOLDING]) == (), 10, lambda: "it counts still")


def test_while_alertmanager_is_away_a_rotation_is_held_unless_the_settings_say_otherwise(place: Place) -> None:
    gone = SecretStr("http://user:hush@127.0.0.1:1")
    away = Place(gone.get_secret_value(), place.webhook, place.redis_url)
    with opened(away.services()):
        with pytest.raises(HeldBack, match="not known whether alerts fire") as held:
            rotate(away.services(), "away")
        assert "hush" not in str(held.value)
        assert rotate(away.services(alertmanager_down="go"), "goes") == "done"
        with pytest.raises(AlertmanagerUnavailable):
            tend(away.services())
    journal = "\n".join(repr(record) for record in place.services().journal.read())
    assert "ConnectError" in journal
    assert "hush" not in journal


def test_what_is_no_alertmanager_is_said_to_be_none(place: Place) -> None:
    stranger = Alertmanager(SecretStr(f"{place.url}/nowhere/"), namespace="", silenced=[SILENCED])
    with pytest.raises(AlertmanagerUnavailable, match="404"):
        stranger.silences()
    with running_webhook() as webhook, pytest.raises(AlertmanagerUnavailable, match="501"):
        Alertmanager(SecretStr(f"http://127.0.0.1:{webhook.port}"), namespace="", silenced=[SILENCED]).silences()
