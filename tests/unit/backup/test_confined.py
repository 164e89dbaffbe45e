"""Folders reached step by step: never through a link, and never another one than was asked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from g3zkp_maint.backup.confined import Confined


def names(confined: Confined, folder: bytes) -> list[str]:
    return sorted(os.listdir(confined.folder(folder)))


def test_neighbours_children_and_ancestors_are_found_in_any_order(tmp_path: Path) -> None:
    for path in ("a/b/c", "a/d", "e"):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / f"in-{path[-1]}").touch()
    with Confined(tmp_path) as confined:
        for _ in range(2):
            assert names(confined, b"a/b/c") == ["in-c"]
            assert names(confined, b"") == ["a", "e"]
            assert names(confined, b"a/d") == ["in-d"]
            assert names(confined, b"a") == ["b", "d"]
            assert names(confined, b"e") == ["in-e"]
            assert names(confined, b"a/b") == ["c"]


def test_after_a_step_that_failed_the_next_folder_is_the_one_asked_for(tmp_path: Path) -> None:
    """Half-way to a folder that is gone lies another one, whose files may have the same names."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "in-a").touch()
    (tmp_path / "a" / "b" / "in-b").touch()
    with Confined(tmp_path) as confined:
        confined.folder(b"a")
        with pytest.raises(FileNotFoundError):
            confined.folder(b"a/b/gone")
        assert names(confined, b"a") == ["b", "in-a"]
        assert names(confined, b"a/b") == ["in-b"]


@pytest.mark.parametrize("path", [b"/etc", b"..", b"a/../..", b"a//b", b".", b"a/."])
def test_a_step_that_is_none_is_refused(tmp_path: Path, path: bytes) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    with Confined(tmp_path) as confined, pytest.raises(NotADirectoryError):
        confined.folder(path)


@pytest.mark.parametrize("path", [b"link", b"a/link", b"a/link/b"])
def test_a_link_is_no_step(tmp_path: Path, path: bytes) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "a" / "link").symlink_to(tmp_path)
    with Confined(tmp_path) as confined, pytest.raises(OSError, match=r"directory|symbolic"):
        confined.folder(path)


def test_a_deep_chain_holds_few_descriptors_and_finds_its_way_back(tmp_path: Path) -> None:
    depth = 300
    deepest = tmp_path.joinpath(*["d"] * depth)
    deepest.mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))
    with Confined(tmp_path) as confined:
        for level in (depth, depth - 1, depth // 2, 1, depth, 0, depth):
            folder = confined.folder(b"/".join([b"d"] * level))
            assert os.path.samestat(os.fstat(folder), os.stat(tmp_path.joinpath(*["d"] * level)))
            assert len(os.listdir("/proc/self/fd")) - before < 100
    assert len(os.listdir("/proc/self/fd")) == before
