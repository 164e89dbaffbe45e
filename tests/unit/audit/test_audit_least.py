"""Rights of the fleets against the least that they need. That the least is what k8s/ grants: tests/unit/k8s."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from audit_cases import LIMITS, NOW, named_bad
from hypothesis import given
from hypothesis import strategies as st

from g3zkp_maint.audit.facts import Unseen
from g3zkp_maint.audit.finding import Finding
from g3zkp_maint.audit.least import CHECKS
from g3zkp_maint.audit.least_rights import Fleet, Right, fleets, is_covered, names_here, rights, told
from g3zkp_maint.audit.rights import Grant
from g3zkp_maint.audit.whole import WholeFacts
from g3zkp_maint.settings import Settings

Object = dict[str, Any]

MANIFESTS = Path(__file__).parent / "least" / "fleet-too-much.yaml"
NAMESPACES = ("g3zkp", "g3zkp-maint")
TOO_MUCH, TOO_LITTLE = CHECKS
LEAST = fleets(NAMESPACES, {})
_HEALTH = "ServiceAccount/g3zkp-maint/health"


def deployed(least: list[Fleet] | None = None) -> list[Object]:
    """Accounts, Roles and bindings as k8s/base has them."""
    found: dict[str, Object] = {}
    for fleet in least or LEAST:
        account = {"name": fleet.name, "namespace": fleet.namespace}
        found[str(fleet)] = {"kind": "ServiceAccount", "metadata": account}
        for need in fleet.needed:
            kind, namespace, name = need.role.split("/")
            metadata = {"name": name, "namespace": namespace}
            found[need.role] = {"kind": kind, "metadata": metadata, "rules": copy.deepcopy([*need.rules])}
            binding = {
                "kind": "RoleBinding",
                "metadata": metadata,
                "roleRef": {"kind": kind, "name": name},
                "subjects": [],
            }
            found.setdefault(f"binding of {need.role}", binding)["subjects"].append(
                {"kind": "ServiceAccount", **account}
            )
    return list(found.values())


def seen(objects: list[Object], **parts: Any) -> WholeFacts:
    return WholeFacts(NOW, NAMESPACES, limits=LIMITS, objects=tuple(objects), **parts)


def much(objects: list[Object], **parts: Any) -> list[Finding]:
    return TOO_MUCH.findings(seen(objects, **parts))


def little(objects: list[Object], **parts: Any) -> list[Finding]:
    return TOO_LITTLE.findings(seen(objects, **parts))


def role(objects: list[Object], name: str) -> Object:
    (found,) = [one for one in objects if (one["kind"], one["metadata"]["name"]) == ("Role", name)]
    return found


def without(objects: list[Object], kind: str, name: str) -> list[Object]:
    kept = [one for one in objects if (one["kind"], one["metadata"]["name"]) != (kind, name)]
    assert len(kept) == len(objects) - 1
    return kept


def test_what_k8s_grants_is_neither_too_much_nor_too_little() -> None:
    assert much(deployed()) == little(deployed()) == []


# -- too much ----------------------------------------------------------------------------------------------------------


def test_each_binding_by_which_a_fleet_has_more_than_it_needs_is_found_and_no_other() -> None:
    manifests = list(yaml.safe_load_all(MANIFESTS.read_text()))
    objects = [one.object for one in much([*deployed(), *manifests])]
    names = {str(one["metadata"]["name"]) for one in manifests}
    assert named_bad(objects) == {one for one in names if one.startswith("bad-")}
    assert not [one for one in objects if "bad-" not in one]
    assert len(objects) == len(set(objects))
    assert little([*deployed(), *manifests]) == []


def test_the_evidence_names_account_verbs_resource_role_and_binding() -> None:
    found = {one.object: one.evidence for one in much([*deployed(), *yaml.safe_load_all(MANIFESTS.read_text())])}
    assert found["RoleBinding/g3zkp/bad-subresource:system:serviceaccount:g3zkp-maint:worker-observe"] == (
        "worker-observe may get pods/log in g3zkp (Role/g3zkp/logs by RoleBinding/g3zkp/bad-subresource)"
    )
    assert found["RoleBinding/g3zkp/bad-another-name:system:serviceaccount:g3zkp-maint:worker-crypto"].startswith(
        "worker-crypto may get secrets named worker-backup in g3zkp ("
    )
    assert found["RoleBinding/g3zkp/bad-by-group-of-namespace:group:system:serviceaccounts:g3zkp-maint"].startswith(
        "beat, flower may list pods in g3zkp ("
    )
    assert "in the whole cluster" in found["ClusterRoleBinding/bad-path:system:serviceaccount:g3zkp-maint:exporter"]
    assert "whatever ClusterRole/view allows" in str(found)


def test_what_is_added_to_a_role_of_k8s_is_told_by_resource_so_that_a_waiver_hides_nothing_that_comes_later() -> None:
    objects = deployed()
    crypto = role(objects, "maintenance-crypto")
    crypto["rules"].append(
        {"apiGroups": [""], "resources": ["pods"], "resourceNames": ["g3zkp-messenger-0"], "verbs": ["delete"]}
    )
    crypto["rules"].append({"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["get"]})
    binding = "RoleBinding/g3zkp/maintenance-crypto:system:serviceaccount:g3zkp-maint:worker-crypto"
    assert [one.object for one in much(objects)] == [f"{binding}:pods", f"{binding}:deployments.apps/scale"]


# -- too little --------------------------------------------------------------------------------------------------------


def test_a_verb_that_lacks_is_told_with_the_role_that_should_grant_it() -> None:
    objects = deployed()
    role(objects, "maintenance-backup")["rules"][2]["verbs"] = ["create"]
    (found,) = little(objects)
    assert found.object == "ServiceAccount/g3zkp/worker-backup:maintenance-backup"
    assert found.evidence == (
        "worker-backup may not get pods/exec named redis-0 in g3zkp, as by Role/g3zkp/maintenance-backup of k8s/base"
    )


@pytest.mark.parametrize("kind", ["Role", "RoleBinding"])
def test_a_role_that_was_left_out_is_one_finding_that_can_be_waived(kind: str) -> None:
    found = little(without(deployed(), kind, "maintenance-restore-objects"))
    assert [one.object for one in found] == ["ServiceAccount/g3zkp-maint/worker-crypto:maintenance-restore-objects"]


def test_an_account_that_is_not_there_is_told_once_and_one_that_needs_no_right_is_not_missed() -> None:
    objects = [one for one in deployed() if one["kind"] == "ServiceAccount" and one["metadata"]["name"] != "health"]
    found = [one.object for one in little(objects)]
    assert _HEALTH in found
    assert not [one for one in found if one.startswith(f"{_HEALTH}:")]
    assert little(without(deployed(), "ServiceAccount", "flower")) == []


@pytest.mark.parametrize("subject", ["system:serviceaccounts", "system:serviceaccounts:g3zkp", "system:authenticated"])
def test_a_right_may_come_from_a_wider_one_and_by_a_group(subject: str) -> None:
    wide: list[Object] = [
        {
            "kind": "ClusterRole",
            "metadata": {"name": "wide"},
            "rules": [
                {"apiGroups": ["*"], "resources": ["*"], "verbs": ["list"]},
                {"apiGroups": ["*"], "resources": ["deployments", "*/exec", "statefulsets"], "verbs": ["*"]},
            ],
        },
        {
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "wide"},
            "roleRef": {"kind": "ClusterRole", "name": "wide"},
            "subjects": [{"kind": "Group", "name": subject}],
        },
    ]
    assert little([*without(deployed(), "Role", "maintenance-backup"), *wide]) == []


def test_what_was_not_seen_is_not_called_missing() -> None:
    objects = [one for one in deployed() if one["kind"] != "Role" or one["metadata"]["namespace"] != "g3zkp"]
    unseen = Unseen("objects", "roles in g3zkp", "may not list", is_meant=False)
    assert len(little(objects)) > 5
    assert little(objects, unseen=(unseen,)) == []
    elsewhere = [one for one in deployed() if one["metadata"]["namespace"] != "g3zkp-maint"]
    assert {one.object.split("/")[1] for one in little(elsewhere)} <= {"g3zkp"}
    assert little([]) == much([]) == []


def test_whoever_has_a_role_that_was_not_seen_is_not_said_to_lack_anything() -> None:
    bound = {
        "kind": "RoleBinding",
        "metadata": {"name": "by-hand", "namespace": "g3zkp"},
        "roleRef": {"kind": "ClusterRole", "name": "not-listed"},
        "subjects": [{"kind": "ServiceAccount", "name": "worker-backup"}],
    }
    objects = [*without(deployed(), "Role", "maintenance-backup"), bound]
    assert little(objects) == []
    assert ["not-listed" in one.evidence for one in much(objects)] == [True]


# -- names -------------------------------------------------------------------------------------------------------------


def test_objects_have_the_names_that_the_settings_say() -> None:
    platform = {"kubernetes": {"messenger": "chat", "redis": "cache", "service": "chat-http"}}
    names = names_here(Settings.model_validate({"platform": platform, "messenger": {"keys_secret": "chat-keys"}}))
    objects = deployed(fleets(NAMESPACES, names))
    assert {"chat", "cache", "cache-0", "chat-http", "chat-keys"} <= {
        name for one in objects for rule in one.get("rules", ()) for name in rule["resourceNames"]
    }
    assert much(objects, names=names) == little(objects, names=names) == []
    assert much(objects)
    assert little(objects)
    own = set(names_here(Settings()))
    assert names_here(Settings()) == {name: name for name in own}
    named = {right.name for fleet in LEAST for need in fleet.needed for right in rights(need)}
    assert own <= named


# -- coverage ----------------------------------------------------------------------------------------------------------


def _some(*values: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=1, unique=True)


RULES = st.builds(
    lambda groups, resources, verbs, names: {
        "apiGroups": groups,
        "resources": resources,
        "verbs": verbs,
        "resourceNames": names,
    },
    _some("", "apps", "*"),
    _some("pods", "pods/exec", "deployments", "*", "*/exec"),
    _some("get", "list", "delete", "*"),
    st.one_of(st.just([]), _some("a", "b")),
)
PLACES = st.sampled_from([None, *NAMESPACES])
GRANTS = st.builds(
    lambda namespace, rules: Grant("somebody", "Role/r", "RoleBinding/b", namespace, tuple(rules)),
    PLACES,
    st.lists(RULES, max_size=3),
)
CONCRETE = st.builds(
    Right,
    st.sampled_from(NAMESPACES),
    st.sampled_from(["", "apps"]),
    st.sampled_from(["pods", "pods/exec", "deployments"]),
    st.sampled_from(["get", "list", "delete"]),
    st.sampled_from(["a", "b", "c"]),
)
#: Each rule of the least, with each of its verbs.
PLACED = [
    (role, at, verb)
    for role in {need.role.rpartition("/")[2] for fleet in LEAST for need in fleet.needed}
    for at, rule in enumerate(next(n for f in LEAST for n in f.needed if n.role.endswith(f"/{role}")).rules)
    for verb in rule["verbs"]
]
#: The crypto fleet may write these by the Role for restores of objects as well: that one of its rules is gone takes nothing.
_TWICE = {("maintenance-crypto", at, verb) for at, verb in ((0, "patch"), (1, "patch"), (5, "create"), (6, "patch"))}
ALONE = [one for one in PLACED if one not in _TWICE]


@given(GRANTS)
def test_every_grant_covers_itself(grant: Grant) -> None:
    assert all(is_covered(right, [grant]) for right in rights(grant))


@given(GRANTS, GRANTS, CONCRETE)
def test_what_is_covered_allows_nothing_that_the_covering_does_not(one: Grant, other: Grant, asked: Right) -> None:
    if all(is_covered(right, [other]) for right in rights(one)) and is_covered(asked, [one]):
        assert is_covered(asked, [other])


@given(GRANTS, CONCRETE)
def test_a_grant_covers_what_one_of_its_rights_means(grant: Grant, asked: Right) -> None:
    def means(right: Right) -> bool:
        sub = asked.resource.partition("/")[2]
        resources = {"*", asked.resource, *([f"*/{sub}"] if sub else [])}
        return (
            right.namespace in (None, asked.namespace)
            and right.group in ("*", asked.group)
            and right.resource in resources
            and right.verb in ("*", asked.verb)
            and right.name in (None, asked.name)
        )

    assert is_covered(asked, [grant]) == any(means(right) for right in rights(grant))


@given(st.sampled_from(PLACED), st.sampled_from(["escalate", "deletecollection", "watch", "*"]))
def test_each_verb_that_is_added_to_a_rule_of_the_least_is_found(placed: tuple[str, int, str], verb: str) -> None:
    objects = deployed()
    role(objects, placed[0])["rules"][placed[1]]["verbs"].append(verb)
    found = much(objects)
    assert found
    assert all(f"may {verb} " in one.evidence for one in found)
    assert little(objects) == []


@given(st.sampled_from(PLACED), st.sampled_from(["nodes", "pods/portforward", "*", "serviceaccounts/token"]))
def test_each_resource_that_is_added_to_a_rule_of_the_least_is_found(placed: tuple[str, int, str], what: str) -> None:
    objects = deployed()
    rule = role(objects, placed[0])["rules"][placed[1]]
    if "*" not in rule["resources"]:
        rule["verbs"] += ["get"]  # what is listed of everything may be listed
        rule["resources"].append(what)
        assert much(objects)
    assert little(objects) == []


@given(st.sampled_from(ALONE))
def test_each_verb_that_is_taken_from_a_rule_of_the_least_is_missed(placed: tuple[str, int, str]) -> None:
    name, at, verb = placed
    objects = deployed()
    role(objects, name)["rules"][at]["verbs"].remove(verb)
    found = little(objects)
    assert found
    assert all(one.object.endswith(f":{name}") and f"may not {verb} " in one.evidence for one in found)
    assert much(objects) == []


@given(st.sampled_from(ALONE))
def test_a_name_that_narrows_a_rule_of_the_least_is_missed(placed: tuple[str, int, str]) -> None:
    objects = deployed()
    role(objects, placed[0])["rules"][placed[1]]["resourceNames"] = ["another"]
    assert little(objects)


def test_rights_are_told_together_where_they_are_alike() -> None:
    def some() -> Iterator[Right]:
        for verb in ("get", "list"):
            yield Right("g3zkp", "", "pods", verb)
            yield Right("g3zkp", "apps", "deployments/scale", verb)
        yield Right(None, "", "/metrics", "get")
        yield Right("g3zkp", "", "secrets", "get", "a")

    assert told(some()) == (
        "get, list pods, deployments.apps/scale in g3zkp; get /metrics in the whole cluster; get secrets named a in g3zkp"
    )
