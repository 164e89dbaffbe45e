"""Retention carried out: marks first, deletes after a delay, and sweeps what dead runs have left.

The order makes it safe to be killed anywhere. 1. The ledger, with the marks, and with what is going to be deleted now.
2. The manifests of those, newest first: each is there or not. 3. A second look at the store; then every object that no
manifest names. What is missing from 3 is done by the next run. A backup that is in the store is therefore whole.

Bounded: a plan that takes more than the set share of all backups is refused and nothing is touched, unless forced.
Objects that cannot be deleted (a lock) stay, with all that they need, and are told. Runs under the store's exclusive
lease, as nothing may be committed meanwhile; should one be lost, the next deletion does not happen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, runtime_checkable

from g3zkp_maint.backup import ledger as ledgers
from g3zkp_maint.backup.inventory import Inventory, survey
from g3zkp_maint.backup.ledger import Ledger, Mark, PrunedBackup, Shelf
from g3zkp_maint.backup.leftovers import Leftovers, find_leftovers
from g3zkp_maint.backup.manifest import FILE_NAME
from g3zkp_maint.backup.name import BackupName
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.retention import RetentionPlan, plan_retention
from g3zkp_maint.clock import Clock
from g3zkp_maint.coordination.guard import Guard
from g3zkp_maint.errors import ManifestInvalid, PermanentError, StoreError, StoreUnavailable
from g3zkp_maint.progress import NoProgress, Progress
from g3zkp_maint.settings import Retention

#: Deletions between two questions to Redis whether the lease is still held.
_BATCH = 50


@runtime_checkable
class _Sweepable(Protocol):
    """A store that can be left with parts of objects that nobody sees."""

    def sweep(self, older_than: datetime) -> int: ...


@runtime_checkable
class _Trimmable(Protocol):
    """A store with local copies, which have their time."""

    def trim(self) -> None: ...


@dataclass(frozen=True)
class PruneSite:
    """What prune works with: a store's backups, the policy for them, and the right to delete.

    `first` is given where the store is the second one: its folders without a manifest are copies that were not finished,
    or hold what a copied incremental needs. Those whose backup the first store has pruned go here as well."""

    repository: Repository
    policy: Retention
    clock: Clock
    guard: Guard
    progress: Progress = field(default_factory=NoProgress)
    first: Repository | None = None


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """What a run is going to do at the moment `now`. `marked`: all marks after it, of which `fresh` are new; `withdrawn`:
    marks that are taken back; `due`: those deleted now, newest first. `unforced`: how many of the backups that are to go
    count for the share, out of `total`."""

    now: datetime
    retention: RetentionPlan
    marked: Mapping[str, Mark]
    fresh: tuple[str, ...]
    withdrawn: tuple[str, ...]
    due: tuple[str, ...]
    unforced: int
    total: int
    leftovers: Leftovers
    problems: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For machines, and for the result of a dry run."""
        return {
            "backups": [
                {"name": one.name, "kept": bool(one.reasons), "why": str(one), "marked_at": self._marked_at(one.name)}
                for one in (*self.retention.kept, *self.retention.deleted)
            ],
            "would_mark": list(self.fresh),
            "would_withdraw": list(self.withdrawn),
            "would_delete": list(self.due),
            "leftovers": [{"key": one.key, "bytes": one.size, "why": one.why} for one in self.leftovers.objects],
            "problems": list(self.problems),
        }

    def _marked_at(self, name: str) -> str | None:
        return self.marked[name].marked_at.isoformat() if name in self.marked else None


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a run has done. `kept` backups are left; `objects` and `freed_bytes` were deleted, `parts` are temporary files
    of dead writers; `locked` could not be deleted. Anything in `locked` or `problems` makes it `partial`."""

    kept: int
    marked: tuple[str, ...]
    withdrawn: tuple[str, ...]
    deleted: tuple[str, ...]
    objects: int
    freed_bytes: int
    parts: int
    locked: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def outcome(self) -> str:
        return "partial" if self.locked or self.problems else "ok"

    def as_dict(self) -> dict[str, Any]:
        lists = {name: list(getattr(self, name)) for name in ("marked", "withdrawn", "deleted", "locked", "problems")}
        counts = {name: getattr(self, name) for name in ("kept", "objects", "freed_bytes", "parts")}
        return {"outcome": self.outcome, **counts, **lists}


# -- the plan -----------------------------------------------------------------------------------------------------------


def look(site: PruneSite, *, force: bool = False) -> PrunePlan:
    """What a run would do now. Changes nothing. Raises StoreUnavailable."""
    return _look(site, force)[0]


def _look(site: PruneSite, force: bool) -> tuple[PrunePlan, Inventory, Shelf]:
    now = site.clock.now()
    site.progress.step("look at the store")
    inventory = survey(site.repository, alive_since=now - timedelta(hours=site.policy.sweep_after_hours))
    shelf = ledgers.read_shelf(site.repository)
    plan = plan_prune(inventory, shelf, site.policy, now, force=force, elsewhere=_elsewhere(site))
    return plan, inventory, shelf


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Of a second store's backups those that the first one has, and those that it has pruned."""

    present: frozenset[str] = frozenset()
    pruned: frozenset[str] = frozenset()


