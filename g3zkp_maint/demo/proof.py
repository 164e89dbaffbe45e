"""Is every byte back? A fingerprint of a messenger's data, made without any of the backup's own code: by `os.walk`,
`lstat`, SHA-256 and Redis's own reading commands, so that a fault there cannot hide itself here."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import httpx
import redis

#: Of a path: type and mode, owner, group, mtime (ns; for a folder too), and SHA-256 of content or link target.
PathPrint = tuple[int, int, int, int, str]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """`paths` by their path below the data folder; `keys` of Redis with the SHA-256 of their content; `volatile` are the
    keys that may expire; `bytes` the files' sizes in all."""

    paths: dict[str, PathPrint]
    keys: dict[bytes, str]
    volatile: frozenset[bytes]
    bytes: int


def fingerprint(data: Path, folders: tuple[str, ...], redis_url: str) -> Fingerprint:
    """Of these folders below `data`, and of the messenger's Redis."""
    paths: dict[str, PathPrint] = {}
    size = 0
    for folder in folders:
        for path in _walk(data / folder):
            found = path.lstat()
            size += found.st_size if stat.S_ISREG(found.st_mode) else 0
            name = os.fsencode(path.relative_to(data)).decode("utf-8", "backslashreplace")
            paths[name] = (found.st_mode, found.st_uid, found.st_gid, found.st_mtime_ns, _content(path, found))
    keys, volatile = _redis_keys(redis_url)
    return Fingerprint(paths, keys, volatile, size)


def differences(before: Fingerprint, after: Fingerprint) -> list[str]:
    """What is not as it was, a line each; a key that may expire may be gone."""
    found = [f"path {name} differs" for name in before.paths if after.paths.get(name) != before.paths[name]]
    found += [f"path {name} is new" for name in after.paths if name not in before.paths]
    found += [
        f"key {key!r} differs"
        for key, digest in before.keys.items()
        if after.keys.get(key) != digest and not (key in before.volatile and key not in after.keys)
    ]
    found += [f"key {key!r} is new" for key in after.keys if key not in before.keys]
    return found


def _walk(top: Path) -> list[Path]:
    found = [top]
    for folder, folders, files in os.walk(top):
        found += [Path(folder, name) for name in (*folders, *files)]
    return found


def _content(path: Path, found: os.stat_result) -> str:
    if stat.S_ISLNK(found.st_mode):
        return hashlib.sha256(os.fsencode(path.readlink())).hexdigest()
    if not stat.S_ISREG(found.st_mode):
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _redis_keys(url: str) -> tuple[dict[bytes, str], frozenset[bytes]]:
    keys: dict[bytes, str] = {}
    volatile = set()
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter(count=1000):
            keys[key] = hashlib.sha256(repr(_redis_value(client, key)).encode()).hexdigest()
            if client.ttl(key) >= 0:
                volatile.add(key)
    return keys, frozenset(volatile)


def _redis_value(client: redis.Redis, key: bytes) -> tuple[object, ...]:
    """Type and content. Not DUMP: that tells the order of a hash's fields too, which a reload may change."""
    kind = client.type(key)
    match kind:
        case b"string":
            return (kind, client.get(key))
        case b"hash":
            return (kind, sorted(client.hgetall(key).items()))
        case b"list":
            return (kind, client.lrange(key, 0, -1))
        case b"set":
            return (kind, sorted(client.smembers(key)))
        case b"zset":
            return (kind, client.zrange(key, 0, -1, withscores=True))
    return (kind, client.dump(key))


def empty_redis(url: str) -> None:
    """Deletes every key of the messenger's Redis: for the demonstration of a disaster."""
    with redis.Redis.from_url(url) as client:
        client.flushall()


def keys_in_use(url: str) -> dict[str, str]:
    """Which key of each type the messenger at `url` says that it uses."""
    found: dict[str, str] = httpx.get(f"{url}/keys").raise_for_status().json()["inUse"]
    return found
