"""`recovery`: keys are made once, shown once, handed out by fleet, and never shown again."""

from __future__ import annotations

import json
import os
import pty
import re
import stat
import subprocess
import sys
from pathlib import Path

import pyrage
import pytest
from typer.testing import CliRunner, Result

from g3zkp_maint import cli
from g3zkp_maint.backup.name import BackupType
from g3zkp_maint.keys.material import load_identities, load_recipients
from g3zkp_maint.testing.backup_place import BackupPlace

SECRET = re.compile(r"AGE-SECRET-KEY-1[A-Z0-9]{58}")
GIVEN = {
    "backup": ["backup.signing.pem", "manifest.identity", "recipients.txt", "signers.txt"],
    "crypto": ["crypto.signing.pem", "manifest.identity", "recipients.txt", "recovery.offline", "signers.txt"],
    "cleanup": ["signers.txt"],
    "observe": ["signers.txt"],
    "operator": ["signers.txt"],
}


def invoke(*args: str, **env: str) -> Result:
    return CliRunner(env=env).invoke(cli.app, ["recovery", *args], prog_name="g3zkp-maint")


def refused(result: Result, code: str) -> str:
    assert result.exit_code != 0, result.output
    assert result.stderr.rstrip("\n").endswith(f"[{code}]")
    assert not SECRET.search(result.output)
    return result.stderr


