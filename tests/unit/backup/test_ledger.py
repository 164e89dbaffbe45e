"""The prune ledger: believed to the byte or not at all, and the chain through what it says is gone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3zkp_maint.backup import ledger as ledgers
from g3zkp_maint.backup.chain import Break, Link, breaks
from g3zkp_maint.backup.keyring import Keyring
from g3zkp_maint.backup.ledger import Ledger, Mark, PrunedBackup, read_shelf, settled, write
from g3zkp_maint.backup.manifest import Previous, signed_document
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.errors import LeaseLost
from g3zkp_maint.stores.directory import DirectoryStore
from g3zkp_maint.testing.backup_site import new_keyring

AT = datetime(2026, 3, 1, 3, tzinfo=UTC)


@pytest.fixture
def repository(store: DirectoryStore, keyring: Keyring) -> Repository:
    return Repository(store, keyring, "prefix")


def a_ledger(number: int = 1) -> Ledger:
    entry = PrunedBackup(sha256="aa", previous=Previous(name="before", sha256="bb"), pruned_at=AT)
    mark = Mark(sha256="cc", marked_at=AT, forced=True)
    return Ledger(number=number, token=7, written_at=AT, marked={"next": mark}, pruned={"gone": entry})


# -- the document --------------------------------------------------------------------------------------------------------


def test_without_one_the_ledger_is_empty(repository: Repository) -> None:
    shelf = read_shelf(repository)
    assert (shelf.ledger, shelf.newest, shelf.keys, shelf.problems) == (Ledger(number=0), 0, (), ())


def test_the_newest_one_counts(repository: Repository) -> None:
    write(repository, a_ledger(9))
    write(repository, a_ledger(10))
    shelf = read_shelf(repository)
    assert shelf.ledger == a_ledger(10)
    assert shelf.keys == ("prune/ledger.0000000009.json", "prune/ledger.0000000010.json")


def test_of_two_that_write_the_same_number_one_stops(repository: Repository) -> None:
    write(repository, a_ledger(1))
    with pytest.raises(LeaseLost, match="another prune has written ledger 1"):
        write(repository, a_ledger(1).model_copy(update={"token": 8}))
    assert read_shelf(repository).ledger.token == 7


def test_every_changed_byte_is_noticed_and_the_one_before_it_counts(repository: Repository, tmp_path: Path) -> None:
    write(repository, a_ledger(1))
    write(repository, a_ledger(2))
    file = tmp_path / "store" / "prefix" / ledgers.key_of(a_ledger(2))
    raw = file.read_bytes()
    for position in range(len(raw)):
        changed = bytearray(raw)
        changed[position] ^= 0x01
        file.write_bytes(changed)
        shelf = read_shelf(repository)
        assert (shelf.ledger.number, shelf.newest, len(shelf.problems)) == (1, 2, 1)


def test_an_old_one_in_the_place_of_a_newer_is_not_believed(repository: Repository, tmp_path: Path) -> None:
    write(repository, a_ledger(1))
    folder = tmp_path / "store" / "prefix" / "prune"
    (folder / "ledger.0000000002.json").write_bytes((folder / "ledger.0000000001.json").read_bytes())
    (problem,) = read_shelf(repository).problems
    assert "an old one was put in its place" in problem


def test_one_of_a_signer_who_is_not_trusted_is_not_believed(repository: Repository, store: DirectoryStore) -> None:
    write(Repository(store, new_keyring(), "prefix"), a_ledger(1))
    shelf = read_shelf(repository)
    assert shelf.ledger == Ledger(number=0)
    assert "not among keys.trusted_signers" in shelf.problems[0]


def test_a_manifest_is_no_ledger(repository: Repository, tmp_path: Path) -> None:
    write(repository, a_ledger(1))
    other = tmp_path / "store" / "prefix" / "prune" / "ledger.0000000002.json"
    other.write_bytes(signed_document({"version": 1, "number": 2, "name": "x"}, repository.keyring))
    assert "malformed" in read_shelf(repository).problems[0]


# -- the chain -----------------------------------------------------------------------------------------------------------


def link(number: int, *, after: int | None = None) -> Link:
    previous = None if after is None else Previous(name=f"b{after:02d}", sha256=f"sha {after}")
    return Link(f"b{number:02d}", f"sha {number}", previous)


def entry(one: Link) -> PrunedBackup:
    return PrunedBackup(sha256=one.digest, previous=one.previous, pruned_at=AT)


def links_of(pruned: dict[str, PrunedBackup]) -> list[Link]:
    return Ledger(number=1, pruned=pruned).links()


A, B, C, D = link(0), link(1, after=0), link(2, after=1), link(3, after=2)


def test_a_pruned_one_is_no_break_and_a_removed_one_is() -> None:
    pruned = [B]
    assert breaks([A, C], pruned) == ()
    assert breaks([A, D], pruned) == (Break("b03", "b02", is_removed=True),)


def test_what_a_pruned_one_pointed_to_is_looked_for_in_its_stead() -> None:
    assert breaks([C], [B]) == (Break("b01", "b00", is_removed=True),)


def test_a_ledger_that_names_another_digest_covers_nothing_up() -> None:
    forged = Link("b01", "another", None)
    assert breaks([A, C], [forged]) == (Break("b02", "b01", is_removed=False),)


def test_a_live_one_counts_before_what_the_ledger_says_of_it() -> None:
    replaced = Link("b01", "another", None)
    assert breaks([A, replaced, C], [B]) == (Break("b02", "b01", is_removed=False),)


def test_pruned_ones_in_a_row_become_one_entry() -> None:
    found = settled({"b01": entry(B), "b02": entry(C)}, [A, D], lingering=[])
    assert {name: one.previous for name, one in found.items()} == {"b02": Previous(name="b00", sha256="sha 0")}


def test_an_entry_that_nobody_points_to_is_dropped_unless_its_objects_are_still_there() -> None:
    assert settled({"b00": entry(A), "b01": entry(B)}, [D], lingering=[]) == {}
    assert set(settled({"b00": entry(A)}, [D], lingering=["b00", "b77"])) == {"b00"}


def test_the_entry_of_one_that_is_there_after_all_is_dropped() -> None:
    assert settled({"b01": entry(B)}, [A, B, C], lingering=["b01"]) == {}
    assert settled({"b01": entry(B), "b02": entry(C)}, [A, B, D], lingering=[])["b02"].previous == C.previous


def test_entries_in_a_circle_do_not_hang() -> None:
    circle = {"b00": entry(link(0, after=1)), "b01": entry(link(1, after=0))}
    assert set(settled(circle, [C], lingering=[])) <= {"b00", "b01"}


@given(st.data())
def test_over_any_number_of_prunes_only_what_was_removed_otherwise_shows(data: st.DataObject) -> None:
    live = [link(0), *(link(number, after=number - 1) for number in range(1, data.draw(st.integers(1, 12))))]
    pruned: dict[str, PrunedBackup] = {}
    for _ in range(data.draw(st.integers(0, 4))):
        gone = data.draw(st.lists(st.sampled_from(live[:-1]), unique=True)) if live[:-1] else []
        live = [one for one in live if one not in gone]
        pruned = settled(pruned | {one.name: entry(one) for one in gone}, live, lingering=[])
    assert breaks(live, links_of(pruned)) == ()
    assert len(pruned) <= len(live)
    if len(live) > 1:
        removed = data.draw(st.sampled_from(live[:-1]))
        left = [one for one in live if one is not removed]
        (found,) = breaks(left, links_of(pruned))
        assert (found.previous, found.is_removed) == (removed.name, True)
