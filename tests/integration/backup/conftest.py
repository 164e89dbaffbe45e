from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from g3zkp_maint.testing.backup_site import BackupSite


@pytest.fixture
def site(tmp_path: Path) -> BackupSite:
    return BackupSite(tmp_path)


@pytest.fixture
def public_site() -> Iterator[BackupSite]:
    """One that others than root can reach: pytest's own folders are shut to them."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield BackupSite(Path(folder))
