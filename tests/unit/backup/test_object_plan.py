"""What a restore of objects is going to do: order, outcomes, instances."""

from __future__ import annotations

import random
from typing import Any

import pytest

from g3zkp_maint.backup.object_plan import Outcome, differences, plan_objects, replicas_of
from g3zkp_maint.backup.object_reports import ObjectReport, ObjectReports, counted
from g3zkp_maint.backup.object_restore import parse_objects, preview, restore_objects
from g3zkp_maint.coordination.checkpoint import MemoryCheckpoint
from g3zkp_maint.errors import ArchiveCorrupt, Conflict, LeaseLost, ObjectRefused, PlatformUnavailable

KINDS = [
    ("v1", "ServiceAccount"),
    ("v1", "Secret"),
    ("v1", "ConfigMap"),
    ("v1", "PersistentVolumeClaim"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("v1", "Service"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("batch/v1", "CronJob"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("networking.k8s.io/v1", "Ingress"),
    ("example.org/v1", "Deployment"),
]


def made(version: str, kind: str, name: str = "a", **more: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "g3zkp"}, **more}


def test_what_depends_comes_after_what_it_depends_on() -> None:
    wanted = [made(*one) for one in KINDS]
    random.Random(3).shuffle(wanted)
    plan = plan_objects(wanted, [])
    assert [(one.document["apiVersion"], one.identity.kind) for one in plan] == KINDS
    assert {one.outcome for one in plan} == {Outcome.CREATED}


def test_an_object_is_compared_without_what_the_server_sets_and_in_whatever_version() -> None:
    wanted = made("policy/v1beta1", "PodDisruptionBudget", spec={"minAvailable": 1})
    live = {**wanted, "metadata": {**wanted["metadata"], "uid": "1", "resourceVersion": "9"}, "status": {"x": 1}}
    (same,) = plan_objects([wanted], [live])
    assert (same.outcome, same.fields) == (Outcome.SAME, ())
    (changed,) = plan_objects([wanted], [{**live, "spec": {"minAvailable": 2}}])
    assert (changed.outcome, changed.fields) == (Outcome.CHANGED, ("spec.minAvailable",))


@pytest.mark.parametrize(
    ("wanted", "found", "expected"),
    [
        ({"a": 1}, {"a": 1}, ()),
        ({"a": 1}, {"a": 2, "b": 1}, ("a", "b")),
        ({"a": [{"b": 1}, {"b": 2}]}, {"a": [{"b": 1}, {"b": 3}]}, ("a[1].b",)),
        ({"a": [1]}, {"a": [1, 2]}, ("a",)),
        ({"a": None}, {}, ("a",)),
        ({"a": {"b": {}}}, {"a": {"b": {"c": "secret"}}}, ("a.b.c",)),
    ],
)
def test_differences_are_paths(wanted: Any, found: Any, expected: tuple[str, ...]) -> None:
    assert differences(wanted, found) == expected


def test_a_workload_that_is_there_keeps_its_number_of_instances() -> None:
    wanted, live = (made("apps/v1", "Deployment", spec={"replicas": count}) for count in (3, 5))
    (same,) = plan_objects([wanted], [live], held_down={"a"})
    assert (same.outcome, same.document["spec"]["replicas"]) == (Outcome.SAME, 5)


def test_a_workload_that_is_made_has_the_backups_number_or_none_while_its_data_is_away() -> None:
    wanted = made("apps/v1", "Deployment", spec={"replicas": 3})
    assert plan_objects([wanted], [])[0].document["spec"]["replicas"] == 3
    assert plan_objects([wanted], [], held_down={"a"})[0].document["spec"]["replicas"] == 0
    assert plan_objects([wanted], [], held_down={"b"})[0].document["spec"]["replicas"] == 3
    assert replicas_of([wanted, made("apps/v1", "StatefulSet", "b", spec={})], {"a", "b"}) == {"a": 3, "b": 1}


class Cluster:
    """Keeps what is applied; refuses by name; like a server, takes no field away when it applies."""

    def __init__(self, *live: dict[str, Any]) -> None:
        self.live = {one["metadata"]["name"]: one for one in live}
        self.applied: list[str] = []
        self.conflicts = 0

    def objects(self) -> list[dict[str, Any]]:
        return list(self.live.values())

    def apply(self, document: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        name = document["metadata"]["name"]
        if name == "refused":
            raise ObjectRefused("ConfigMap/refused: not here")
        if name == "away":
            raise PlatformUnavailable("the server is away")
        data = {**self.live.get(name, {}).get("data", {}), **document["data"]}
        after = {**document, "data": data, "metadata": {**document["metadata"], "resourceVersion": "2"}}
        if not dry_run:
            self.applied.append(name)
            self.live[name] = after
        return after

    def replace(self, document: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        assert document["metadata"]["resourceVersion"] == "2"
        if self.conflicts:
            self.conflicts -= 1
            raise Conflict("another changed it")
        if not dry_run:
            self.applied.append(document["metadata"]["name"])
            self.live[document["metadata"]["name"]] = document
        return document


def config(name: str, **data: str) -> dict[str, Any]:
    return made("v1", "ConfigMap", name, data=data)


def test_each_object_is_reported_and_a_dry_run_says_the_same_and_changes_nothing() -> None:
    cluster = Cluster(config("as-it-was", a="1"), config("changed", a="2"), config("more", a="1", b="1"))
    wanted = [config(name, a="1") for name in ("as-it-was", "changed", "more", "new", "refused")]
    expected = {
        "ConfigMap/as-it-was": (Outcome.SAME, ""),
        "ConfigMap/changed": (Outcome.CHANGED, "data.a"),
        "ConfigMap/more": (Outcome.CHANGED, "data.b"),
        "ConfigMap/new": (Outcome.CREATED, ""),
        "ConfigMap/refused": (Outcome.REFUSED, "ConfigMap/refused: not here"),
    }
    reports = preview(cluster, wanted)  # type: ignore[arg-type]
    assert {one.object: (one.outcome, one.reason) for one in reports} == expected
    assert cluster.applied == []
    cluster.conflicts = 2
    done = restore_objects(cluster, wanted, ensure_held=lambda: None)  # type: ignore[arg-type]
    assert done == reports
    assert cluster.applied == ["changed", "more", "new"]
    assert counted(done) == {
        "created": 1,
        "changed": 2,
        "same": 1,
        "refused": 1,
        "reports": [
            {"object": "ConfigMap/refused", "outcome": "refused", "reason": "ConfigMap/refused: not here"},
            {"object": "ConfigMap/new", "outcome": "created", "reason": ""},
            {"object": "ConfigMap/changed", "outcome": "changed", "reason": "data.a"},
            {"object": "ConfigMap/more", "outcome": "changed", "reason": "data.b"},
        ],
        "unlisted": 0,
    }
    assert cluster.live["more"]["data"] == {"a": "1"}
    again = restore_objects(cluster, wanted, ensure_held=lambda: None)  # type: ignore[arg-type]
    assert [one.outcome for one in again] == ["same", "same", "same", "same", "refused"]


class Killed(BaseException):
    """As a process that is no more: nothing handles it."""


@pytest.mark.parametrize("is_written", [True, False], ids=["after the write", "before it"])
def test_after_a_kill_it_tells_of_what_all_attempts_have_done(is_written: bool) -> None:
    class Deadly(Cluster):
        def apply(self, document: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
            is_last = document["metadata"]["name"] == "c" and not dry_run
            if is_last and not is_written:
                raise Killed
            after = super().apply(document, dry_run=dry_run)
            if is_last:
                raise Killed
            return after

    wanted = [config(name, a="1") for name in ("a", "b", "c", "d", "refused")]
    cluster, checkpoint = Deadly(config("b", a="2"), config("d", a="1")), MemoryCheckpoint()
    with pytest.raises(Killed):
        restore_objects(cluster, wanted, ensure_held=lambda: None, reports=ObjectReports(checkpoint))  # type: ignore[arg-type]
    survivor = Cluster(*cluster.live.values())
    done = restore_objects(survivor, wanted, ensure_held=lambda: None, reports=ObjectReports(checkpoint))  # type: ignore[arg-type]
    assert {one.object: (one.outcome, one.reason) for one in done} == {
        "ConfigMap/a": ("created", ""),
        "ConfigMap/b": ("changed", "data.a"),
        "ConfigMap/c": ("created", ""),
        "ConfigMap/d": ("same", ""),
        "ConfigMap/refused": ("refused", "ConfigMap/refused: not here"),
    }
    assert survivor.applied == ([] if is_written else ["c"])


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ("created", "same", "created"),
        ("created", "changed", "created"),
        ("changed", "created", "created"),
        ("changed", "refused", "refused"),
        ("refused", "created", "created"),
        ("refused", "same", "same"),
    ],
)
def test_what_counts_is_what_the_restore_has_done_in_all(before: str, now: str, expected: str) -> None:
    checkpoint = MemoryCheckpoint()
    ObjectReports(checkpoint).record(ObjectReport("A/a", Outcome(before), "old"))
    assert ObjectReports(checkpoint).record(ObjectReport("A/a", Outcome(now), "new")).outcome == expected


def test_of_very_many_so_many_are_listed_and_the_refused_first() -> None:
    found = [ObjectReport(f"A/{number}", Outcome.CHANGED) for number in range(600)]
    told = counted([*found, ObjectReport("A/last", Outcome.REFUSED, "why")])
    assert (told["changed"], len(told["reports"]), told["unlisted"]) == (600, 500, 101)
    assert told["reports"][0]["object"] == "A/last"


def test_what_may_pass_stops_the_work_and_a_lost_lease_too() -> None:
    cluster = Cluster()
    with pytest.raises(PlatformUnavailable):
        restore_objects(cluster, [config("away"), config("b")], ensure_held=lambda: None)  # type: ignore[arg-type]

    def lost() -> None:
        raise LeaseLost("another took over")

    with pytest.raises(LeaseLost):
        restore_objects(cluster, [config("b")], ensure_held=lost)  # type: ignore[arg-type]
    assert cluster.applied == []


@pytest.mark.parametrize("text", [b"a: [", b"just text", b"kind: Secret\n", b"kind: Secret\nmetadata: {}\n"])
def test_what_is_no_object_is_a_corrupt_archive_and_is_not_quoted(text: bytes) -> None:
    with pytest.raises(ArchiveCorrupt, match="k8s of x") as caught:
        parse_objects(text, what="k8s of x")
    assert "Secret" not in str(caught.value)