def _elsewhere(site: PruneSite) -> Elsewhere:
    if site.first is None:
        return Elsewhere()
    shelf = ledgers.read_shelf(site.first)
    return Elsewhere(frozenset(str(name) for name in site.first.names()), frozenset(shelf.ledger.pruned))


def plan_prune(
    inventory: Inventory,
    shelf: Shelf,
    policy: Retention,
    now: datetime,
    *,
    force: bool,
    elsewhere: Elsewhere = Elsewhere(),
) -> PrunePlan:
    """Pure."""
    in_use = {name: one.refers_to for name, one in inventory.under_way.items()}
    heads = inventory.heads()
    retention = plan_retention(heads, policy, now, in_use=in_use)
    doomed = [verdict.name for verdict in retention.deleted]
    old = shelf.ledger.marked
    marked = {name: _mark(old.get(name), inventory.backups[name].digest, now, force=force) for name in doomed}
    before = now - timedelta(hours=policy.sweep_after_hours)
    pruned = {*shelf.ledger.pruned, *elsewhere.pruned} - elsewhere.present
    leftovers = find_leftovers(inventory, pruned=pruned, before=before, awaited=elsewhere.present)
    broken = [
        f"{head.name} is not whole: objects of it are missing or cut short; look with: g3zkp-maint backup verify {head.name}"
        for head in heads
        if head.outcome is not None and not head.is_whole
    ]
    return PrunePlan(
        now=now,
        retention=retention,
        marked=marked,
        fresh=tuple(name for name in doomed if name not in old or old[name].sha256 != marked[name].sha256),
        withdrawn=tuple(sorted(name for name in old if name not in marked and name in inventory.backups)),
        due=tuple(name for name in doomed if _is_due(marked[name], policy, now)),
        unforced=sum(not mark.forced for mark in marked.values()),
        total=len(heads),
        leftovers=leftovers,
        problems=(
            *(one.why for one in inventory.backups.values() if one.manifest is None),
            *broken,
            *inventory.problems,
            *shelf.problems,
            *leftovers.problems,
        ),
    )


def _mark(old: Mark | None, digest: str, now: datetime, *, force: bool) -> Mark:
    if old is None or old.sha256 != digest:
        return Mark(sha256=digest, marked_at=now, forced=force)
    return old.model_copy(update={"forced": old.forced or force})


def _is_due(mark: Mark, policy: Retention, now: datetime) -> bool:
    return mark.marked_at + timedelta(hours=policy.delete_after_hours) <= now


def require_share(plan: PrunePlan, policy: Retention) -> None:
    """Raises PermanentError where the plan takes a larger part of all backups than one run may."""
    if plan.unforced > policy.max_share_per_run * plan.total:
        raise PermanentError(
            f"prune would take {plan.unforced} of {plan.total} backups, more than a run may "
            f"(retention.max_share_per_run={policy.max_share_per_run:g}); nothing was touched. Check the clock and the "
            "retention settings, see `g3zkp-maint backup prune --dry-run`, and if it is right, run it with --force"
        )


def _require_ledger(shelf: Shelf) -> None:
    """To go on without it would forget what was pruned, and those would show as removed for ever."""
    if shelf.problems:
        raise ManifestInvalid(
            f"{'; '.join(shelf.problems)}. Nothing was pruned: see that keys.trusted_signers has its signer, or where it "
            f"is damaged for good delete {shelf.keys[-1]}"
        )


# -- the act ------------------------------------------------------------------------------------------------------------


