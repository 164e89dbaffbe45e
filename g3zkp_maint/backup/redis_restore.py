"""The messenger's Redis, brought back from a dump: the file is put in its place while the server is down.

Two traps of the old way are closed. A server that runs writes its own dump over ours when it stops: so it is stopped
first. And one with `appendonly yes` reads its append-only files and ignores a bare RDB: so the dump is also made the
base of a new append-only set (from version 7: a folder with a manifest; before: one file, which may begin with an RDB).
The former append-only files stay aside until the server has come up with the right keys.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from g3zkp_maint.errors import RestoreError, SourceError

_OURS = ".g3zkp-before"


@dataclass(frozen=True, slots=True)
class RedisLayout:
    """How the server keeps its data, by its own word: names are relative to its folder. `append_folder` is None where
    the append-only file is a single one (before version 7)."""

    dump: str
    is_append_only: bool
    append_file: str
    append_folder: str | None

    def as_facts(self) -> dict[str, Any]:
        return {
            "dump": self.dump,
            "is_append_only": self.is_append_only,
            "append_file": self.append_file,
            "append_folder": self.append_folder,
        }


def read_layout(url: str) -> RedisLayout:
    """Asks the running server. Raises SourceError where it does not answer."""
    client = redis.Redis.from_url(url, decode_responses=True, socket_timeout=10, socket_connect_timeout=5)
    try:
        with client:
            config: dict[str, str] = {}
            for name in ("dbfilename", "appendonly", "appendfilename", "appenddirname"):
                config |= {str(key): str(value) for key, value in client.config_get(name).items()}
    except redis.RedisError as error:
        raise SourceError(
            f"the messenger's Redis does not tell how it keeps its data ({type(error).__name__})"
        ) from None
    return RedisLayout(
        dump=config["dbfilename"],
        is_append_only=config["appendonly"] == "yes",
        append_file=config["appendfilename"],
        append_folder=config.get("appenddirname"),
    )


def guess_layout(folder: Path) -> RedisLayout:
    """From the files, where the server cannot be asked because it is down; with the server's default names."""
    has_folder = (folder / "appendonlydir").is_dir()
    is_append_only = has_folder or (folder / "appendonly.aof").exists()
    append_folder = None if is_append_only and not has_folder else "appendonlydir"
    return RedisLayout("dump.rdb", is_append_only, "appendonly.aof", append_folder)


def place_dump(folder: Path, layout: RedisLayout, pieces: Iterable[bytes]) -> None:
    """Puts the dump where the stopped server will read it. May be repeated. Raises RestoreError for a full disk etc."""
    try:
        dump = folder / layout.dump
        _write(dump, pieces, like=folder)
        if layout.is_append_only:
            _place_append_only(folder, layout, dump)
        _flush(folder)
    except OSError as error:
        raise RestoreError(
            f"{folder} cannot be written: {error.strerror}; check space and owner, then go on"
        ) from error


def drop_former(folder: Path, layout: RedisLayout) -> None:
    """Removes what the server had before; called when it has come up with the restored keys."""
    for name in filter(None, (layout.append_file, layout.append_folder)):
        former = folder / f"{name}{_OURS}"
        if former.is_dir():
            shutil.rmtree(former)
        else:
            former.unlink(missing_ok=True)


def check_keys(url: str, *, keys: int, expiring: int) -> int:
    """How many keys the server has now. Raises RestoreError unless they are those of the dump; only keys that may
    expire can have gone meanwhile."""
    client = redis.Redis.from_url(url, decode_responses=True, socket_timeout=30, socket_connect_timeout=10)
    try:
        with client:
            keyspace: dict[str, Any] = client.info("keyspace")
    except redis.RedisError as error:
        raise RestoreError(
            f"the messenger's Redis does not answer after the restore ({type(error).__name__})"
        ) from None
    now = sum(int(database["keys"]) for database in keyspace.values() if isinstance(database, dict))
    if not keys - expiring <= now <= keys:
        raise RestoreError(
            f"the messenger's Redis came up with {now} keys where the backup has {keys} ({expiring} of them may expire); "
            f"its former append-only files are kept beside the new ones, with {_OURS} at their end"
        )
    return now


def _place_append_only(folder: Path, layout: RedisLayout, dump: Path) -> None:
    name = layout.append_folder or layout.append_file
    new, former, final = folder / f"{name}.g3zkp-new", folder / f"{name}{_OURS}", folder / name
    _remove(new)
    if layout.append_folder is None:
        _copy(dump, new, like=folder)
    else:
        new.mkdir(mode=0o700)
        _own(new, folder)
        base = f"{layout.append_file}.1.base.rdb"
        _copy(dump, new / base, like=folder)
        _write(new / f"{layout.append_file}.manifest", [f"file {base} seq 1 type b\n".encode()], like=folder)
        _flush(new)
    # The first former set is the true one: what a killed attempt has put in its place since is ours.
    if final.exists() and former.exists():
        _remove(final)
    elif final.exists():
        final.rename(former)
    new.rename(final)


def _write(path: Path, pieces: Iterable[bytes], *, like: Path) -> None:
    part = path.with_name(f".{path.name}.g3zkp-part")
    with part.open("wb") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    _own(part, like)
    part.rename(path)


def _copy(source: Path, path: Path, *, like: Path) -> None:
    with source.open("rb") as file:
        _write(path, iter(lambda: file.read(1 << 20), b""), like=like)


def _own(path: Path, like: Path) -> None:
    owner = like.stat()
    if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
        os.chown(path, owner.st_uid, owner.st_gid)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flush(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
