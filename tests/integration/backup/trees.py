"""Trees with everything that a file system can hold, and what there is to say of one."""

from __future__ import annotations

import faulthandler
import os
import select
import signal
import socket
import stat
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from blake3 import blake3

from g3zkp_maint.backup.thread_ends import await_thread_ends

IS_ROOT = os.geteuid() == 0
HOLE = 256 << 20
DEPTH = 1200
#: How long a child may take: on a loaded machine they take seconds.
CHILD_SECONDS = 100


@dataclass(frozen=True)
class Seen:
    """All that a restore must bring back of one path. `twins` are the paths that are the same file."""

    kind: int
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    content: str
    twins: tuple[bytes, ...]


def seen(top: Path) -> dict[bytes, Seen]:
    """Every path below and including `top`, by its path from there. Sockets are nobody's data and left out."""
    found = dict(_walk(top))
    twins: dict[tuple[int, int], list[bytes]] = {}
    for path, (status, _) in found.items():
        twins.setdefault((status.st_dev, status.st_ino), []).append(path)
    return {
        path: Seen(
            stat.S_IFMT(status.st_mode),
            stat.S_IMODE(status.st_mode),
            status.st_uid,
            status.st_gid,
            status.st_mtime_ns,
            content,
            tuple(sorted(twins[(status.st_dev, status.st_ino)])),
        )
        for path, (status, content) in found.items()
    }


def _walk(top: Path) -> Iterator[tuple[bytes, tuple[os.stat_result, str]]]:
    """Down by descriptors, as paths may be longer than the system takes."""
    yield b"", (os.lstat(top), "")
    pending = [(b"", os.open(top, os.O_RDONLY | os.O_DIRECTORY))]
    while pending:
        path, folder = pending.pop()
        for name in sorted(map(os.fsencode, os.listdir(folder))):
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            below = path + b"/" + name
            if stat.S_ISSOCK(status.st_mode):
                continue
            yield below, (status, _content(folder, name, status))
            if stat.S_ISDIR(status.st_mode):
                pending.append((below, os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)))
        os.close(folder)


