"""Rotations of a real messenger on this machine: killed at every step, by messengers that answer wrongly, taken back."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from g3zkp_maint import cli
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.errors import (
    Conflict,
    KeyGenerationFailed,
    OutsideWindow,
    PlatformUnavailable,
    RotationFailed,
    StreamBroken,
)
from g3zkp_maint.operations import rotation as operations
from g3zkp_maint.platforms.base import MESSENGER, SecretData
from g3zkp_maint.platforms.local_workload import read_declared
from g3zkp_maint.rotation.entries import KEY_TYPES, RECORD, read_key
from g3zkp_maint.rotation.history import TASK
from g3zkp_maint.stack import ports
from g3zkp_maint.stack.environment import Access, fleet_environment
from g3zkp_maint.stack.first_start import ensure_password
from g3zkp_maint.stack.layout import Layout
from g3zkp_maint.testing.backup_place import entered
from g3zkp_maint.testing.open_window import opened
from g3zkp_maint.testing.rotating import Altered, insist, kill_at, perform, replace_platform, replace_settings
from g3zkp_maint.testing.running_stack import running_stack

pytestmark = pytest.mark.integration

SECRET = "g3zkp-keys"
TRY_AGAIN = 75


@dataclass
class Place:
    """A messenger that runs, and the services of an operator beside it."""

    layout: Layout
    services: Services
    slots: Iterator[str] = field(default_factory=lambda: (f"test-{time.monotonic_ns()}" for _ in iter(int, 1)))

    def secret(self) -> SecretData:
        return self.services.platform.read_secret(SECRET)

    def ids(self) -> dict[str, str]:
        """Which keys the Secret names."""
        keys = {one: read_key(self.secret().data.get(f"{one}-key")) for one in KEY_TYPES}
        return {one: key.keyId for one, key in keys.items() if key is not None}

    def in_use(self) -> dict[str, str]:
        found: dict[str, str] = httpx.get(f"{self.services.platform.health_url()}/keys").json()["inUse"]
        return found

    def made(self) -> int:
        """How many keys the messenger has ever made."""
        return len(list((self.layout.messenger_data / "keys").glob("*-*.json")))

    def revision(self) -> int:
        return read_declared(self.layout.workloads, MESSENGER).revision

    def rotate(self, *types: str, force: bool = True) -> dict[str, Any]:
        return perform(self.services, next(self.slots), *types, force=force)

    def assert_settled(self) -> None:
        """What the Secret names is in use, and nothing is half done."""
        assert self.in_use() == self.ids()
        assert not [name for name in self.secret().data if name.endswith("-former")]
        record = json.loads(self.secret().annotations[RECORD])
        assert record["phase"] in {"rotated", "undone"}


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layout]:
    state = tmp_path_factory.mktemp("stack") / "state"
    with running_stack(state, "--no-fleets", "--no-flower") as stack:
        yield stack.layout
    shutil.rmtree(state)


def settings_of(layout: Layout) -> dict[str, str]:
    chosen = ports.load(layout.ports)
    assert chosen is not None
    redis, coordination = (ensure_password(folder.parent) for folder in (layout.redis_data, layout.coordination))
    access = Access(chosen, redis_password=redis, coordination_password=coordination)
    return {
        **fleet_environment(layout, "crypto", access),
        "G3ZKP_COORDINATION__LEASE_TTL_SECONDS": "2.5",
        "G3ZKP_COORDINATION__LEASE_RENEW_SECONDS": "0.4",
        "G3ZKP_COORDINATION__RETRY_SECONDS": "0.1",
        "G3ZKP_COORDINATION__MAX_ATTEMPTS": "30",
        "G3ZKP_PLATFORM__ROLLOUT_SECONDS": "30",
        # Tests open their own: none may end otherwise on a Sunday at three.
        "G3ZKP_WINDOWS__RECURRING": "[]",
    }


@pytest.fixture
def place(layout: Layout) -> Iterator[Place]:
    with entered(settings_of(layout)):
        services = Services()
        made = Place(layout, services)
        if not made.ids():
            made.rotate()
        yield made
        services.redis.close()


# -- what a rotation does ----------------------------------------------------------------------------------------------


def test_four_types_are_rotated_by_one_restart_and_each_new_key_is_in_use(place: Place) -> None:
    before, restarts, made = place.ids(), place.revision(), place.made()
    found = place.rotate()
    after = place.ids()
    assert set(after) == set(KEY_TYPES)
    assert not set(before.values()) & set(after.values())
    assert {one["type"]: (one["key_id"], one["former_id"]) for one in found["rotated"]} == {
        one: (after[one], before[one]) for one in KEY_TYPES
    }
    assert (place.revision(), place.made()) == (restarts + 1, made + 4)
    previous = [read_key(place.secret().data[f"{one}-key-previous"]) for one in KEY_TYPES]
    assert [key.keyId for key in previous if key] == [before[one] for one in KEY_TYPES]
    place.assert_settled()


def test_nothing_due_restarts_nothing_and_a_previous_key_goes_after_its_overlap(place: Place) -> None:
    place.rotate()
    restarts, secret = place.revision(), place.secret()
    found = place.rotate(force=False)
    assert (found["rotated"], set(found["not_due"])) == ([], set(KEY_TYPES))
    assert place.secret() == secret
    place.services.platform.patch_secret(
        SECRET,
        resource_version=secret.resource_version,
        data={},
        annotations={"previous-until-signing": str(int(time.time()) - 1)},
    )
    assert place.rotate(force=False)["retired"] == ["signing"]
    assert "signing-key-previous" not in place.secret().data
    assert "previous-until-signing" not in place.secret().annotations
    assert "session-key-previous" in place.secret().data
    assert place.revision() == restarts


def test_what_is_due_waits_for_force_or_for_a_maintenance_window(place: Place) -> None:
    place.rotate()
    secret = place.secret()
    place.services.platform.patch_secret(
        SECRET, resource_version=secret.resource_version, data={}, annotations={"last-rotation-session": "soon"}
    )
    before = place.ids()
    with pytest.raises(OutsideWindow, match="session"):
        place.rotate(force=False)
    with opened(place.services, ahead_minutes=10):
        # By hand it is told to try again then, and no fleet does it behind the operator's back.
        early = CliRunner().invoke(cli.app, ["keys", "rotate"], prog_name="g3zkp-maint")
        assert (early.exit_code, "[held-back]" in early.output) == (TRY_AGAIN, True), early.output
        (run, *_) = [one for one in place.services.runs.recent(TASK) if one.slot.startswith("manual-")]
        assert str(run.state) == "superseded"
    assert place.ids() == before
    with opened(place.services):
        (rotated,) = place.rotate(force=False)["rotated"]
    assert (rotated["type"], rotated["former_id"]) == ("session", before["session"])
    place.assert_settled()


# -- killed --------------------------------------------------------------------------------------------------------------

#: The moment, and how many keys of each type are made in all: a key that never reached the Secret is made again.
MOMENTS = [
    ("patch_secret:1:after", 1),
    ("patch_secret:2:before", 2),
    ("patch_secret:2:after", 1),
    ("restart:1:after", 1),
    ("wait:1:before", 1),
    ("wait:1:after", 1),
    ("health_url:2:before", 1),
    ("patch_secret:3:before", 1),
    ("patch_secret:3:after", 1),
]


@pytest.mark.parametrize(("moment", "makes"), MOMENTS)
def test_killed_at_any_step_and_given_out_again_it_ends_in_the_same_place(
    place: Place, moment: str, makes: int
) -> None:
    before, made, restarts, slot = place.ids(), place.made(), place.revision(), next(place.slots)
    kill_at(moment, slot)
    found = insist(place.services, slot)
    assert {one["former_id"] for one in found["rotated"]} == set(before.values())
    assert {one["type"]: one["key_id"] for one in found["rotated"]} == place.ids()
    assert place.made() == made + 4 * makes
    # A restart that was asked for and never recorded is asked for again; any other is waited for.
    assert place.revision() == restarts + (2 if moment == "restart:1:after" else 1)
    place.assert_settled()
    turns = [turn for turn in operations.history(place.services, None, None) if turn.slot == slot]
    assert {turn.type: turn.key_id for turn in turns} == place.ids()
    assert len(turns) == 4


@pytest.mark.parametrize("moment", ["patch_secret:2:after", "wait:1:after", "patch_secret:3:before"])
def test_another_run_ends_one_that_was_killed_and_that_one_makes_no_key_afterwards(place: Place, moment: str) -> None:
    made, slot = place.made(), next(place.slots)
    kill_at(moment, slot)
    before = place.ids()
    assert insist(place.services, next(place.slots), force=False)["finished"] == slot
    assert place.ids() == before, "the keys that were staged are the ones"
    place.assert_settled()
    place.rotate("session")
    again = insist(place.services, slot)
    assert {one["key_id"] for one in again["rotated"]} == set(before.values())
    assert place.made() == made + 5


def test_until_the_pods_have_seen_a_key_it_does_not_count_as_rotated(place: Place) -> None:
    secret, slot = place.secret(), next(place.slots)
    kill_at("patch_secret:3:before", slot)
    after = place.secret()
    for one in KEY_TYPES:
        assert after.annotations[f"last-rotation-{one}"] == secret.annotations[f"last-rotation-{one}"]
    assert operations.status(place.services).as_dict()["rotation"]["phase"] == "staged"
    insist(place.services, slot)


# -- messengers that answer wrongly ------------------------------------------------------------------------------------------


LEAK = "U3VwZXJTZWNyZXRLZXlNYXRlcmlhbFRoYXRMZWFrcw=="
KEY = "publicKey: Buffer.alloc(32, 7)"
REAL = "const real = c.generateKey;"

WRONG = {
    "throws": (f"c.generateKey = () => {{ throw new Error('no room for {LEAK}') }}", KeyGenerationFailed, "no room"),
    "rejects": (f"c.generateKey = () => Promise.reject(new Error('bad {LEAK}'))", KeyGenerationFailed, "bad"),
    "unhandled": (
        f"c.generateKey = () => {{ Promise.reject(new Error('lost {LEAK}')); return new Promise(() => {{}}) }}",
        KeyGenerationFailed,
        "exit code 1",
    ),
    "never ends": ("c.generateKey = () => new Promise(() => {})", KeyGenerationFailed, "never settled"),
    "hangs": ("c.generateKey = () => { for (;;); }", KeyGenerationFailed, r"within 1 s"),
    "dies": (
        f"c.generateKey = () => {{ console.error('{LEAK}'); process.exit(3) }}",
        KeyGenerationFailed,
        "exit code 3",
    ),
    "killed": ("c.generateKey = () => process.kill(process.pid, 'SIGKILL')", StreamBroken, "making keys"),
    "no key": ("c.generateKey = () => undefined", KeyGenerationFailed, "publicKey"),
    "no id": (f"c.generateKey = () => ({{ {KEY} }})", KeyGenerationFailed, "keyId: missing"),
    "short": (
        "c.generateKey = () => ({ publicKey: Buffer.alloc(3), keyId: 'abcd' })",
        KeyGenerationFailed,
        "publicKey",
    ),
    "text": (f"c.generateKey = () => ({{ publicKey: '{LEAK}%', keyId: 'abcd' }})", KeyGenerationFailed, "publicKey"),
    "one id": (f"c.generateKey = () => ({{ {KEY}, keyId: 'abcd' }})", KeyGenerationFailed, "same id"),
    "in use": (
        "c.generateKey = (type) => ({ publicKey: Buffer.alloc(32), keyId: c.loadKeys().inUse[type].keyId })",
        KeyGenerationFailed,
        "in use already",
    ),
    "garbled": (
        f"{REAL} c.generateKey = (t) => {{ const k = real(t); if (t === 'session') JSON.stringify = () => '{{\"answer\": ['; return k }}",
        KeyGenerationFailed,
        "garbled",
    ),
}


def alter(place: Place, script: str) -> None:
    prelude = f"const c = require('@g3zkp/crypto'); {script};\n"
    replace_platform(place.services, Altered(place.services.platform, prelude))
    replace_settings(place.services, "rotation", answer_seconds=1.0)


@pytest.mark.parametrize("name", list(WRONG))
def test_a_wrong_answer_changes_nothing_and_shows_no_key(place: Place, name: str) -> None:
    script, kind, told = WRONG[name]
    secret, restarts = place.secret(), place.revision()
    alter(place, script)
    with pytest.raises(kind, match=told) as caught:
        place.rotate()
    after = place.secret()
    assert (after.data, after.annotations) == (secret.data, secret.annotations)
    assert place.revision() == restarts
    shown = [str(caught.value), repr(caught.value.__cause__)]
    shown += [repr(record.event) for record in place.services.journal.read(task=TASK)]
    assert not [text for text in shown if LEAK[:20] in text]


def test_noise_around_the_answer_is_passed_over(place: Place) -> None:
    alter(
        place,
        f"{REAL} c.generateKey = (t) => {{ console.log('{{\"type\":\"signing\"}}'); process.stdout.write('x'); "
        "return real(t) }; process.on('exit', () => console.log('bye'))",
    )
    assert len(place.rotate()["rotated"]) == 4
    place.assert_settled()


# -- taken back ------------------------------------------------------------------------------------------------------------


def test_where_the_new_keys_do_not_serve_the_former_ones_come_back_by_themselves(place: Place) -> None:
    """The messenger stays unready with a signing key that it has no private part of."""
    place.rotate()
    secret, in_use, slot, real = place.secret(), place.in_use(), next(place.slots), place.services.platform
    alter(
        place,
        "c.generateKey = (type) => ({ publicKey: require('node:crypto').randomBytes(32), keyId: `${type}-${Date.now()}` })",
    )
    replace_settings(place.services, "platform", rollout_seconds=4.0)
    with pytest.raises(RotationFailed, match=r"taken back: waited 4 s.*former keys are in the Secret and in use again"):
        perform(place.services, slot)
    after = place.secret()
    assert after.data == secret.data
    assert {**after.annotations, RECORD: ""} == {**secret.annotations, RECORD: ""}
    assert place.in_use() == in_use
    place.assert_settled()
    turns = [turn for turn in operations.history(place.services, None, None) if turn.outcome == "taken back"]
    assert {turn.type for turn in turns[-4:]} == set(KEY_TYPES)
    assert "waited 4 s" in turns[-1].why
    replace_platform(place.services, real)
    place.services.runs.reset(TASK, slot)
    assert len(perform(place.services, slot)["rotated"]) == 4, "once the cause is mended, the run may be reset"
    place.assert_settled()


def test_cut_off_on_the_way_back_it_goes_back_all_the_way_and_tells_the_failure(place: Place) -> None:
    slot, made = next(place.slots), place.made()
    alter(place, "c.generateKey = (type) => ({ publicKey: Buffer.alloc(32, 7), keyId: `${type}-${Date.now()}` })")
    replace_settings(place.services, "platform", rollout_seconds=3.0)

    def cut_off(number: int) -> None:
        if number == 4:
            raise PlatformUnavailable("cut off before the way back is settled")

    place.services.platform.before_patch = cut_off  # type: ignore[attr-defined]
    with pytest.raises(PlatformUnavailable):
        perform(place.services, slot)
    with pytest.raises(RotationFailed, match="was taken back: waited 3 s"):
        insist(place.services, slot)
    assert place.made() == made
    place.assert_settled()


# -- others ------------------------------------------------------------------------------------------------------------------


def writing(place: Place, number: int, data: dict[str, bytes | None], annotations: dict[str, str | None]) -> None:
    """Another writer comes in just before the n-th patch."""
    inner = place.services.platform

    def write(count: int) -> None:
        if count == number:
            version = inner.read_secret(SECRET).resource_version
            inner.patch_secret(SECRET, resource_version=version, data=data, annotations=annotations)

    replace_platform(place.services, Altered(inner, before_patch=write))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_writer_of_something_else_is_in_nobodys_way(place: Place, number: int) -> None:
    writing(place, number, {"note": str(number).encode()}, {"team": "a"})
    assert len(place.rotate()["rotated"]) == 4
    assert place.secret().data["note"] == str(number).encode()
    place.assert_settled()


def test_a_writer_of_the_same_keys_before_they_are_staged_wins_and_nothing_else_changes(place: Place) -> None:
    other = {"signing-key": place.secret().data["signing-key-previous"]}
    restarts, secret = place.revision(), place.secret()
    writing(place, 2, dict(other), {})
    with pytest.raises(Conflict, match=SECRET):
        place.rotate()
    assert place.secret().data == {**secret.data, **other}
    assert place.revision() == restarts


def test_a_writer_of_the_same_keys_after_that_keeps_his_and_the_others_come_back(place: Place) -> None:
    secret = place.secret()
    other = {"signing-key": secret.data["signing-key"]}
    writing(place, 3, dict(other), {})
    with pytest.raises(RotationFailed, match=SECRET):
        place.rotate()
    assert {one: place.secret().data[f"{one}-key"] for one in KEY_TYPES} == {
        one: secret.data[f"{one}-key"] for one in KEY_TYPES
    }
    place.assert_settled()


def test_two_at_once_rotate_once_each_and_the_one_that_is_told_to_wait_is_withdrawn(place: Place) -> None:
    made, restarts = place.made(), place.revision()
    argv = [sys.executable, "-c", "from g3zkp_maint.cli import main; main()", "keys", "rotate", "--json"]
    argv += ["--force", "--reason", "two at once"]
    both = [subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ends = [(*one.communicate(timeout=60), one.returncode) for one in both]
    done = [json.loads(out) for out, _, code in ends if code == 0]
    busy = [json.loads(err.splitlines()[-1])["code"] for _, err, code in ends if code == TRY_AGAIN]
    assert len(done) + len(busy) == 2, ends
    assert done
    assert set(busy) <= {"lease-busy"}
    assert (place.made(), place.revision()) == (made + 4 * len(done), restarts + len(done))
    by_hand = [one for one in place.services.runs.recent(TASK) if one.slot.startswith("manual-")]
    assert len(by_hand) >= 2
    assert {str(one.state) for one in by_hand} <= {"done", "superseded"}
    place.assert_settled()


# -- the command line ----------------------------------------------------------------------------------------------------------


def told(*args: str) -> Any:
    result = CliRunner().invoke(cli.app, ["keys", *args, "--json"], prog_name="g3zkp-maint")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_commands_tell_how_it_stands_what_is_due_and_what_was(place: Place) -> None:
    before = place.ids()
    done = told("rotate", "--type", "signing", "--force", "--reason", "by hand")
    (one,) = done["rotated"]
    keys = {key["type"]: key for key in told("status")["keys"]}
    assert keys["signing"]["key_id"] == one["key_id"] == place.ids()["signing"]
    assert keys["signing"]["previous_key_id"] == before["signing"]
    assert not keys["signing"]["due"]
    newest = told("history", "--type", "signing")[0]
    assert (newest["key_id"], newest["former_id"], newest["outcome"]) == (one["key_id"], before["signing"], "rotated")
    plan = told("rotate", "--dry-run", "--force", "--reason", "see", "--type", "signing")
    assert (plan["due"], plan["restarts"]) == (["signing"], [MESSENGER])
    assert place.ids()["signing"] == one["key_id"], "a dry run changes nothing"
    without = CliRunner().invoke(cli.app, ["keys", "rotate", "--force"], prog_name="g3zkp-maint")
    assert without.exit_code == 2


def test_the_mounted_files_are_private(place: Place) -> None:
    folder = place.layout.messenger_keys
    assert {path.name for path in folder.iterdir()} >= {f"{one}-key" for one in KEY_TYPES}
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
