"""Each check finds what is deliberately bad, all of it, and nothing of what is good."""

from __future__ import annotations

import pytest
from audit_cases import BAD, GOOD, LIMITS, MANIFESTS, NOW, bad_names, entry, facts, folder, manifests, named_bad

from g3zkp_maint.audit.check import Check
from g3zkp_maint.audit.facts import Facts
from g3zkp_maint.audit.finding import Severity
from g3zkp_maint.audit.registry import RULES, SCAN, rule
from g3zkp_maint.audit.rights import readers
from g3zkp_maint.errors import BadInput

OF_MANIFESTS = {one.stem for one in MANIFESTS.glob("*.yaml")}
BY_ID = {check.id: check for check in SCAN}


def found(check: Check[Facts], seen: Facts) -> list[str]:
    return [one.object for one in check.findings(seen)]


def test_every_check_has_something_bad_and_something_good() -> None:
    assert {*OF_MANIFESTS, *BAD} == BY_ID.keys()
    assert BAD.keys() == GOOD.keys()
    assert not OF_MANIFESTS & BAD.keys()
    for check in OF_MANIFESTS:
        assert bad_names(check), check
        assert "good-" in (MANIFESTS / f"{check}.yaml").read_text().partition("\n")[2], check


@pytest.mark.parametrize("name", sorted(OF_MANIFESTS))
def test_a_check_of_objects_finds_each_bad_one_and_no_good_one(name: str) -> None:
    objects = found(BY_ID[name], facts(objects=tuple(manifests(name))))
    assert named_bad(objects) == bad_names(name)
    assert not [one for one in objects if "good-" in one]
    assert not [one for one in objects if "bad-" not in one]


@pytest.mark.parametrize(("name", "case"), [(name, case) for name in BAD for case in range(len(BAD[name]))])
def test_a_check_of_other_facts_finds_each_bad_one(name: str, case: int) -> None:
    seen, expected = BAD[name][case]
    assert sorted(found(BY_ID[name], seen)) == sorted(expected)


@pytest.mark.parametrize(("name", "case"), [(name, case) for name in GOOD for case in range(len(GOOD[name]))])
def test_a_check_of_other_facts_finds_no_good_one(name: str, case: int) -> None:
    assert found(BY_ID[name], GOOD[name][case]) == []


def test_a_finding_has_the_words_of_its_rule_and_its_own_evidence() -> None:
    for name in sorted(OF_MANIFESTS):
        for one in BY_ID[name].findings(facts(objects=tuple(manifests(name)))):
            assert (one.check, one.remedy) == (name, rule(name).remedy)
            assert one.evidence.strip()
            assert one.evidence.isprintable()


def test_no_evidence_shows_a_secret() -> None:
    findings = BY_ID["secret-literal"].findings(facts(objects=tuple(manifests("secret-literal"))))
    assert len(findings) == 4
    assert "not-a-real-one" not in str(findings)


def test_what_is_worse_or_milder_than_the_rule_says_so() -> None:
    added = BY_ID["workload-capabilities-added"].findings(
        facts(objects=tuple(manifests("workload-capabilities-added")))
    )
    assert {one.object.split("/")[2]: one.severity for one in added} == {
        "bad-admin": Severity.CRITICAL,
        "bad-chown": Severity.HIGH,
    }
    wide = BY_ID["rbac-wildcard"].findings(facts(objects=tuple(manifests("rbac-wildcard"))))
    assert {one.object for one in wide if one.severity is Severity.CRITICAL} == {
        "Role/g3zkp/bad-everything",
        "ClusterRole/bad-bound-cluster-role",
    }
    (group_alone,) = BY_ID["keys-file-mode"].findings(folder(entry(mode=0o640)))
    assert group_alone.severity is Severity.HIGH


def test_names_of_files_cannot_write_to_a_terminal_or_a_log() -> None:
    (one,) = BY_ID["keys-file-mode"].findings(folder(entry("x\x1b[2J\nfake.json", mode=0o644)))
    assert one.object == r"/data/keys/x\x1b[2J\nfake.json"


def test_pods_of_something_listed_are_not_told_again() -> None:
    deployment = {
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "g3zkp"},
        "spec": {"template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app"}]}}},
    }

    def pod(name: str, owner: str) -> dict[str, object]:
        owners = [{"kind": "ReplicaSet", "name": owner, "controller": True}]
        metadata = {"name": name, "namespace": "g3zkp", "ownerReferences": owners}
        return {"kind": "Pod", "metadata": metadata, "spec": {"containers": [{"name": "app"}]}}

    seen = facts(objects=(deployment, pod("web-7d9f-1", "web-7d9f"), pod("lone-7d9f-1", "lone-7d9f")))
    assert found(BY_ID["workload-limits"], seen) == ["Deployment/g3zkp/web/app", "Pod/g3zkp/lone-7d9f-1/app"]


def test_all_readers_of_the_keys_are_listed_and_it_is_said_who_is_expected() -> None:
    objects = (*manifests("rbac-keys-readers"), *manifests("rbac-keys-reach"))
    listed = {one.subject: one for one in readers(facts(objects=objects))}
    assert listed.keys() == {
        "bad-by-name", "system:serviceaccount:elsewhere:bad-by-list", "bad-by-wildcard", "bad-by-cluster-role",
        "group:bad-everywhere", "bad-exec", "bad-any-exec", "bad-makes-pods", "bad-changes-deployments", "bad-makes-jobs",
        "system:serviceaccount:g3zkp:bad-exec-account", "bad-debugs", "bad-changes-images", "system:serviceaccount:elsewhere:bad-kubelets",
        "system:serviceaccount:g3zkp:worker-backup", "system:serviceaccount:g3zkp-maint:worker-cleanup",
    }  # fmt: skip
    assert {name for name, one in listed.items() if one.is_expected} == {
        "system:serviceaccount:g3zkp:worker-backup",
        "system:serviceaccount:g3zkp-maint:worker-cleanup",
    }
    assert listed["bad-by-name"].ways == ("get secrets (Role/g3zkp/get-the-secret by RoleBinding/g3zkp/by-name)",)


def test_rights_in_another_namespace_are_nobodys_concern() -> None:
    objects = manifests("rbac-keys-readers")
    for one in objects:
        if one["kind"] in ("Role", "RoleBinding"):
            one["metadata"]["namespace"] = "g3zkp-maint"
    assert named_bad(found(BY_ID["rbac-keys-readers"], facts(objects=tuple(objects)))) == {"bad-everywhere"}


def test_ids_are_unique_and_an_unknown_one_is_refused() -> None:
    assert len({one.id for one in RULES}) == len(RULES)
    with pytest.raises(BadInput, match="audit list"):
        rule("no-such-check")


def test_nothing_at_all_is_no_finding_and_no_error() -> None:
    empty = Facts(NOW, ("g3zkp",), limits=LIMITS, objects=(), redis=(), keys=(), accesses=())
    assert [one for check in SCAN for one in check.findings(empty)] == []