def _content(folder: int, name: bytes, status: os.stat_result) -> str:
    if stat.S_ISLNK(status.st_mode):
        return repr(os.readlink(name, dir_fd=folder))
    if not stat.S_ISREG(status.st_mode):
        return ""
    with open(os.open(name, os.O_RDONLY, dir_fd=folder), "rb") as file:
        return blake3(file.read()).hexdigest()


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def assert_same(one: Path, other: Path, *, times_to_ns: int = 1) -> None:
    expected, found = (
        {path: replace(what, mtime_ns=what.mtime_ns // times_to_ns) for path, what in seen(top).items()}
        for top in (one, other)
    )
    assert sorted(found) == sorted(expected)
    differing = {path: (expected[path], found[path]) for path in expected if expected[path] != found[path]}
    assert not differing


def in_child(work: Callable[[], object]) -> int:
    """The exit status of a forked child that does `work`: 0, or 1 after an error, which it prints."""
    return status_of(start_child(work))


def start_child(work: Callable[[], object]) -> int:
    """The process id of a forked child as of `in_child`. It has to be waited for with `status_of`."""
    await_thread_ends()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            faulthandler.enable(file=2)  # where pytest captures it; the plugin's own goes elsewhere
            work()
            status = 0
        except BaseException:  # noqa: BLE001 - the status tells it
            traceback.print_exc()
        finally:
            os._exit(status)
    return pid


def status_of(child: int) -> int:
    """The exit status of a child. One that hangs is ended, after it has said where its threads are."""
    ended = os.pidfd_open(child)
    try:
        in_time, _, _ = select.select([ended], [], [], CHILD_SECONDS)
    finally:
        os.close(ended)
    if not in_time:
        os.kill(child, signal.SIGABRT)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert in_time, f"a child hung for {CHILD_SECONDS} s; where its threads were is on its stderr"
    return status


def become_nobody() -> None:
    """For a child of root."""
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)


def make_everything(top: Path, outside: Path, *, depth: int = DEPTH, hole: int = HOLE) -> None:
    """Whatever the issue names, and more. `outside` is a file that links lead to and nothing may touch."""
    raw = os.fsencode(top)
    _files(top, raw, hole)
    _links(top, outside)
    _specials(top)
    _deep(top / "deep", depth)
    _times_and_owners(top)


def _files(top: Path, raw: bytes, hole: int) -> None:
    for name in (
        b"latin-\xe9\xff",
        b"new\nline",
        b"quo\"te's",
        b"back\\slash \\x2e\\x2e",
        b"-leading",
        b" ",
        b"\xc3\xbc",
        b"*",
        b"...",
    ):
        with open(raw + b"/" + name, "wb") as file:
            file.write(b"content of " + name)
    (top / ("n" * 255)).write_bytes(b"the longest name")
    long = top / ("a" * 100) / ("b" * 100) / ("c" * 98)
    long.mkdir(parents=True)
    (long / "f").write_bytes(b"a path of 300 characters and more")
    (top / "empty-file").write_bytes(b"")
    (top / "empty-folder").mkdir()
    (top / "large").write_bytes(os.urandom(6 << 20))
    (top / "at-the-limit").write_bytes(os.urandom(512 << 10))
    with open(top / "sparse", "wb") as file:
        file.write(b"begin")
        file.seek(hole)
        file.write(b"end")
    with open(top / "all-hole", "wb") as file:
        file.truncate(1 << 20)


def _links(top: Path, outside: Path) -> None:
    (top / "links").mkdir()
    (top / "links" / "to-a-file").symlink_to("../large")
    (top / "links" / "absolute").symlink_to("/etc/hostname")
    (top / "links" / "out-of-the-tree").symlink_to(outside)
    (top / "links" / "to-a-folder-outside").symlink_to(outside.parent, target_is_directory=True)
    (top / "links" / "dangling").symlink_to("nowhere" * 30)
    os.symlink(b"bytes\xff", os.fsencode(top / "links" / "no-utf-8"))
    for name in ("hard-2", "hard-3", "hard-1"):
        target = top / "links" / name
        if name == "hard-2":
            target.write_bytes(b"shared")
        else:
            os.link(top / "links" / "hard-2", target)
    os.link(top / "links" / "hard-2", top / "zz-hard-far-away")


def _specials(top: Path) -> None:
    os.mkfifo(top / "fifo", 0o640)
    with inside(top), socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    for name, mode in (("setuid", 0o4755), ("setgid", 0o2755), ("none", 0o000), ("read-only", 0o444)):
        (top / name).write_bytes(name.encode())
        (top / name).chmod(mode)
    (top / "sticky-folder").mkdir()
    (top / "sticky-folder").chmod(0o1777)
    (top / "setgid-folder").mkdir()
    (top / "setgid-folder" / "f").write_bytes(b"")
    (top / "setgid-folder").chmod(0o2750)
    (top / "read-only-folder").mkdir()
    (top / "read-only-folder" / "f").write_bytes(b"inside")
    (top / "read-only-folder").chmod(0o555)


def _deep(top: Path, depth: int) -> None:
    top.mkdir()
    folder = os.open(top, os.O_RDONLY)
    for level in range(depth):
        os.mkdir("d", dir_fd=folder)
        below = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
        if level % 400 == 0:
            os.close(os.open(f"f{level}", os.O_WRONLY | os.O_CREAT, dir_fd=folder))
    with open(os.open("bottom", os.O_WRONLY | os.O_CREAT, dir_fd=folder), "wb") as file:
        file.write(b"the deepest")
    os.close(folder)


def _times_and_owners(top: Path) -> None:
    for number, name in enumerate(("large", "empty-file", "fifo", "read-only-folder", "empty-folder")):
        os.utime(top / name, ns=(1_000_000_000_000_000_000 + number, 1_234_567_890_123_456_780 + number))
    os.utime(top / "links" / "dangling", ns=(5, 987_654_321_000_000_007), follow_symlinks=False)
    os.utime(top / "none", ns=(0, 0))
    if IS_ROOT:
        for number, name in enumerate(("large", "setuid", "fifo", "empty-folder", "links/dangling", "links/hard-1")):
            os.chown(top / name, 12_345 + number, 3_000_000 + number, follow_symlinks=False)
        (top / "setuid").chmod(0o4755)