def prune(site: PruneSite, *, force: bool = False) -> Pruned:
    """Brings the store to what the policy says. `force` lifts the limit on the share, not the delay. Local copies past
    their time go first: their disk must not fill while something keeps the store from being pruned.

    Raises PermanentError past the share, ManifestInvalid for a ledger that must not be believed, LeaseLost,
    StoreUnavailable, KeyMaterialError where something is to be marked and there is no key to sign with. Whatever it
    raises, the next run goes on.
    """
    if isinstance(site.repository.store, _Trimmable):
        site.repository.store.trim()
    plan, inventory, shelf = _look(site, force)
    _require_ledger(shelf)
    require_share(plan, site.policy)
    deleter = _Deleter(site)
    deleter.delete_all((one.key, one.size) for one in plan.leftovers.objects)  # first, as a full store needs the room
    ledger = _write_ledger(site, plan, inventory, shelf)
    deleted = _delete_manifests(deleter, plan, inventory)
    if deleted:
        _delete_objects(site, deleter, plan, ledger)
    # Old ledgers matter to nobody: one that cannot go is not worth a word.
    _Deleter(site).delete_all((key, 0) for key in shelf.keys if key != ledgers.key_of(ledger))
    return Pruned(
        kept=plan.total - len(deleted),
        marked=plan.fresh,
        withdrawn=plan.withdrawn,
        deleted=deleted,
        objects=deleter.objects,
        freed_bytes=deleter.bytes,
        parts=_sweep_parts(site, plan.now),
        locked=tuple(deleter.locked),
        problems=plan.problems,
    )


def _write_ledger(site: PruneSite, plan: PrunePlan, inventory: Inventory, shelf: Shelf) -> Ledger:
    """The ledger that holds from now on; a new one only where it says something new."""
    going = {name: _pruned(inventory, name, plan.now) for name in plan.due}
    staying = [one.link() for name, one in inventory.backups.items() if name not in going]
    lingering = [name for name, folder in inventory.folders.items() if not folder.has_manifest or name in going]
    pruned = ledgers.settled({**shelf.ledger.pruned, **going}, staying, lingering=lingering)
    if (dict(plan.marked), pruned) == (
        shelf.ledger.marked,
        shelf.ledger.pruned,
    ) and shelf.newest == shelf.ledger.number:
        return shelf.ledger
    ledger = Ledger(
        number=shelf.newest + 1,
        token=site.guard.token,
        written_at=plan.now,
        marked=dict(plan.marked),
        pruned=pruned,
    )
    site.guard.verify()
    site.guard.ensure_held()
    ledgers.write(site.repository, ledger)
    return ledger


def _pruned(inventory: Inventory, name: str, now: datetime) -> PrunedBackup:
    link = inventory.backups[name].link()
    return PrunedBackup(sha256=link.digest, previous=link.previous, pruned_at=now)


def _delete_manifests(deleter: _Deleter, plan: PrunePlan, inventory: Inventory) -> tuple[str, ...]:
    """Newest first, so that what needs another goes before it. Where one cannot go, what it needs stays as well."""
    deleted: list[str] = []
    staying: set[str] = set()
    for name in plan.due:
        key = f"{BackupName.parse(name).folder}/{FILE_NAME}"
        size = inventory.folders[name].objects[FILE_NAME].size
        if name not in staying and deleter.delete(key, size):
            deleted.append(name)
        else:
            staying |= inventory.backups[name].refers_to
    return tuple(deleted)


def _delete_objects(site: PruneSite, deleter: _Deleter, plan: PrunePlan, ledger: Ledger) -> None:
    """By a second look: a manifest that came in between, or could not go, keeps what it names."""
    before = plan.now - timedelta(hours=site.policy.sweep_after_hours)
    inventory = survey(site.repository, alive_since=before)
    found = find_leftovers(inventory, pruned=ledger.pruned, before=before)
    deleter.delete_all((one.key, one.size) for one in found.objects)


def _sweep_parts(site: PruneSite, now: datetime) -> int:
    store = site.repository.store
    if not isinstance(store, _Sweepable):
        return 0
    site.guard.ensure_held()
    return store.sweep(now - timedelta(hours=site.policy.sweep_after_hours))


class _Deleter:
    """Deletes one object after another while the lease holds; counts, and notes what is under a lock."""

    def __init__(self, site: PruneSite) -> None:
        self._site = site
        self._tried = 0
        self.objects = 0
        self.bytes = 0
        self.locked: list[str] = []

    def delete_all(self, objects: Iterable[tuple[str, int]]) -> None:
        for key, size in objects:
            self.delete(key, size)

    def delete(self, key: str, size: int) -> bool:
        """Whether the object is gone. Raises LeaseLost, StoreUnavailable."""
        if self._tried % _BATCH == 0:
            self._site.guard.verify()
        self._tried += 1
        self._site.guard.ensure_held()
        try:
            there = self._site.repository.store.delete([self._site.repository.full_key(key)])
        except StoreUnavailable:
            raise
        except StoreError as error:
            self.locked.append(f"{key}: {error}")
            return False
        self.objects += there
        self.bytes += size if there else 0
        self._site.progress.advance(size, there)
        return True
