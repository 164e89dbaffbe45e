"""Who can open new archives: the list `recipients.txt` of the fleets that write backups, and changes of it.

A change holds for archives that are made after it, by processes that were started after it. Old archives stay as they
are: g3zkp_maint/backup/recipients.py says what they open with.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyrage

from g3zkp_maint.errors import BadInput, KeyMaterialError
from g3zkp_maint.keys import fleets
from g3zkp_maint.keys.material import load_identities, load_recipients
from g3zkp_maint.platforms.local_files import write_private


def parse_recipient(text: str) -> str:
    """The recipient in its one spelling. Raises BadInput, which shows nothing of what may be a private key."""
    text = text.strip()
    if text.upper().startswith("AGE-SECRET-KEY"):
        raise BadInput("this is a private key, not a recipient; its recipient is what `age-keygen -y FILE` prints")
    try:
        return str(pyrage.x25519.Recipient.from_str(text))
    except pyrage.RecipientError:
        raise BadInput(f"{text!r} is no age recipient (age1… of 62 characters): see that it was copied whole") from None


def lists(folder: Path) -> list[Path]:
    """The lists of recipients below a folder of key folders. Raises KeyMaterialError where there is none."""
    found = [
        folder / fleet / fleets.RECIPIENTS
        for fleet, files in fleets.KEY_FILES.items()
        if any(file == fleets.RECIPIENTS for _, file in files) and (folder / fleet / fleets.RECIPIENTS).is_file()
    ]
    if not found:
        raise KeyMaterialError(
            f"{folder} holds no {fleets.RECIPIENTS} of a fleet; make keys with: g3zkp-maint recovery init"
        )
    return found


def read(path: Path) -> list[str]:
    """The recipients of a list, in its order. Raises KeyMaterialError."""
    return [str(one) for one in load_recipients(path)]


def add(folder: Path, recipient: str) -> list[Path]:
    """Adds it to every list that lacks it; returns those. What was cut short by a crash is completed by repeating it.

    Raises BadInput where all have it, or where it is the manifest identity's: that one lies with the backup fleet, which
    must open no archive.
    """
    recipient = parse_recipient(recipient)
    if recipient in _manifest_recipients(folder):
        raise BadInput(
            f"{recipient} is the manifest identity's: the backup fleet holds that one, and with this it would open archives"
        )
    lacking = [path for path in lists(folder) if recipient not in read(path)]
    if not lacking:
        raise BadInput(f"{recipient} is a recipient already")
    for path in lacking:
        text = path.read_text(encoding="ascii")
        _write(path, [*text.splitlines(), recipient])
    return lacking


def remove(folder: Path, recipient: str) -> list[Path]:
    """Removes it from every list that has it; returns those. Raises BadInput where none has it, or one has no other."""
    recipient = parse_recipient(recipient)
    having = [path for path in lists(folder) if recipient in read(path)]
    if not having:
        raise BadInput(f"{recipient} is no recipient; see g3zkp-maint recovery show")
    for path in having:
        if set(read(path)) == {recipient}:
            raise BadInput(
                f"{recipient} is the only recipient of {path}; add another first, or nobody could open backups"
            )
    for path in having:
        _write(path, [line for line in path.read_text(encoding="ascii").splitlines() if line.strip() != recipient])
    return having


def _manifest_recipients(folder: Path) -> set[str]:
    paths = (folder / fleet / fleets.MANIFEST for fleet in fleets.KEY_FILES)
    return {str(one.to_public()) for path in paths if path.is_file() for one in load_identities(path)}


def _write(path: Path, lines: Iterable[str]) -> None:
    try:
        write_private(path, "".join(f"{line}\n" for line in lines).encode())
    except OSError as error:
        raise KeyMaterialError(f"{path} cannot be written: {error.strerror}; give the command again") from error
