"""Who may see Flower, and what of a task's arguments is shown."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from g3zkp_maint.errors import SettingsError
from workers.flower import legible, refuse_to_stand_open


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "localhost"])
def test_the_embedded_stacks_flower_is_for_this_machine_without_a_login(address: str) -> None:
    refuse_to_stand_open((), address=address, is_embedded=True)


@pytest.mark.parametrize(
    ("address", "is_embedded"), [("", True), ("0.0.0.0", True), ("::", True), ("flower", True), ("127.0.0.1", False)]
)
def test_everywhere_else_a_login_is_needed(address: str, is_embedded: bool) -> None:
    with pytest.raises(SettingsError, match="FLOWER_BASIC_AUTH"):
        refuse_to_stand_open((), address=address, is_embedded=is_embedded)
    refuse_to_stand_open(("operator:a long password",), address=address, is_embedded=is_embedded)


@pytest.mark.parametrize("entry", ["", "operator", "operator:", ":password"])
def test_a_login_without_user_or_password_is_none(entry: str) -> None:
    with pytest.raises(SettingsError, match="user:password"):
        refuse_to_stand_open(("operator:a long password", entry), address="127.0.0.1", is_embedded=True)


def test_arguments_are_shown_as_words_and_without_what_is_for_the_machinery() -> None:
    task = SimpleNamespace(
        args="('g3zkp_full_20261125_191736', 'ipfs.000')",
        kwargs="{'slot': '2026-11-25T02:00Z', 'relay': {'chain': 1, 'tokens': {'data': 2}}}",
    )
    shown = legible(task)
    assert shown.args == "g3zkp_full_20261125_191736 ipfs.000"
    assert shown.kwargs == "slot=2026-11-25T02:00Z"


def test_arguments_that_were_cut_or_are_missing_are_shown_as_they_came() -> None:
    task = SimpleNamespace(args="('g3zkp_full_2026…", kwargs=None)
    assert vars(legible(task)) == {"args": "('g3zkp_full_2026…", "kwargs": None}
