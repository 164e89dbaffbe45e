"""Which folder a restore may go into."""

from __future__ import annotations

from pathlib import Path

import pytest

from g3zkp_maint.backup import elsewhere
from g3zkp_maint.backup.elsewhere import Attempt, choose_attempt
from g3zkp_maint.errors import BadInput


def choose(folder: Path, *components: str, backup: str = "one", overwrite: bool = False) -> Attempt:
    return choose_attempt(folder, backup, components, overwrite=overwrite, data_root=folder.parent / "data")


def test_a_new_or_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert choose(tmp_path / "new") == choose(tmp_path / "empty") == Attempt("one", ())


def test_a_folder_that_holds_something_is_refused_unless_overwrite(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(BadInput, match="holds something already"):
        choose(tmp_path / "full")
    assert choose(tmp_path / "full", overwrite=True) == Attempt("one", ())


def test_a_former_attempt_goes_on_with_its_components(tmp_path: Path) -> None:
    elsewhere.begin(tmp_path / "half", Attempt("one", ("keys",)))
    (tmp_path / "half" / "keys").mkdir()
    assert choose(tmp_path / "half") == choose(tmp_path / "half", "keys") == Attempt("one", ("keys",))


def test_a_former_attempt_is_not_taken_for_another_backup_or_other_components(tmp_path: Path) -> None:
    elsewhere.begin(tmp_path / "half", Attempt("one", ("keys",)))
    with pytest.raises(BadInput, match="unfinished restore of one"):
        choose(tmp_path / "half", backup="two")
    with pytest.raises(BadInput, match="unfinished restore of one"):
        choose(tmp_path / "half", "ipfs")


def test_after_the_end_the_folder_is_somebodys_data(tmp_path: Path) -> None:
    elsewhere.begin(tmp_path / "done", Attempt("one", ()))
    (tmp_path / "done" / "file").touch()
    elsewhere.end(tmp_path / "done")
    with pytest.raises(BadInput, match="--overwrite"):
        choose(tmp_path / "done")


@pytest.mark.parametrize("path", ["data", "data/ipfs", "way/../data", "link"])
def test_the_messengers_own_folder_is_refused_even_with_overwrite(tmp_path: Path, path: str) -> None:
    (tmp_path / "data" / "ipfs").mkdir(parents=True)
    (tmp_path / "way").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    with pytest.raises(BadInput, match="messenger's data folder"):
        choose_attempt(tmp_path / path, "one", (), overwrite=True, data_root=tmp_path / "data")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="is no folder"):
        choose(tmp_path / "file")


def test_a_damaged_marker_is_not_guessed_at(tmp_path: Path) -> None:
    (tmp_path / elsewhere.MARKER).write_text("{")
    with pytest.raises(BadInput, match="cannot be read as the marker"):
        choose(tmp_path)
