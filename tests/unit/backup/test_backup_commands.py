"""Commands before and after a backup, and a signer that nobody would believe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest

from g3zkp_maint.backup.request import Workshop
from g3zkp_maint.backup.run import back_up
from g3zkp_maint.errors import ExecFailed, ManifestInvalid, SourceError
from g3zkp_maint.settings import Component
from g3zkp_maint.testing.backup_site import BackupSite, new_keyring


class Done:
    """A command that has ended."""

    def __init__(self, error: ExecFailed | None) -> None:
        self._error = error

    def read_all(self, limit: int = 0) -> bytes:
        if self._error is not None:
            raise self._error
        return b""


class Recording:
    """A platform that writes down what is run; commands named in `failing` fail."""

    def __init__(self, *failing: str) -> None:
        self.ran: list[str] = []
        self._failing = failing

    def exec(self, workload: str, argv: Sequence[str], stdin: Iterable[bytes] | None = None) -> Done:
        self.ran.append(argv[0])
        return Done(ExecFailed(f"{argv[0]} failed") if argv[0] in self._failing else None)


def workshop(site: BackupSite, platform: Recording, path: str = "ipfs") -> Workshop:
    site.components = (
        Component(name="ipfs", kind="files", path=path, pre=(("freeze",),), post=(("thaw",), ("tell",))),
    )
    return replace(site.workshop(), platform=platform)  # type: ignore[arg-type]


def test_commands_run_before_and_after(site: BackupSite) -> None:
    platform = Recording()
    back_up(workshop(site, platform), site.request())
    assert platform.ran == ["freeze", "thaw", "tell"]


def test_a_failed_command_before_stops_the_backup_and_those_after_run(site: BackupSite) -> None:
    platform = Recording("freeze")
    with pytest.raises(ExecFailed, match="freeze failed"):
        back_up(workshop(site, platform), site.request())
    assert platform.ran == ["freeze", "thaw", "tell"]
    assert site.repository.names() == []


def test_a_failed_command_after_is_told_and_does_not_hide_the_first_error(site: BackupSite) -> None:
    platform = Recording("thaw")
    with pytest.raises(SourceError, match="missing is not there") as caught:
        back_up(workshop(site, platform, "missing"), site.request())
    assert caught.value.__notes__ == ["a post-command failed as well: thaw failed"]
    assert platform.ran == ["freeze", "thaw", "tell"]


def test_a_failed_command_after_a_whole_backup_is_an_error_of_the_run_and_the_backup_stays(site: BackupSite) -> None:
    with pytest.raises(ExecFailed, match="thaw failed"):
        back_up(workshop(site, Recording("thaw")), site.request())
    assert len(site.repository.names()) == 1


def test_a_backup_that_nobody_would_believe_is_not_made(site: BackupSite) -> None:
    """Its signer is not among the trusted ones: every later run would pass it over."""
    site.keyring = replace(site.keyring, signing_key=new_keyring().signing_key)
    with pytest.raises(ManifestInvalid, match="trusted_signers"):
        site.back_up()
    assert site.repository.names() == []
