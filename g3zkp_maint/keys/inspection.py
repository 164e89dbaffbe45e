"""What lies in the fleets' key folders, by its public halves, and whether it fits together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from g3zkp_maint.errors import KeyMaterialError
from g3zkp_maint.keys import fleets
from g3zkp_maint.keys.material import load_identities, load_recipients, load_signers, load_signing_key, public_line


@dataclass(frozen=True, slots=True)
class Held:
    """A file in a fleet's folder: recipients, public halves of identities, or ids of signing keys."""

    fleet: str
    file: str
    public: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Inspection:
    folder: str
    held: tuple[Held, ...]
    problems: tuple[str, ...]


def inspect(folder: Path) -> Inspection:
    """Reads every key file of a set. Raises KeyMaterialError where there is no such folder; what is wrong with a file is
    among the problems."""
    if not any((folder / fleet).is_dir() for fleet in fleets.KEY_FILES):
        raise KeyMaterialError(f"{folder} holds no key folders; make them with: g3zkp-maint recovery init")
    held: list[Held] = []
    problems: list[str] = []
    for fleet in fleets.KEY_FILES:
        for _, path in fleets.given_files(folder, fleet):
            try:
                held.append(Held(fleet, path.name, _public(path)))
            except KeyMaterialError as error:
                problems.append(str(error))
    return Inspection(str(folder), tuple(held), (*problems, *_misfits(folder, held)))


def _public(path: Path) -> tuple[str, ...]:
    readers: Mapping[str, Callable[[Path], list[str]]] = {
        ".identity": lambda one: [str(identity.to_public()) for identity in load_identities(one)],
        ".pem": lambda one: [public_line(load_signing_key(one).public_key())],
    }
    if path.name == fleets.RECIPIENTS:
        return tuple(str(one) for one in load_recipients(path))
    if path.name == fleets.SIGNERS:
        return tuple(public_line(one) for one in load_signers(path))
    return tuple(readers[path.suffix](path))


def _misfits(folder: Path, held: list[Held]) -> list[str]:
    found = [
        f"{file} differs between fleets: put the right one into each folder"
        for file in (fleets.RECIPIENTS, fleets.SIGNERS, fleets.MANIFEST)
        if len({frozenset(one.public) for one in held if one.file == file}) > 1
    ]
    recipients, signers = _all(held, fleets.RECIPIENTS), _all(held, fleets.SIGNERS)
    if recipients & _all(held, fleets.MANIFEST):
        found.append("the manifest identity is a recipient: the backup fleet could open archives; remove it")
    found += [
        f"{one.fleet}/{one.file} is not among {fleets.SIGNERS}: nobody would believe what it signs"
        for one in held
        if one.file.endswith(".pem") and not set(one.public) <= signers
    ]
    recovery = _all(held, fleets.RECOVERY)
    if recovery and not recovery & recipients:
        found.append(f"crypto/{fleets.RECOVERY} opens no new backup: none of its public halves is a recipient")
    found += [
        f"{path} must not be there: only the crypto fleet may hold it; move it away"
        for fleet in fleets.KEY_FILES
        if fleet != "crypto" and (path := folder / fleet / fleets.RECOVERY).exists()
    ]
    return found


def _all(held: list[Held], file: str) -> set[str]:
    return {public for one in held if one.file == file for public in one.public}
