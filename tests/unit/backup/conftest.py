from __future__ import annotations

from pathlib import Path

import pytest

from g3zkp_maint.backup.keyring import Keyring
from g3zkp_maint.stores.directory import DirectoryStore
from g3zkp_maint.testing.backup_site import BackupSite, new_keyring


@pytest.fixture(scope="session")
def keyring() -> Keyring:
    return new_keyring()


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


@pytest.fixture
def site(tmp_path: Path) -> BackupSite:
    return BackupSite(tmp_path)
