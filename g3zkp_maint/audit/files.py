"""The messenger's folder of private keys: modes, owners, and what does not belong there."""

from __future__ import annotations

from collections.abc import Iterator

from g3zkp_maint.audit.check import Check, Found, Rule
from g3zkp_maint.audit.facts import Facts, KeyFile
from g3zkp_maint.audit.finding import Severity

_NEEDS = ("files",)


def _mode(facts: Facts) -> Iterator[Found]:
    for one in _entries(facts, "file"):
        if one.mode & 0o077:
            worst = None if one.mode & 0o007 else Severity.HIGH
            yield Found(_named(facts, one), f"has mode {one.mode:04o}: {_whom(one.mode)}", worst)


def _folder(facts: Facts) -> Iterator[Found]:
    for one in _entries(facts, "folder"):
        if one.mode & 0o022:
            yield Found(_named(facts, one), f"has mode {one.mode:04o}: others may put files there, and take some away")
        elif one.mode & 0o055:
            yield Found(_named(facts, one), f"has mode {one.mode:04o}: others see its files' names", Severity.LOW)


def _owner(facts: Facts) -> Iterator[Found]:
    folder = facts.files
    for one in _entries(facts, "file", "folder"):
        if folder and one.uid not in (folder.messenger_uid, 0):
            yield Found(_named(facts, one), f"belongs to user {one.uid}, the messenger is {folder.messenger_uid}")


def _kind(facts: Facts) -> Iterator[Found]:
    for one in _entries(facts, "link", "other"):
        yield Found(_named(facts, one), "is a symbolic link" if one.kind == "link" else "is no file and no folder")


def _entries(facts: Facts, *kinds: str) -> list[KeyFile]:
    return [one for one in facts.files.entries if one.kind in kinds] if facts.files else []


def _named(facts: Facts, one: KeyFile) -> str:
    """By where the messenger has it."""
    folder = facts.files.path if facts.files else ""
    return folder if one.path == "." else f"{folder}/{one.path}"


def _whom(mode: int) -> str:
    group = "its group" if mode & 0o070 else ""
    everybody = "everybody" if mode & 0o007 else ""
    may = "may write it" if mode & 0o022 else "may read it"
    return f"{everybody or group} {may}"


CHECKS: tuple[Check[Facts], ...] = (
    Check(
        Rule(
            "keys-file-mode",
            "A private key is open to others",
            Severity.CRITICAL,
            "Each file below `keys` in the messenger's data folder: its mode. High where only its group may.",
            "Another process on that volume has the key, or can put another in its place.",
            "chmod 0600, and rotate the key: it may be known.",
        ),
        _mode,
        _NEEDS,
    ),
    Check(
        Rule(
            "keys-folder-mode",
            "The folder of private keys is open to others",
            Severity.HIGH,
            "`keys` in the messenger's data folder, and folders in it: their mode. Low where others may only look.",
            "Who may write to it replaces a key by one of his own.",
            "chmod 0700.",
        ),
        _folder,
        _NEEDS,
    ),
    Check(
        Rule(
            "keys-file-owner",
            "A private key belongs to somebody else",
            Severity.HIGH,
            "Each file and folder below `keys`: its owner, against the user that the messenger runs as. Root is none else.",
            "Its owner may read and change it whatever its mode.",
            "chown to the messenger's user; find out who put it there.",
        ),
        _owner,
        _NEEDS,
    ),
    Check(
        Rule(
            "keys-file-kind",
            "Something that is no file lies among the private keys",
            Severity.MEDIUM,
            "Each entry below `keys`: whether it is a file or a folder.",
            "A link leads a reader, or a writer, to a file elsewhere.",
            "Remove it; find out who put it there.",
        ),
        _kind,
        _NEEDS,
    ),
)
