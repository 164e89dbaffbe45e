from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from g3zkp_maint import settings
from g3zkp_maint.stack.environment import ROLES, Access, Role, fleet_environment, inherited, overlaid, write_env_file
from g3zkp_maint.stack.layout import Layout
from g3zkp_maint.stack.ports import Ports

ACCESS = Access(Ports(1, 2, 3, 4, 5), redis_password="pw-redis", coordination_password="pw-broker")
LAYOUT = Layout(Path("/stack"))


@pytest.mark.parametrize("role", ROLES)
def test_only_crypto_is_told_where_the_recovery_identity_is(role: Role) -> None:
    environment = fleet_environment(LAYOUT, role, ACCESS)
    assert ("G3ZKP_KEYS__RECOVERY_IDENTITY" in environment) == (role == "crypto")


@pytest.mark.parametrize("role", ROLES)
def test_only_backup_and_crypto_are_told_the_password_of_the_messengers_redis(role: Role) -> None:
    text = str(fleet_environment(LAYOUT, role, ACCESS))
    assert ("pw-redis" in text) == (role in ("backup", "crypto"))


@pytest.mark.parametrize("role", ROLES)
def test_key_files_are_looked_for_in_the_roles_own_folder(role: Role) -> None:
    environment = fleet_environment(LAYOUT, role, ACCESS)
    keys = [value for name, value in environment.items() if name.startswith("G3ZKP_KEYS__")]
    assert all(Path(value).parent == LAYOUT.keys(role) for value in keys)


@pytest.mark.parametrize("role", ROLES)
def test_the_settings_accept_all_that_a_role_is_told(role: Role, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in fleet_environment(LAYOUT, role, ACCESS).items():
        monkeypatch.setenv(name, value)
    loaded = settings.load()
    assert loaded.redis.url.get_secret_value() == "redis://:pw-broker@127.0.0.1:3/0"
    assert loaded.platform.state_dir == LAYOUT.root
    assert loaded.store.directory.path == LAYOUT.store


def test_the_users_choices_win_where_the_stack_owns_nothing() -> None:
    own = fleet_environment(LAYOUT, "observe", ACCESS)
    user = {
        "G3ZKP_STORE__KIND": "s3",
        "G3ZKP_STORE__DIRECTORY__PATH": "/elsewhere",
        "G3ZKP_KEYS__RECOVERY_IDENTITY": "/safe/recovery.identity",
        "G3ZKP_REDIS__URL": "redis://old",
        "G3ZKP_BACKUP__REDIS_URL": "redis://old",
        "HOME": "/home/me",
    }
    found = overlaid(own, user)
    assert found["G3ZKP_STORE__KIND"] == "s3"
    assert found["G3ZKP_STORE__DIRECTORY__PATH"] == "/elsewhere"
    assert found["G3ZKP_REDIS__URL"] == own["G3ZKP_REDIS__URL"]
    assert found["HOME"] == "/home/me"
    assert not {"G3ZKP_KEYS__RECOVERY_IDENTITY", "G3ZKP_BACKUP__REDIS_URL"} & set(found)


def test_no_role_inherits_a_key_from_the_shell() -> None:
    assert inherited({"G3ZKP_KEYS__SIGNING_KEY": "/k", "PATH": "/bin"}) == {"PATH": "/bin"}


def test_access_shows_no_password() -> None:
    assert "pw-" not in repr(ACCESS)


def test_a_shell_that_reads_the_env_file_has_the_operators_view(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "it's a state")
    layout.root.mkdir()
    write_env_file(layout, ACCESS)
    assert stat.S_IMODE(layout.env_file.stat().st_mode) == 0o600
    script = f'. "{layout.env_file}"; env -0'
    printed = subprocess.run(["sh", "-c", script], env={"PATH": os.environ["PATH"]}, capture_output=True, check=True)
    variables = dict(line.split("=", 1) for line in printed.stdout.decode().split("\0") if line.startswith("G3ZKP_"))
    assert variables == fleet_environment(layout, "operator", ACCESS)
