"""What an instance of the messenger sees of the Secret, and which keys it uses: told by the instance itself.

Two things are asked, from within: the SHA-256 of the mounted files, and `GET /keys`, where the messenger has that
address (the reference messenger has: it tells which keys it loaded when it started). Where it has not, the files of an
instance that started after the Secret was changed are all the proof there is.

Hazard: a kubelet brings the files of a pod that runs on up to date too, up to a minute and a half after a change, and
the process does not read them again. So files alone prove nothing for a pod that was there before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from g3zkp_maint.coordination.guard import Guard
from g3zkp_maint.errors import RotationFailed
from g3zkp_maint.platforms.base import Platform, SecretData
from g3zkp_maint.rotation import entries
from g3zkp_maint.rotation.entries import KeyType
from g3zkp_maint.rotation.question import ask
from g3zkp_maint.rotation.record import Record

_SCRIPT = """
const [configured, ...types] = args;
const fs = require('node:fs');
const digest = (bytes) => require('node:crypto').createHash('sha256').update(bytes).digest('hex');
const folder = configured || process.env.G3ZKP_KEYS_DIR;
const read = (type) => {
  try {
    return digest(fs.readFileSync(`${folder}/${type}-key`));
  } catch (error) {
    if (error.code === 'ENOENT') return null;
    throw error;
  }
};
const url = `http://127.0.0.1:${process.env.PORT || 3000}/keys`;
const told = await fetch(url, { signal: AbortSignal.timeout(5000) })
  .then((answer) => (answer.ok ? answer.json() : null)).catch(() => null);
return { files: Object.fromEntries(types.map((type) => [type, read(type)])), inUse: told?.inUse ?? null };
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """`files` are SHA-256 in hex by type, None for one that is not there; `in_use` key ids by type, None where the
    messenger does not tell."""

    instance: str
    files: Mapping[str, str | None]
    in_use: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class Expected:
    """What each instance is to see of `type`. `digest` None: no file; `key_id` None: whichever."""

    type: KeyType
    digest: str | None
    key_id: str | None


@dataclass(frozen=True, slots=True)
class Doubt:
    """What is otherwise than expected. `may_pass`: only a file differs, and a kubelet may still bring it."""

    text: str
    may_pass: bool


def look(platform: Platform, instance: str, record: Record, *, keys_path: str, seconds: float, guard: Guard) -> Seen:
    """Raises as `ask` does; RotationFailed where the instance gave no answer."""
    answer = ask(
        platform,
        _SCRIPT,
        what=f"asking {instance} for its keys",
        args=(keys_path, *record.types),
        guard=guard,
        seconds=seconds,
        failure=RotationFailed,
        instance=instance,
    )
    return _seen(instance, answer)


def _seen(instance: str, answer: Any) -> Seen:
    told = answer if isinstance(answer, dict) else {}
    files, in_use = told.get("files"), told.get("inUse")
    return Seen(instance, files if isinstance(files, dict) else {}, in_use if isinstance(in_use, dict) else None)


def new_expected(secret: SecretData, record: Record) -> tuple[Expected, ...]:
    """That the new keys of `record` are in use, as they stand in the Secret."""
    return tuple(Expected(one.type, _digest(secret, one.type), one.key_id) for one in record.changes)


def former_expected(secret: SecretData, record: Record) -> tuple[Expected, ...]:
    """That those before them are, once they are in the Secret again."""
    return tuple(Expected(one.type, _digest(secret, one.type), one.former_id) for one in record.changes)


def doubts(seen: Seen, expected: tuple[Expected, ...], *, files_too: bool) -> list[Doubt]:
    """What speaks against it that this instance uses the keys expected. Without `files_too`, the files count only where
    the messenger does not tell which key it uses: those of a pod that ran on may be late."""
    return [doubt for one in expected for doubt in _doubts(seen, one, files_too=files_too)]


def _doubts(seen: Seen, one: Expected, *, files_too: bool) -> list[Doubt]:
    used = None if seen.in_use is None or one.key_id is None else seen.in_use.get(one.type)
    if used is not None and used != one.key_id:
        return [Doubt(f"{seen.instance} uses another {one.type} key", may_pass=False)]
    if used is not None and not files_too:
        return []
    if seen.files.get(one.type) != one.digest:
        return [Doubt(f"{seen.instance} has another {entries.current(one.type)} mounted", may_pass=True)]
    return []


def _digest(secret: SecretData, type: KeyType) -> str | None:
    value = secret.data.get(entries.current(type))
    return None if value is None else hashlib.sha256(value).hexdigest()
