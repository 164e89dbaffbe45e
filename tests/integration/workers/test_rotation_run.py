"""`crypto.rotate_keys` by a real fleet: unattended in a window, refused outside of one; and no key is anywhere afterwards."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from running_fleet import Fleet

from g3zkp_maint.errors import OutsideWindow
from g3zkp_maint.rotation.entries import KEY_TYPES, read_key
from g3zkp_maint.testing.open_window import opened

pytestmark = pytest.mark.integration

TASK = "crypto.rotate_keys"
SUNDAY = "2026-11-29T03:00Z"


def ids(fleet: Fleet) -> dict[str, str]:
    data = fleet.services.platform.read_secret("g3zkp-keys").data
    return {one: key.keyId for one in KEY_TYPES if (key := read_key(data.get(f"{one}-key")))}


def test_a_rotation_by_the_fleet_runs_once_a_slot_and_leaves_no_key_anywhere(messenger_fleet: Fleet) -> None:
    fleet = messenger_fleet
    fleet.worker("crypto", concurrency=1)
    with _listed_processes() as listed:
        dry = fleet.send(TASK, dry_run=True).get(timeout=60)
        assert (dry["due"], dry["restarts"]) == (list(KEY_TYPES), ["g3zkp-messenger"])
        with opened(fleet.services):
            first = fleet.send(TASK, slot=SUNDAY).get(timeout=60)
        assert {one["type"]: one["key_id"] for one in first["rotated"]} == ids(fleet)
        assert fleet.send(TASK, slot=SUNDAY).get(timeout=60) == first, "one slot, one rotation"
        assert fleet.send(TASK).get(timeout=60)["rotated"] == []
        forced = fleet.send(TASK, ["signing"], force=True, reason="leaked").get(timeout=60)
        assert [one["former_id"] for one in forced["rotated"]] == [_id_of(first, "signing")]
        with pytest.raises(OutsideWindow):
            fleet.send(TASK, ["signing"], force=True).get(timeout=60)
    secrets = _secrets(fleet)
    assert len(secrets) >= 2 * 9, "a public and a private part of each key that was ever made"
    places = {**_files(fleet), "process listings": "\n".join(listed)}
    places["journal"] = "\n".join(repr(record) for record in fleet.services.journal.read())
    places["results"] = json.dumps([dry, first, forced])
    assert {name: len(text) for name, text in places.items() if len(text) < 100} == {}
    assert [(name, secret[:6]) for name, text in places.items() for secret in secrets if secret in text] == []
    # The test of the test: the ids, which may be shown, are found where they are expected.
    for name in ("journal", "results", "broker"):
        assert all(key_id in places[name] for key_id in ids(fleet).values()), name


def _id_of(result: dict[str, Any], type: str) -> str:
    return next(str(one["key_id"]) for one in result["rotated"] if one["type"] == type)


def _secrets(fleet: Fleet) -> set[str]:
    """Every value there was: of keys in the messenger's folder, in the Secret and beside it."""
    found = set()
    for path in (fleet.data / "keys").glob("*-*.json"):
        key = json.loads(path.read_text())
        found |= {key["publicKey"], key["privateKey"].splitlines()[1]}
    for value in fleet.services.platform.read_secret("g3zkp-keys").data.values():
        found.add(json.loads(value)["publicKey"])
    return found


def _files(fleet: Fleet) -> dict[str, str]:
    """Logs of workers and stack; and the broker's files, to which each write of it was appended: queues, results, run
    records, checkpoints, events as they were at any time."""
    state = Path(fleet.settings["G3ZKP_PLATFORM__STATE_DIR"])
    logs = [*fleet.folder.glob("worker*.log"), *(state / "logs").glob("*.log")]
    broker = [path for path in (state / "coordination" / "data").rglob("*") if path.is_file()]
    found = {path.name: path.read_text(errors="replace") for path in logs if path.stat().st_size > 100}
    assert any(name.startswith("worker") for name in found)
    found["broker"] = "\n".join(path.read_bytes().decode("latin-1") for path in broker)
    return found


@contextmanager
def _listed_processes() -> Iterator[set[str]]:
    """The command lines that anybody could have listed while the block ran."""
    listed: set[str] = set()
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(0.005):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    listed.add(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                except OSError:
                    continue  # it has ended

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield listed
    finally:
        is_over.set()
        watcher.join()
    assert any("generateKey" in line for line in listed), "the call itself was seen"
