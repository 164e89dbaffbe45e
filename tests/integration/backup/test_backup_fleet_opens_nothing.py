"""What a backup fleet is given opens no archive: neither its own of a minute ago nor any other.

On a real stack: the environment is that of the running backup worker, as the kernel shows it, and nothing else. With it a
backup is made; then everything it names is tried on each object, by `pyrage` and by `age`. That the trial can succeed is
shown by the recovery identity.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyrage
import pytest

from g3zkp_maint.backup.keyring import Keyring
from g3zkp_maint.backup.manifest import Manifest
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.keys.material import load_signers
from g3zkp_maint.stores.directory import DirectoryStore
from g3zkp_maint.testing.running_stack import RunningStack, running_stack

pytestmark = pytest.mark.integration

_IDENTITY = re.compile(r"AGE-SECRET-KEY-1[A-Z0-9]+", re.IGNORECASE)
_COMMAND = "from g3zkp_maint.cli import main; main()"


@dataclass(frozen=True)
class Case:
    """A stack, what its backup worker is told, and a backup that was made with no more than that."""

    stack: RunningStack
    environment: dict[str, str]
    manifest: Manifest

    def stored(self, key: str) -> Path:
        return self.stack.layout.store / key

    @property
    def archives(self) -> list[Path]:
        return [self.stored(archive.key) for archive in self.manifest.archives]

    @property
    def indexes(self) -> list[Path]:
        return [self.stored(one.index.key) for one in self.manifest.components if one.index is not None]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    with running_stack(tmp_path_factory.mktemp("stack") / "state", "--no-flower") as stack:
        environment = told_to(stack.pid("backup"))
        done = subprocess.run(
            [sys.executable, "-c", _COMMAND, "backup", "run", "full"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        yield Case(stack, environment, newest(stack))


def told_to(pid: int) -> dict[str, str]:
    raw = Path(f"/proc/{pid}/environ").read_bytes()
    return dict(item.split("=", 1) for item in raw.decode().split("\0") if "=" in item)


def newest(stack: RunningStack) -> Manifest:
    signers = load_signers(stack.layout.keys("operator") / "signers.txt")
    repository = Repository(DirectoryStore(stack.layout.store), Keyring(signers=signers))
    return repository.manifest(str(repository.names()[-1]))


def named_files(environment: dict[str, str]) -> list[Path]:
    """Every file that a key setting names, and every other in the folders they lie in."""
    paths = [Path(value) for name, value in environment.items() if name.startswith("G3ZKP_KEYS__")]
    return sorted({file for path in paths for file in path.parent.rglob("*") if file.is_file()})


def identities(texts: list[str]) -> list[object]:
    """Whatever in these is an identity: of age, or a private key as SSH has them."""
    found: list[object] = []
    for text in texts:
        found += [pyrage.x25519.Identity.from_str(word.upper()) for word in _IDENTITY.findall(text)]
        try:
            found.append(pyrage.ssh.Identity.from_buffer(text.encode()))
        except pyrage.IdentityError:
            continue
    return found


def opens(stored: Path, held: list[object]) -> bool:
    try:
        pyrage.decrypt(stored.read_bytes(), held)
    except pyrage.DecryptError:
        return False
    return True


def age_opens(stored: Path, identity: Path) -> bool:
    return subprocess.run(["age", "-d", "-i", identity, stored], capture_output=True, check=False).returncode == 0


def test_the_backup_has_every_sort_of_archive(case: Case) -> None:
    assert {archive.component for archive in case.manifest.archives} > {"ipfs", "keys", "redis", "k8s"}
    assert case.indexes


def test_the_worker_is_told_of_no_file_of_another_fleet(case: Case) -> None:
    files = named_files(case.environment)
    assert {path.parent for path in files} == {case.stack.layout.keys("backup")}
    assert {path.name for path in files} == {"backup.signing.pem", "manifest.identity", "recipients.txt", "signers.txt"}
    assert "G3ZKP_KEYS__RECOVERY_IDENTITY" not in case.environment


def test_no_key_that_the_worker_holds_opens_an_archive(case: Case) -> None:
    texts = [path.read_text() for path in named_files(case.environment)]
    held = identities([*texts, *case.environment.values()])
    assert len(held) == 1, "the manifest identity alone"
    assert [path.name for path in case.archives if opens(path, held)] == []


def test_no_value_that_the_worker_holds_is_a_passphrase_of_an_archive(case: Case) -> None:
    values = {*case.environment.values(), *(path.read_text() for path in named_files(case.environment))}
    stored = case.archives[0].read_bytes()
    for value in values:
        with pytest.raises(pyrage.DecryptError):
            pyrage.passphrase.decrypt(stored, value)


def test_age_opens_no_archive_with_any_of_its_files(case: Case, require_program: Callable[[str], str]) -> None:
    require_program("age")
    files = named_files(case.environment)
    assert [(path.name, key.name) for path in case.archives for key in files if age_opens(path, key)] == []


def test_the_manifest_identity_opens_the_lists_of_files(case: Case, require_program: Callable[[str], str]) -> None:
    require_program("age")
    identity = Path(case.environment["G3ZKP_KEYS__MANIFEST_IDENTITY"])
    assert all(age_opens(path, identity) for path in case.indexes)


def test_the_recovery_identity_opens_all_of_them(case: Case, require_program: Callable[[str], str]) -> None:
    require_program("age")
    recovery = case.stack.layout.keys("crypto") / "recovery.identity"
    held = identities([recovery.read_text()])
    for path in (*case.archives, *case.indexes):
        assert opens(path, held)
        assert age_opens(path, recovery)


def test_the_worker_itself_refuses_to_restore(case: Case, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND, "backup", "restore", case.manifest.name, "--to", str(tmp_path / "out")],
        env=case.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("[key-material]")
    assert [path for path in tmp_path.rglob("*") if path.suffix == ".data"] == []
