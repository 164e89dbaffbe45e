"""A local Secret as files: the version of the instance's start, whole, private, and no leftovers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from g3zkp_maint.errors import PlatformError, UnknownWorkload
from g3zkp_maint.platforms.local_mount import mount
from g3zkp_maint.platforms.local_secret import create_secret, patch_secret
from g3zkp_maint.platforms.local_workload import Mount

NAME = "g3zkp-keys"


@pytest.fixture
def one(tmp_path: Path) -> Mount:
    create_secret(tmp_path / "secrets", NAME, namespace="g3zkp", data={"a-key": b"1", "b-key": b"\x00\xff"})
    return Mount(secret=NAME, secrets=tmp_path / "secrets", path=tmp_path / "messenger" / "mounted")


def shown(one: Mount) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in one.path.iterdir()}


def test_the_files_hold_what_the_secret_holds_and_their_owner_alone_reads_them(one: Mount) -> None:
    mount(one)
    assert shown(one) == {"a-key": b"1", "b-key": b"\x00\xff"}
    assert {path.stat().st_mode & 0o777 for path in one.path.iterdir()} == {0o600}
    assert one.path.resolve().stat().st_mode & 0o777 == 0o700


def test_a_later_mount_shows_the_later_version_and_leaves_nothing_of_the_former(one: Mount) -> None:
    mount(one)
    patch_secret(one.secrets, NAME, resource_version="1", data={"a-key": None, "c-key": b"3"}, annotations={})
    assert shown(one) == {"a-key": b"1", "b-key": b"\x00\xff"}
    mount(one)
    assert shown(one) == {"b-key": b"\x00\xff", "c-key": b"3"}
    assert len(list(one.path.parent.iterdir())) == 2, "the link, and the version that it leads to"


def test_whoever_has_a_version_open_keeps_a_whole_one(one: Mount) -> None:
    mount(one)
    held = os.open(one.path / "a-key", os.O_RDONLY)
    patch_secret(one.secrets, NAME, resource_version="1", data={"a-key": b"2"}, annotations={})
    mount(one)
    assert os.read(held, 10) == b"1"
    os.close(held)


def test_what_a_kill_left_behind_is_swept_and_in_nobodys_way(one: Mount) -> None:
    one.path.parent.mkdir()
    (one.path.parent / ".mounted.00ff").mkdir()
    (one.path.parent / ".mounted.00ff" / "a-key").write_bytes(b"half")
    (one.path.parent / ".mounted.00fe.link").symlink_to(".mounted.00ff")
    mount(one)
    assert shown(one) == {"a-key": b"1", "b-key": b"\x00\xff"}
    assert len(list(one.path.parent.iterdir())) == 2


def test_a_secret_that_is_not_there_or_cannot_be_files_is_refused_by_name(one: Mount) -> None:
    with pytest.raises(UnknownWorkload, match="other"):
        mount(one.model_copy(update={"secret": "other"}))
    patch_secret(one.secrets, NAME, resource_version="1", data={"../x": b"hidden"}, annotations={})
    with pytest.raises(PlatformError, match=r"\.\./x") as raised:
        mount(one)
    assert "hidden" not in str(raised.value)
