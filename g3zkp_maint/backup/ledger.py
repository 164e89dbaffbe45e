"""What prune has in mind and what it has done: a signed document in the store, `prune/ledger.NNNNNNNNNN.json`.

It holds the marks (which backup is to go, since when) and those pruned, so that the chain of manifests (chain.py) tells
a pruned backup from a removed one. It is signed because both are worth forging: a mark of long ago would skip the delay,
and an entry would cover up a removal. Each writing has the next number and is put only if absent, so of two prunes at
once one stops.

Hazard: who can write the store can bring back an older ledger by deleting the newer ones. Backups pruned since then show
as removed, and marks withdrawn since then count again, for a backup that retention gives up anyway. Nothing is hidden.

It stays small: an entry that no backup in the store points to any more, through others or directly, is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from g3zkp_maint.backup import manifest as documents
from g3zkp_maint.backup.chain import Link
from g3zkp_maint.backup.keyring import Keyring
from g3zkp_maint.backup.manifest import Previous
from g3zkp_maint.backup.repository import Repository, read_small
from g3zkp_maint.errors import LeaseLost, ManifestInvalid, ObjectExists, ObjectMissing

_FOLDER = "prune/"
_KEY = re.compile(r"prune/ledger\.(\d{10})\.json")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Mark(_Model):
    """A backup that is to go, by the SHA-256 of its manifest. `forced`: the share of a run does not count it."""

    sha256: str
    marked_at: AwareDatetime
    forced: bool = False


class PrunedBackup(_Model):
    """One that is gone, as its place in the chain has it: its manifest's SHA-256, and the one that it pointed to."""

    sha256: str
    previous: Previous | None
    pruned_at: AwareDatetime


class Ledger(_Model):
    """See the module. By name of the backup. `token` is the fencing token of the lease that it was written under."""

    kind: Literal["g3zkp-prune-ledger"] = "g3zkp-prune-ledger"
    version: Literal[1] = 1
    number: int
    token: int = 0
    written_at: AwareDatetime | None = None
    marked: dict[str, Mark] = {}
    pruned: dict[str, PrunedBackup] = {}

    def links(self) -> list[Link]:
        """The pruned ones, for the chain."""
        return [Link(name, one.sha256, one.previous) for name, one in self.pruned.items()]


@dataclass(frozen=True, slots=True)
class Shelf:
    """The ledgers in the store: the newest that is believed (an empty one where there is none), the number of the
    newest of all, the keys of all, and what is wrong with those that are not believed."""

    ledger: Ledger
    newest: int
    keys: tuple[str, ...]
    problems: tuple[str, ...]


def read_shelf(repository: Repository) -> Shelf:
    """Raises StoreUnavailable; what must not be believed is told in `problems`."""
    found = [repository.below(info.key) for info in repository.store.list(repository.full_key(_FOLDER))]
    numbers = {int(match[1]): key for key in found if (match := _KEY.fullmatch(key))}
    keys = tuple(numbers.values())
    problems: list[str] = []
    for number in sorted(numbers, reverse=True):
        try:
            raw = read_small(repository.store, repository.full_key(numbers[number]))
            return Shelf(_believed(raw, repository.keyring, number), max(numbers), keys, tuple(problems))
        except ObjectMissing:  # tidied up by a prune just now
            continue
        except ManifestInvalid as error:
            problems.append(str(error))
    return Shelf(Ledger(number=0), max(numbers, default=0), keys, tuple(problems))


def _believed(raw: bytes, keyring: Keyring, number: int) -> Ledger:
    what = f"the prune ledger {number}"
    document, _ = documents.believed(raw, keyring, what)
    try:
        ledger = Ledger.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ManifestInvalid(f"{what} is malformed at {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if ledger.number != number:
        raise ManifestInvalid(f"{what} says that it is number {ledger.number}; an old one was put in its place")
    return ledger


def key_of(ledger: Ledger) -> str:
    """Where it is, below the prefix."""
    return f"{_FOLDER}ledger.{ledger.number:010d}.json"


def write(repository: Repository, ledger: Ledger) -> None:
    """Signs and stores it. Raises LeaseLost where another prune has written that number, KeyMaterialError, StoreError."""
    raw = documents.signed_document(ledger.model_dump(mode="json"), repository.keyring)
    try:
        repository.store.put(repository.full_key(key_of(ledger)), [raw], if_absent=True)
    except ObjectExists:
        raise LeaseLost(f"another prune has written ledger {ledger.number} meanwhile; this one stops") from None


def settled(
    pruned: Mapping[str, PrunedBackup], live: Iterable[Link], *, lingering: Collection[str]
) -> dict[str, PrunedBackup]:
    """The entries that still matter: those that a backup in the store points to, and `lingering` ones, whose objects are
    not all gone. Where a pruned one points to a pruned one, it takes over what that one points to."""
    links = list(live)
    gone = {name: one for name, one in pruned.items() if name not in {link.name for link in links}}
    shortened = {name: _shortened(one, gone) for name, one in gone.items()}
    waiting = [*lingering, *(link.previous.name for link in links if link.previous)]
    kept: dict[str, PrunedBackup] = {}
    while waiting:
        name = waiting.pop()
        if name in shortened and name not in kept:
            one = kept[name] = shortened[name]
            waiting.extend([one.previous.name] if one.previous else [])
    return dict(sorted(kept.items()))


def _shortened(one: PrunedBackup, gone: Mapping[str, PrunedBackup]) -> PrunedBackup:
    previous = one.previous
    for _ in gone:  # no more steps than entries: what is signed may still be a circle
        if previous is None or previous.name not in gone or gone[previous.name].sha256 != previous.sha256:
            break
        previous = gone[previous.name].previous
    return one.model_copy(update={"previous": previous})