def new_identity() -> pyrage.x25519.Identity:
    return pyrage.x25519.Identity.generate()


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A set with the identity beside it."""
    made = invoke("init", "--dir", str(tmp_path / "keys"), "--identity-file", str(tmp_path / "safe"))
    assert made.exit_code == 0, made.output
    return tmp_path / "keys"


def names(folder: Path) -> dict[str, list[str]]:
    return {fleet.name: sorted(path.name for path in fleet.iterdir()) for fleet in folder.iterdir()}


# -- init ----------------------------------------------------------------------------------------------------------------


def test_each_fleet_is_given_its_own_and_no_more(keys: Path) -> None:
    assert names(keys) == GIVEN
    for path in keys.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
        if path.is_file():
            assert path.name == "manifest.identity" or not SECRET.search(path.read_text())


def test_the_identity_in_the_file_opens_what_the_backup_fleet_makes(keys: Path, tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / "safe").stat().st_mode) == 0o600
    sealed = pyrage.encrypt(b"archive", load_recipients(keys / "backup" / "recipients.txt"))
    assert pyrage.decrypt(sealed, load_identities(tmp_path / "safe")) == b"archive"
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(sealed, load_identities(keys / "backup" / "manifest.identity"))


def test_only_when_asked_the_crypto_fleet_gets_the_identity(tmp_path: Path) -> None:
    options = ("--identity-file", str(tmp_path / "safe"), "--for-crypto-fleet")
    assert invoke("init", "--dir", str(tmp_path / "keys"), *options).exit_code == 0
    own = tmp_path / "keys" / "crypto"
    assert (own / "recovery.identity").read_text() == (tmp_path / "safe").read_text()
    assert not (own / "recovery.offline").exists()
    assert list((tmp_path / "keys").rglob("recovery.*")) == [own / "recovery.identity"]


def test_nothing_is_overwritten(keys: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in keys.rglob("*") if path.is_file()}
    message = refused(invoke("init", "--dir", str(keys), "--identity-file", str(tmp_path / "other")), "key-material")
    assert "is there already" in message
    assert not (tmp_path / "other").exists()
    safe = (tmp_path / "safe").read_bytes()
    refused(invoke("init", "--dir", str(tmp_path / "new"), "--identity-file", str(tmp_path / "safe")), "bad-input")
    assert not (tmp_path / "new").exists()
    assert (tmp_path / "safe").read_bytes() == safe
    assert {path: path.read_bytes() for path in keys.rglob("*") if path.is_file()} == before


def test_a_pipe_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    for options in ((), ("--identity-file", str(tmp_path / "safe"), "--show-once")):
        assert "terminal" in refused(invoke("init", "--dir", str(tmp_path / "keys"), *options), "bad-input")
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_gets_the_identity_alone_when_forced(tmp_path: Path) -> None:
    made = invoke("init", "--dir", str(tmp_path / "keys"), "--force")
    assert made.exit_code == 0
    (recipient,) = load_recipients(tmp_path / "keys" / "backup" / "recipients.txt")
    comment, secret = made.stdout.splitlines()
    assert comment == f"# public key: {recipient}"
    assert SECRET.fullmatch(secret)
    assert not SECRET.search(made.stderr)


def test_with_a_file_nothing_is_shown(tmp_path: Path) -> None:
    made = invoke("init", "--dir", str(tmp_path / "keys"), "--identity-file", str(tmp_path / "safe"))
    assert not SECRET.search(made.output)
    assert made.stdout == ""
    assert str(tmp_path / "safe") in made.stderr


def on_a_terminal(*args: str, answer: str | None) -> tuple[int, str]:
    """The exit code and what was shown. `answer` None: the end of what is shown as secret."""
    main, child = pty.openpty()
    command = [sys.executable, "-c", "from g3zkp_maint.cli import main; main()", "recovery", *args]
    process = subprocess.Popen(command, stdin=child, stdout=child, stderr=child)
    os.close(child)
    shown = ""
    with open(main, "rb+", buffering=0) as terminal:
        try:
            while piece := terminal.read(4096):
                shown += piece.decode()
                if shown.rstrip().endswith("copy:"):
                    (secret,) = SECRET.findall(shown)
                    terminal.write((answer or secret[-6:].lower()).encode() + b"\n")
                    shown += "\n"
        except OSError:  # so a terminal ends
            pass
    return process.wait(60), shown


def test_a_terminal_shows_it_once_and_asks_whether_it_was_kept(tmp_path: Path) -> None:
    code, shown = on_a_terminal("init", "--dir", str(tmp_path / "keys"), answer=None)
    assert code == 0, shown
    (secret,) = SECRET.findall(shown)
    sealed = pyrage.encrypt(b"archive", load_recipients(tmp_path / "keys" / "backup" / "recipients.txt"))
    assert pyrage.decrypt(sealed, [pyrage.x25519.Identity.from_str(secret)]) == b"archive"
    assert not any(secret in path.read_text() for path in tmp_path.rglob("*") if path.is_file())


def test_an_identity_that_was_not_kept_is_used_for_nothing(tmp_path: Path) -> None:
    code, shown = on_a_terminal("init", "--dir", str(tmp_path / "keys"), answer="000000")
    assert code == 2
    assert "nothing was made" in shown
    assert list(tmp_path.iterdir()) == []


def test_several_recipients_open_each_alone(tmp_path: Path) -> None:
    ann, bob = new_identity(), new_identity()
    options = ["--recipient", str(ann.to_public()), "--recipient", str(bob.to_public())]
    place = BackupPlace.make(tmp_path)
    made = invoke("init", "--dir", str(tmp_path / "set"), "--identity-file", str(tmp_path / "safe"), *options)
    assert made.exit_code == 0, made.output
    listed = tmp_path / "set" / "backup" / "recipients.txt"
    (tmp_path / "keys" / "recipients").write_text(listed.read_text())
    manifest = place.take()
    assert len(manifest.recipients) == 3
    (own,) = load_identities(tmp_path / "safe")
    for archive in manifest.archives:
        stored = (place.store / archive.key).read_bytes()
        for identity in (own, ann, bob):
            assert pyrage.decrypt(stored, [identity])
        with pytest.raises(pyrage.DecryptError):
            pyrage.decrypt(stored, [new_identity()])


def test_an_identity_made_elsewhere_is_enough(tmp_path: Path) -> None:
    mine = str(new_identity().to_public())
    assert invoke("init", "--dir", str(tmp_path / "keys"), "--no-identity", "--recipient", mine).exit_code == 0
    assert (tmp_path / "keys" / "backup" / "recipients.txt").read_text() == f"{mine}\n"
    assert names(tmp_path / "keys") == GIVEN
    refused(invoke("init", "--dir", str(tmp_path / "k"), "--no-identity"), "bad-input")
    refused(
        invoke("init", "--dir", str(tmp_path / "k"), "--no-identity", "--recipient", mine, "--for-crypto-fleet"),
        "bad-input",
    )


def test_a_recipient_that_is_none_is_refused(tmp_path: Path) -> None:
    for wrong in ("age1nonsense", str(new_identity()), "ssh-ed25519 AAAA"):
        refused(invoke("init", "--dir", str(tmp_path / "k"), "--force", "--recipient", wrong), "bad-input")
    assert list(tmp_path.iterdir()) == []


# -- show, add, remove -----------------------------------------------------------------------------------------------------


def test_show_tells_who_has_what_and_no_secret(keys: Path, tmp_path: Path) -> None:
    shown = invoke("show", "--dir", str(keys))
    assert shown.exit_code == 0, shown.output
    assert not SECRET.search(shown.output)
    assert "PRIVATE" not in shown.output
    (recipient,) = load_recipients(keys / "backup" / "recipients.txt")
    rows = [line.split() for line in shown.stdout.splitlines()]
    assert ["backup", "recipients.txt", str(recipient)] in rows
    assert not any("recovery.identity" in row for row in rows)
    document = json.loads(invoke("show", "--dir", str(keys), "--json").stdout)
    assert document["problems"] == []


def test_show_finds_what_does_not_fit(keys: Path) -> None:
    manifest = load_identities(keys / "backup" / "manifest.identity")[0]
    with (keys / "backup" / "recipients.txt").open("a") as file:
        file.write(f"{manifest.to_public()}\n")
    (keys / "cleanup" / "recovery.identity").write_text("x")
    (keys / "observe" / "signers.txt").unlink()
    shown = invoke("show", "--dir", str(keys))
    refused(shown, "key-material")
    for told in ("recipients.txt differs", "could open archives", "cleanup/recovery.identity", "observe/signers.txt"):
        assert told in shown.stdout


def test_a_recipient_is_added_to_each_list_and_removed_again(keys: Path) -> None:
    lists = [keys / fleet / "recipients.txt" for fleet in ("backup", "crypto")]
    before = [path.read_text() for path in lists]
    other = str(new_identity().to_public())
    added = invoke("add-recipient", other, "--dir", str(keys))
    assert added.exit_code == 0, added.output
    assert "recovery rewrap" in added.stdout
    assert all(other in path.read_text() for path in lists)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in lists)
    refused(invoke("add-recipient", other, "--dir", str(keys)), "bad-input")
    assert invoke("remove-recipient", other, "--dir", str(keys)).exit_code == 0
    assert [path.read_text() for path in lists] == before
    refused(invoke("remove-recipient", other, "--dir", str(keys)), "bad-input")


def test_an_addition_that_was_cut_short_is_completed(keys: Path) -> None:
    other = str(new_identity().to_public())
    with (keys / "backup" / "recipients.txt").open("a") as file:
        file.write(f"{other}\n")
    assert "differs" in invoke("show", "--dir", str(keys)).stdout
    added = invoke("add-recipient", other, "--dir", str(keys))
    assert added.exit_code == 0
    assert "backup/recipients.txt" not in added.stdout
    assert invoke("show", "--dir", str(keys)).exit_code == 0


def test_the_last_recipient_stays(keys: Path) -> None:
    (only,) = load_recipients(keys / "backup" / "recipients.txt")
    message = refused(invoke("remove-recipient", str(only), "--dir", str(keys)), "bad-input")
    assert "only recipient" in message
    assert load_recipients(keys / "backup" / "recipients.txt")


def test_the_manifest_identity_becomes_no_recipient(keys: Path) -> None:
    manifest = load_identities(keys / "backup" / "manifest.identity")[0]
    message = refused(invoke("add-recipient", str(manifest.to_public()), "--dir", str(keys)), "bad-input")
    assert "backup fleet" in message


def test_a_private_key_in_place_of_a_recipient_is_not_repeated(keys: Path) -> None:
    refused(invoke("add-recipient", str(new_identity()), "--dir", str(keys)), "bad-input")


def test_without_keys_it_says_how_to_make_them(tmp_path: Path) -> None:
    for command in (("show",), ("add-recipient", str(new_identity().to_public()))):
        assert "recovery init" in refused(invoke(*command, "--dir", str(tmp_path)), "key-material")


# -- rewrap ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path) -> BackupPlace:
    return BackupPlace.make(tmp_path)


def rewrap(place: BackupPlace, *args: str) -> Result:
    return invoke("rewrap", *args, **place.environment())


def test_after_an_addition_rewrap_asks_for_a_full_backup(place: BackupPlace) -> None:
    place.take(0)
    other = str(new_identity().to_public())
    (first,) = load_recipients(place.root / "keys" / "recipients")
    with (place.root / "keys" / "recipients").open("a") as file:
        file.write(f"{other}\n")
    place.write("ipfs/new", b"new")
    incremental = place.take(1, BackupType.INCREMENTAL)
    shown = rewrap(place)
    assert shown.exit_code == 0, shown.output
    assert f"does not open whole with {other}" in shown.stdout
    assert re.search(rf"^{incremental.name} +{first} +{other}$", shown.stdout, re.MULTILINE)
    place.take(2)
    assert "nothing to do" in rewrap(place).stdout


def test_after_a_removal_rewrap_tells_what_needs_the_old_identity_and_until_when(place: BackupPlace) -> None:
    full = place.take(0)
    (former,) = load_recipients(place.root / "keys" / "recipients")
    (place.root / "keys" / "recipients").write_text(f"{new_identity().to_public()}\n")
    before = {path: path.read_bytes() for path in place.store.rglob("*") if path.is_file()}
    document = json.loads(rewrap(place, "--json").stdout)
    assert document["backups"][0]["opens_with"] == [str(former)]
    (old,) = [one for one in document["recipients"] if not one["is_current"]]
    assert old["lost_without"] == [full.name]
    assert old["kept_until"] is not None
    assert f"keep the identity of {former} until" in rewrap(place).stdout
    assert {path: path.read_bytes() for path in place.store.rglob("*") if path.is_file()} == before


def test_rewrap_names_a_backup_that_must_not_be_believed(place: BackupPlace) -> None:
    full = place.take(0)
    path = place.stored(full, "MANIFEST.json")
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b'"ok"', b'"OK"'))
    shown = rewrap(place)
    assert shown.exit_code == 0
    assert f"invalid: the manifest of {full.name}" in shown.stdout
