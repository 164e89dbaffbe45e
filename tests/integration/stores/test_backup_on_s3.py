"""A backup's life on S3: full, incremental, verify, restore; the domain sees no difference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from g3zkp_maint.backup.mounted_target import MountedTarget
from g3zkp_maint.backup.name import BackupType
from g3zkp_maint.backup.unpack import Unpacker
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.coordination.guard import Unguarded
from g3zkp_maint.stores.s3 import S3Store
from g3zkp_maint.testing.backup_place import BackupPlace, entered
from g3zkp_maint.testing.seaweed import ADMIN, Seaweed

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class S3Place(BackupPlace):
    """Its store is a bucket, below a prefix."""

    endpoint_url: str = ""
    bucket: str = ""

    def environment(self) -> dict[str, str]:
        return {
            **super().environment(),
            "G3ZKP_STORE__KIND": "s3",
            "G3ZKP_STORE__PREFIX": "messenger/one",
            "G3ZKP_STORE__S3__BUCKET": self.bucket,
            "G3ZKP_STORE__S3__ENDPOINT_URL": self.endpoint_url,
            "G3ZKP_STORE__S3__ACCESS_KEY_ID_FILE": str(self.root / "access-key-id"),
            "G3ZKP_STORE__S3__SECRET_ACCESS_KEY_FILE": str(self.root / "secret-access-key"),
        }


@pytest.fixture
def place(tmp_path: Path, seaweed: Seaweed, bucket: str) -> S3Place:
    BackupPlace.make(tmp_path)
    (tmp_path / "access-key-id").write_text(ADMIN.key_id + "\n")
    (tmp_path / "secret-access-key").write_text(ADMIN.secret + "\n")
    return S3Place(tmp_path, seaweed.endpoint_url, bucket)


def test_full_and_incremental_backups_on_s3_restore_what_was_there(
    place: S3Place, seaweed: Seaweed, bucket: str, tmp_path: Path
) -> None:
    place.write("ipfs/blocks/CD/CIQCD.data", bytes(range(256)) * 80_000)
    full = place.take(0, BackupType.FULL)
    before = place.tree()
    place.write("ipfs/blocks/EF/CIQEF.data", b"new block")
    place.write("keys/identity", b"another key")
    (place.data / "ipfs/config").unlink()
    incremental = place.take(1, BackupType.INCREMENTAL)
    after = place.tree()

    with entered(place.environment()):
        services = Services()
        repository = services.repository
        assert isinstance(services.store, S3Store)
        assert [str(name) for name in repository.names()] == [full.name, incremental.name]
        assert incremental.parent == full.name
        for manifest, expected in ((full, before), (incremental, after)):
            target = tmp_path / "restored" / manifest.name
            unpacker = Unpacker(repository, MountedTarget(target), Unguarded())
            for archive in manifest.archives:
                repository.head(archive)
            for component in manifest.components:
                unpacker.unpack(repository.manifest(manifest.name), component.name)
            assert place.tree(target) == expected
    assert not list(tmp_path.glob("store/*")), "nothing goes to a folder"
    stored = seaweed.client().list_objects_v2(Bucket=bucket)["Contents"]
    assert all(item["Key"].startswith("messenger/one/") for item in stored)
    assert seaweed.client().list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []
