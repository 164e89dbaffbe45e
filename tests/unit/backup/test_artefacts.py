"""Which files are artefacts of the old scripts, and of which backup."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from g3zkp_maint.backup.artefacts import Part, find_sets
from g3zkp_maint.stores.base import ObjectInfo

OLD = "g3zkp_full_20250101_020000"


def objects(*keys: str, size: int = 10) -> list[ObjectInfo]:
    return [ObjectInfo(key, size, datetime(2025, 1, 1, tzinfo=UTC)) for key in keys]


def test_the_four_files_of_a_backup_make_a_set_wherever_they_are() -> None:
    flat = [f"{OLD}_{end}" for end in ("ipfs.tar.gz", "keys.tar.gz.enc", "redis.rdb", "k8s.yaml")]
    (found,) = find_sets(objects(*flat[:2], *(f"2025/01/{name}" for name in flat[2:])))
    assert (str(found.name), found.missing, found.size) == (OLD, (), 40)


def test_sets_are_told_oldest_first_and_what_lacks_is_named() -> None:
    other = "g3zkp_incremental_20241231_020000"
    first, second = find_sets(objects(f"{OLD}_ipfs.tar.gz", f"{other}_redis.rdb"))
    assert (str(first.name), str(second.name)) == (other, OLD)
    assert second.missing == (Part.KEYS, Part.REDIS, Part.K8S)


@pytest.mark.parametrize(
    "key",
    [
        f"{OLD}_ipfs.tar.gz.enc",
        f"{OLD}_keys.tar.gz",
        f"{OLD}_ipfs.tar.gz.tmp",
        f"x{OLD}_ipfs.tar.gz",
        "g3zkp_full_20259999_020000_ipfs.tar.gz",
        f"2025/01/{OLD}/ipfs.000.tar.zst.age",
        f"2025/01/{OLD}/MANIFEST.json",
    ],
)
def test_whatever_else_is_there_is_passed_over(key: str) -> None:
    assert find_sets(objects(key)) == []


def test_of_several_copies_the_largest_is_tried_first() -> None:
    small, large = objects(f"{OLD}_redis.rdb", size=5) + objects(f"2025/01/{OLD}_redis.rdb", size=9)
    (found,) = find_sets([small, large])
    assert found.parts[Part.REDIS] == [large, small]
    assert found.size == 9


def test_an_incremental_of_the_old_scripts_becomes_a_full_of_the_same_time() -> None:
    (found,) = find_sets(objects("g3zkp_incremental_20250101_020059_redis.rdb"))
    names = list(found.new_names())
    assert names[:2] == ["g3zkp_full_20250101_020059", "g3zkp_full_20250101_020100"]
    assert found.run == "import:g3zkp_incremental_20250101_020059"
