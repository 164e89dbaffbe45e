"""The folder that drills restore into: ours alone, one drill at a time, empty again afterwards.

It holds keys and messages in the clear while a drill runs, so it is 0700 and refused where it is another's; on a disk
that is encrypted, or in memory, they leave no trace. A lock (flock) that the kernel lets go when its process dies tells
the leftovers of a killed drill from the work of a living one: whoever gets the lock removes them, and ends the server
that it may have left running, known by its working folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from g3zkp_maint.errors import DrillFailed, TemporaryError

_LOCK = ".lock"
_PREFIX = "drill-"


@contextmanager
def scratch_folder(root: Path) -> Iterator[Path]:
    """A new, empty folder below `root`; gone at the end. What killed drills have left is removed first.

    Raises TemporaryError while another drill is in `root`, DrillFailed where it cannot be used.
    """
    lock = _open(root)
    try:
        _take(lock, root)
        remove_leftovers(root)
        folder = root / f"{_PREFIX}{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700)
        try:
            yield folder
        except BaseException as error:
            _remove_after(error, folder)
            raise
        _remove(folder)
    finally:
        os.close(lock)


def require_room(folder: Path, *, size: int, files: int) -> None:
    """Raises DrillFailed unless so many bytes and files have room there, with a twentieth to spare."""
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    # What a file takes beside its content: half a block on average, and its place in a folder.
    wanted = (size + files * found.f_frsize) * 21 // 20
    if free < wanted:
        raise DrillFailed(
            f"the drill needs {wanted >> 20} MiB in {folder.parent}, and {free >> 20} MiB are free; make room, or set "
            "drill.scratch to a folder on a larger disk"
        )
    # Some file systems make inodes as they are needed, and count none.
    if found.f_files and found.f_favail < files:
        raise DrillFailed(
            f"the drill needs {files} inodes in {folder.parent}, and {found.f_favail} are free; set drill.scratch to "
            "another file system"
        )


def remove_leftovers(root: Path) -> None:
    """For who holds the lock."""
    for path in root.iterdir():
        if path.name.startswith(_PREFIX):
            _end_processes_in(path)
            _remove(path)


def _open(root: Path) -> int:
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = root.stat(follow_symlinks=False)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise DrillFailed(
                f"drill.scratch={root} must be a folder of our own that nobody else may enter (mode 0700), as secrets "
                "lie there in the clear while a drill runs; name another one"
            )
        return os.open(root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DrillFailed(f"drill.scratch={root} cannot be used: {error.strerror}; name another folder") from error


def _take(lock: int, root: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise TemporaryError(f"another drill is at work in {root}; wait for its end", retry_after_seconds=60) from None


def _end_processes_in(folder: Path) -> None:
    """Those of a killed drill: only its own server ever works below a folder of this name."""
    real = folder.resolve()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # gone, or another user's
            if (entry / "cwd").readlink().is_relative_to(real):
                os.kill(int(entry.name), signal.SIGKILL)


def _remove_after(error: BaseException, folder: Path) -> None:
    """What went wrong first is what counts."""
    try:
        _remove(folder)
    except DrillFailed as other:
        error.add_note(str(other))


def _remove(folder: Path) -> None:
    """By the system's own programs: they go down as deep as any tree, and do not follow links. Folders are opened to us
    first, as their restored modes may keep us out."""
    for argv in (["chmod", "-R", "u+rwX", "--", str(folder)], ["rm", "-rf", "--", str(folder)]):
        subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if folder.exists():
        raise DrillFailed(f"{folder} cannot be removed; remove it by hand, it holds secrets in the clear")
