"""Whatever is in a store: no deletion that prune plans takes an object that a backup still listed, or a run, needs."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hypothesis import event, given
from hypothesis import strategies as st

from g3zkp_maint.backup.inventory import Folder, Inventory, Seen, UnderWay
from g3zkp_maint.backup.ledger import Ledger, Mark, PrunedBackup, Shelf
from g3zkp_maint.backup.leftovers import find_leftovers
from g3zkp_maint.backup.manifest import FILE_NAME, Archive, Component, Index, Manifest, Outcome
from g3zkp_maint.backup.name import BackupName, BackupType
from g3zkp_maint.backup.prune import Elsewhere, plan_prune
from g3zkp_maint.settings import Retention
from g3zkp_maint.stores.base import ObjectInfo

NOW = datetime(2026, 3, 31, 3, tzinfo=UTC)
DIGEST = "0" * 64
INDEX, ARCHIVES = "ipfs.index.zst.age", ("ipfs.000.tar.zst.age", "ipfs.001.tar.zst.age")
PLAN = "work/plan.json"
OTHERS = ("ipfs.000-r1.tar.zst.age", PLAN, "work/ipfs.000.done.json", "somebodys.txt")


@dataclass(frozen=True)
class Place:
    """A store: when each object was put, by key; and what reading it tells. `inventory` is the look at what is left."""

    objects: dict[str, datetime]
    seen: dict[str, Seen]
    under_way: dict[str, UnderWay]
    shelf: Shelf

    def inventory(self, gone: AbstractSet[str] = frozenset()) -> Inventory:
        folders: dict[str, Folder] = {}
        left = {key: ObjectInfo(key, 1, at) for key, at in self.objects.items() if key not in gone}
        for key, info in left.items():
            folder, _, rest = key.partition("/g3zkp_")
            name, _, rest = f"g3zkp_{rest}".partition("/")
            assert folder == BackupName.parse(name).folder.rpartition("/")[0]
            folders.setdefault(name, Folder(BackupName.parse(name))).objects[rest] = info
        backups = {name: one for name, one in self.seen.items() if name in folders and folders[name].has_manifest}
        return Inventory(folders, backups, self.runs(gone), dict.fromkeys(left, 1))

    def runs(self, gone: AbstractSet[str]) -> dict[str, UnderWay]:
        """One without its plan plans anew, and builds on nothing yet."""
        return {
            name: one for name, one in self.under_way.items() if f"{BackupName.parse(name).folder}/{PLAN}" not in gone
        }

    def listed(self, gone: AbstractSet[str]) -> list[Seen]:
        return [one for name, one in self.seen.items() if manifest_key(one.name) not in gone]


def manifest_key(name: BackupName) -> str:
    return f"{name.folder}/{FILE_NAME}"


def manifest(name: BackupName, archives: list[str], outcome: Outcome) -> Manifest:
    stored = [
        Archive(
            id=number,
            backup=key.split("/")[2],
            component="ipfs",
            key=key,
            size=1,
            sha256=DIGEST,
            plain_size=1,
            entries=1,
        )
        for number, key in enumerate(archives)
    ]
    index = Index(key=f"{name.folder}/{INDEX}", size=1, sha256=DIGEST, plain_size=1, rows=1)
    return Manifest(
        product="g3zkp",
        name=str(name),
        type=name.type,
        outcome=outcome,
        run="a-run",
        parent=None,
        previous=None,
        planned_at=name.at,
        sealed_at=name.at,
        components=(Component(name="ipfs", kind="files", index=index),),
        archives=tuple(stored),
        recipients=(),
    )


@st.composite
def places(draw: st.DrawFn) -> Place:
    """Three to six backups and runs, each of which may need archives of any other, of those that are gone as well."""
    hours = draw(st.lists(st.integers(1, 3000), unique=True, min_size=3, max_size=6))
    names = [BackupName(NOW - timedelta(hours=hour), draw(st.sampled_from(BackupType))) for hour in hours]
    every = [f"{name.folder}/{file}" for name in names for file in ARCHIVES]
    objects: dict[str, datetime] = {}
    seen: dict[str, Seen] = {}
    under_way: dict[str, UnderWay] = {}
    for name in names:
        files = draw(st.sets(st.sampled_from([*ARCHIVES, *OTHERS])))
        what = draw(st.sampled_from(["believed", "believed", "not believed", "under way", "nothing"]))
        at = NOW - timedelta(hours=1 if what == "under way" else draw(st.sampled_from([1, 100])))
        objects |= {f"{name.folder}/{file}": at for file in files}
        needs = draw(st.sets(st.sampled_from(every), max_size=2))
        refers_to = frozenset(key.split("/")[2] for key in needs) - {str(name)}
        match what:
            case "believed":
                made = manifest(name, sorted(needs), draw(st.sampled_from(Outcome)))
                objects |= {manifest_key(name): at, f"{name.folder}/{INDEX}": at}
                keys = frozenset({f"{name.folder}/{INDEX}", *needs})
                seen[str(name)] = Seen(name, DIGEST, made, "", refers_to, keys)
            case "not believed":
                objects[manifest_key(name)] = at
                seen[str(name)] = Seen(name, DIGEST, None, "why not", refers_to, frozenset(needs))
            case "under way":
                objects[f"{name.folder}/{PLAN}"] = at
                under_way[str(name)] = UnderWay(refers_to, frozenset(needs))
    some = st.sets(st.sampled_from([str(name) for name in names]))
    marks = {name: Mark(sha256=DIGEST, marked_at=NOW - timedelta(days=9)) for name in {*map(str, names)} - draw(some)}
    pruned = {name: PrunedBackup(sha256=DIGEST, previous=None, pruned_at=NOW) for name in draw(some) - set(seen)}
    return Place(objects, seen, under_way, Shelf(Ledger(number=1, marked=marks, pruned=pruned), 1, (), ()))


policies = st.builds(
    Retention,
    keep_within_days=st.integers(1, 20),
    keep_weekly=st.integers(0, 2),
    delete_after_hours=st.sampled_from([0, 12]),
)


@given(places(), policies, st.data())
def test_no_deletion_takes_what_a_backup_that_is_listed_or_a_run_needs(
    place: Place, policy: Retention, data: st.DataObject
) -> None:
    """In the order of a prune, which may be killed after each: leftovers, manifests, then what a second look finds."""
    inventory = place.inventory()
    there = st.sets(st.sampled_from(sorted(inventory.folders))) if inventory.folders else st.just(set())
    elsewhere = data.draw(st.builds(Elsewhere, st.builds(frozenset, there), st.builds(frozenset, there)))
    plan = plan_prune(inventory, place.shelf, policy, NOW, force=False, elsewhere=elsewhere)
    order = [one.key for one in plan.leftovers.objects]
    order += [manifest_key(BackupName.parse(name)) for name in plan.due]
    before = NOW - timedelta(hours=policy.sweep_after_hours)
    pruned = {*place.shelf.ledger.pruned, *plan.due}
    order += [one.key for one in find_leftovers(place.inventory(set(order)), pruned=pruned, before=before).objects]
    event(f"{min(len(order), 9)} deletions, {len(plan.due)} of manifests")

    assert len(order) == len(set(order))
    assert not [key for key in order if key.endswith("somebodys.txt")]
    kept = {verdict.name for verdict in plan.retention.kept}
    for done in range(len(order) + 1):
        gone = set(order[:done])
        listed = place.listed(gone)
        assert kept <= {str(one.name) for one in listed}
        for one in (*listed, *place.runs(gone).values()):
            assert not one.keys & gone
