"""Which fleet is given which key file, with and without an offline recovery identity."""

from __future__ import annotations

from pathlib import Path

import pytest

from g3zkp_maint.errors import KeyMaterialError
from g3zkp_maint.keys import fleets
from g3zkp_maint.keys.material import generate
from g3zkp_maint.stack import first_start
from g3zkp_maint.stack.environment import Access, fleet_environment
from g3zkp_maint.stack.layout import Layout
from g3zkp_maint.stack.ports import Ports

RECOVERY = "G3ZKP_KEYS__RECOVERY_IDENTITY"


def told(layout: Layout, role: str) -> dict[str, str]:
    ports = Ports(messenger=1, redis=2, coordination=3, flower=4, metrics=5)
    return fleet_environment(layout, role, Access(ports, "one", "two"))  # type: ignore[arg-type]


def test_an_offline_recovery_identity_is_no_lack_and_no_fleet_is_told_of_it(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    fleets.issue(layout.all_keys, generate(), recovery_offline=True)
    assert not first_start.ensure_keys(layout)
    assert not any(RECOVERY in told(layout, role) for role in fleets.KEY_FILES)
    assert not any("AGE-SECRET-KEY" in path.read_text() for path in layout.all_keys.rglob("recovery.*"))


def test_once_brought_it_is_given_to_the_crypto_fleet_alone(tmp_path: Path) -> None:
    layout, keys = Layout(tmp_path), generate()
    fleets.issue(layout.all_keys, keys, recovery_offline=True)
    (layout.keys("crypto") / "recovery.identity").write_text(keys.recovery_identity)
    assert [role for role in fleets.KEY_FILES if RECOVERY in told(layout, role)] == ["crypto"]


def test_a_set_is_never_made_over_something_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.iterdir())
    for name in ("file", "dangling", "empty"):
        with pytest.raises(KeyMaterialError, match="not overwritten"):
            fleets.issue(tmp_path / name, generate())
    assert sorted(tmp_path.iterdir()) == before


def test_a_set_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def fail_at_the_third(path: Path, content: bytes) -> None:
        written.append(path)
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        path.write_bytes(content)

    monkeypatch.setattr(fleets, "write_private", fail_at_the_third)
    with pytest.raises(KeyMaterialError, match="No space left"):
        fleets.issue(tmp_path / "keys", generate())
    assert list(tmp_path.iterdir()) == []
