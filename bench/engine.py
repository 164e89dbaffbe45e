"""One act of our engine, as a process of its own, so that a benchmark can time it and weigh it as it does restic's.

    python bench/engine.py init|full|incremental|restore REPOSITORY DATA [TARGET]

`restore` includes what the product always does first: every stored byte is read and its SHA-256 compared; from S3 it
keeps local copies meanwhile, as the product does.
"""

from __future__ import annotations

import gc
import os
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from g3zkp_maint.backup.keyring import Keyring
from g3zkp_maint.backup.mounted_target import MountedTarget
from g3zkp_maint.backup.name import BackupType
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.request import BackupRequest, Workshop
from g3zkp_maint.backup.run import back_up
from g3zkp_maint.backup.unpack import Unpacker
from g3zkp_maint.backup.verify import check_all, needed
from g3zkp_maint.clock import SystemClock
from g3zkp_maint.coordination.guard import Unguarded
from g3zkp_maint.keys.material import generate, load_identities, load_recipients, load_signers, load_signing_key
from g3zkp_maint.progress import NoProgress
from g3zkp_maint.settings import Backup, Component
from g3zkp_maint.settings import S3Store as S3Settings
from g3zkp_maint.stores.base import Store
from g3zkp_maint.stores.directory import DirectoryStore
from g3zkp_maint.stores.fetched import FetchedStore

#: Of the shards; `bench/scale.py` compares one with two.
PROCESSES = int(os.environ.get("BENCH_PROCESSES", "2"))
#: zstandard's, `backup.compression_level`.
LEVEL = int(os.environ.get("BENCH_LEVEL", "1"))
SHARD_MIB = int(os.environ.get("BENCH_SHARD_MIB", "256"))


def init(place: Path) -> None:
    keys = place / "keys"
    keys.mkdir(parents=True)
    made = generate()
    for name, text in (
        ("recovery", made.recovery_identity),
        ("manifest", made.manifest_identity),
        ("signing", made.backup_signing_key),
        ("recipients", made.recipients),
        ("signers", made.trusted_signers),
    ):
        path = keys / name
        path.touch(mode=0o600)
        path.write_text(text, encoding="ascii")


def repository(place: Path, *, may_decrypt: bool) -> Repository:
    keys = place / "keys"
    keyring = Keyring(
        recipients=load_recipients(keys / "recipients"),
        signers=load_signers(keys / "signers"),
        signing_key=load_signing_key(keys / "signing"),
        manifest_identity=load_identities(keys / "manifest")[0],
        recovery_identities=load_identities(keys / "recovery") if may_decrypt else (),
    )
    return Repository(_store(place), keyring, level=LEVEL)


def _store(place: Path) -> Store:
    """A folder; or, where `s3.json` holds S3 settings, a bucket."""
    s3 = place / "s3.json"
    if not s3.exists():
        return DirectoryStore(place / "store")
    from g3zkp_maint.stores.s3 import S3Store  # noqa: PLC0415 - a folder's acts do not pay for boto3

    return S3Store(S3Settings.model_validate_json(s3.read_text(encoding="utf-8")), clock=SystemClock())


def store(place: Path, data: Path, kind: BackupType) -> None:
    """Without the rule for IPFS names: every file is compared as restic compares it."""
    settings = Backup(
        components=(Component(name="data", kind="files", path=data.name),),
        mounted_root=data.parent,
        shard_bytes=SHARD_MIB << 20,
    )
    workshop = Workshop(repository(place, may_decrypt=False), settings, SystemClock(), Unguarded())
    at = datetime.now(UTC)
    back_up(workshop, BackupRequest(kind, at.isoformat(), at), processes=PROCESSES)


def restore(place: Path, target: Path) -> None:
    found = repository(place, may_decrypt=True)
    if not isinstance(found.store, DirectoryStore):
        copies = FetchedStore(found.store, place / "fetched", most_bytes=8 << 30, clock=SystemClock())
        found = replace(found, store=copies)
    manifest = found.manifest(str(found.names()[-1]))
    check_all(found, needed(manifest), NoProgress(), workers=PROCESSES)
    Unpacker(found, MountedTarget(target), Unguarded(), workers=PROCESSES).unpack(manifest, "data")


def main(act: str, place: Path, data: Path, target: Path | None = None) -> None:
    if act == "init":
        init(place)
    elif act == "restore" and target is not None:
        restore(place, target)
    else:
        store(place, data, BackupType.parse(act))


if __name__ == "__main__":
    gc.freeze()  # as the command does
    main(sys.argv[1], *(Path(argument) for argument in sys.argv[2:]))
