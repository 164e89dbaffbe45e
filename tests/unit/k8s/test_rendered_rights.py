"""What k8s/ lets each account do. That it suffices, and what is refused, is tried on a cluster: tests/cluster."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rendered_parts import Overlays, name_of, named, own, place_of

from g3zkp_maint.backup import object_plan, places
from g3zkp_maint.platforms import kubernetes_inspection
from g3zkp_maint.testing.rendered import Object, of_kind

#: Kinds that are restored by a person: who may write them may do everything.
BY_HAND = {"Role", "RoleBinding"}
#: Of kinds whose plural is not their name and an s.
RESOURCES = {"Endpoints": "endpoints", "Ingress": "ingresses", "NetworkPolicy": "networkpolicies"}


def rules_of(objects: list[Object], account: str) -> Iterator[Object]:
    """All that is granted to an account."""
    roles = {(place_of(one), name_of(one)): one for one in of_kind(objects, "Role")}
    for binding in of_kind(objects, "RoleBinding"):
        if any(subject["name"] == account for subject in binding["subjects"]):
            yield from roles[place_of(binding), binding["roleRef"]["name"]]["rules"]


def granted(objects: list[Object], account: str, verb: str, resource: str) -> list[list[str]]:
    """The names of each rule that grants it; [] stands for any name."""
    rules = rules_of(objects, account)
    return [rule.get("resourceNames", []) for rule in rules if verb in rule["verbs"] and resource in rule["resources"]]


def test_who_may_see_all_resources_may_only_list_them(objects: list[Object]) -> None:
    """`get` on all of them is `get` on pods/exec, and that is a shell."""
    rules = [rule for role in of_kind(objects, "Role") for rule in role["rules"]]
    assert [rule["verbs"] for rule in rules if "*" in rule["resources"]] == [["list"], ["list"]]
    assert not any("*" in rule["verbs"] for rule in rules)


def test_beside_the_recovery_identity_the_scan_alone_may_list_what_holds_no_secret(objects: list[Object]) -> None:
    beside = [one for one in of_kind(objects, "Role", "RoleBinding") if place_of(one) != "g3zkp"]
    assert {(one["kind"], name_of(one)) for one in beside} == {
        ("Role", "maintenance-scan"),
        ("RoleBinding", "maintenance-scan"),
    }
    (binding,) = of_kind(beside, "RoleBinding")
    assert [one["name"] for one in binding["subjects"]] == ["worker-observe"]
    for rule in of_kind(beside, "Role")[0]["rules"]:
        assert rule["verbs"] == ["list"]
        assert not {"secrets", "configmaps", "*"} & {*rule["resources"]}


def test_nothing_is_granted_in_the_whole_cluster_unless_the_scan_is_to_see_who_has_rights_there(
    overlays: Overlays,
) -> None:
    for name, objects in overlays.items():
        rules = [rule for role in of_kind(objects, "ClusterRole") for rule in role["rules"]]
        _, _, container = named(objects, "worker-observe")
        is_asked = {"name": "G3ZKP_AUDIT__LOOK_INTO_CLUSTER", "value": "true"} in container["env"]
        assert is_asked == bool(rules) == name.endswith("+scan-cluster"), name
        assert all(rule["resources"] == ["clusterroles", "clusterrolebindings"] for rule in rules)
        assert all(rule["verbs"] == ["list"] for rule in rules)


def test_the_scan_may_list_all_that_it_looks_at(overlays: Overlays) -> None:
    objects = overlays["production+scan-cluster"]
    for namespace, name in (("g3zkp", "maintenance-observe"), ("g3zkp-maint", "maintenance-scan")):
        (role,) = [one for one in of_kind(objects, "Role") if (place_of(one), name_of(one)) == (namespace, name)]
        listed = {resource for rule in role["rules"] if "list" in rule["verbs"] for resource in rule["resources"]}
        assert {resource for _, resource, _ in kubernetes_inspection.NAMESPACED} <= listed
    (of_cluster,) = of_kind(objects, "ClusterRole")
    assert {resource for _, resource, _ in kubernetes_inspection.OF_CLUSTER} == {*of_cluster["rules"][0]["resources"]}


def test_every_binding_names_an_account_that_is_there(objects: list[Object]) -> None:
    accounts = {(place_of(one), name_of(one)) for one in of_kind(objects, "ServiceAccount")}
    bound = {
        (subject["namespace"], subject["name"])
        for one in of_kind(objects, "RoleBinding")
        for subject in one["subjects"]
    }
    assert bound <= accounts
    assert accounts == {(place_of(one), template["spec"]["serviceAccountName"]) for one, template, _ in own(objects)}


def test_the_recovery_identity_lies_where_the_backup_fleet_may_read_nothing(objects: list[Object]) -> None:
    crypto, _, _ = named(objects, "worker-crypto")
    bindings = of_kind(objects, "RoleBinding")
    bound = [one for one in bindings if any(subject["name"] == "worker-backup" for subject in one["subjects"])]
    assert bound
    assert all(place_of(one) != place_of(crypto) for one in bound)


def test_commands_run_where_the_fleet_has_work_and_by_the_backup_fleet_in_redis_alone(overlays: Overlays) -> None:
    expected = {"worker-backup": [["redis-0"]], "worker-crypto": [[]], "worker-cleanup": [[]]}
    found = {
        name_of(one): names
        for one in of_kind(overlays["production"], "ServiceAccount")
        if (names := granted(overlays["production"], name_of(one), "create", "pods/exec"))
    }
    assert found == expected
    by_exec = granted(overlays["production+exec-source"], "worker-backup", "create", "pods/exec")
    assert sorted(by_exec) == [[], ["redis-0"]]


def test_only_helper_pods_are_deleted_and_leftovers_where_housekeeping_is_asked_for(overlays: Overlays) -> None:
    def deleters(objects: list[Object]) -> dict[str, list[list[str]]]:
        found = {
            name_of(one): granted(objects, name_of(one), "delete", "pods") for one in of_kind(objects, "ServiceAccount")
        }
        return {name: names for name, names in found.items() if names}

    helpers = [*places.HELPERS]
    assert deleters(overlays["production"]) == {"worker-crypto": [helpers]}
    assert deleters(overlays["production+housekeeping"]) == {"worker-crypto": [helpers], "worker-cleanup": [[]]}


def test_nothing_but_pods_and_finished_jobs_is_ever_deleted_and_nothing_in_bulk(objects: list[Object]) -> None:
    rules = [rule for role in of_kind(objects, "Role") for rule in role["rules"]]
    assert {resource for rule in rules if "delete" in rule["verbs"] for resource in rule["resources"]} <= {
        "pods",
        "jobs",
    }
    verbs = {verb for rule in rules for verb in rule["verbs"]}
    assert verbs <= {"get", "list", "create", "patch", "update", "delete"}


def test_housekeeping_is_asked_for_where_its_rights_are(overlays: Overlays) -> None:
    for name, objects in overlays.items():
        _, _, container = named(objects, "worker-cleanup")
        is_asked = any(one["name"] == "G3ZKP_CLEANUP__HOUSEKEEPING_DAYS" for one in container["env"])
        assert is_asked == bool(granted(objects, "worker-cleanup", "delete", "jobs")), name


@pytest.mark.parametrize("verb", ["create", "patch", "update"])
def test_every_kind_that_is_restored_may_be_applied_but_those_that_give_rights(overlays: Overlays, verb: str) -> None:
    (role,) = [one for one in of_kind(overlays["production"], "Role") if name_of(one) == "maintenance-restore-objects"]
    found = {resource for rule in role["rules"] if verb in rule["verbs"] for resource in rule["resources"]}
    assert found == {RESOURCES.get(kind, f"{kind.lower()}s") for kind in object_plan.ORDER if kind not in BY_HAND}


def test_secrets_are_read_by_whom_that_is_the_work_of(objects: list[Object]) -> None:
    for account in of_kind(objects, "ServiceAccount"):
        name = name_of(account)
        rules = [rule for rule in rules_of(objects, name) if {"secrets", "*"} & {*rule["resources"]}]
        readers = {verb for rule in rules for verb in rule["verbs"]} & {"get", "list"}
        assert bool(readers) == (name in {"worker-backup", "worker-crypto"}), name


def test_what_dispatches_and_what_shows_has_no_rights_at_all(objects: list[Object]) -> None:
    assert not any(True for account in ("beat", "flower") for _ in rules_of(objects, account))
