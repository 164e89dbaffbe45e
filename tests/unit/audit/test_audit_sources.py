"""What is told to lack where a cluster could not be seen whole."""

from __future__ import annotations

from typing import Any

from audit_cases import facts

from g3zkp_maint.audit.registry import SCAN
from g3zkp_maint.audit.sources import objects
from g3zkp_maint.platforms.inspection import Inspected

NAMESPACES = ("g3zkp", "g3zkp-maint")


class Listed:
    """An inspection of what is written down here."""

    def __init__(self, *found: dict[str, Any], refused: tuple[tuple[str, str], ...] = ()) -> None:
        self._inspected = Inspected(found, refused)

    def look(self) -> Inspected:
        return self._inspected


def account(namespace: str) -> dict[str, Any]:
    return {"kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace}}


def bound(role: str, subject: str) -> dict[str, Any]:
    return {
        "kind": "RoleBinding",
        "metadata": {"name": f"binds-{role}", "namespace": "g3zkp"},
        "roleRef": {"kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "User", "name": subject}],
    }


def test_a_namespace_that_is_not_there_is_told_and_one_that_may_not_be_listed_once() -> None:
    seen = objects(Listed(account("g3zkp")), NAMESPACES, in_cluster=True)
    assert [(what, is_meant) for what, _, is_meant in seen.lacks] == [("namespace g3zkp-maint", False)]
    refused = (("serviceaccounts in g3zkp-maint", "may not"),)
    seen = objects(Listed(account("g3zkp"), refused=refused), NAMESPACES, in_cluster=True)
    assert [(what, is_meant) for what, _, is_meant in seen.lacks] == [("serviceaccounts in g3zkp-maint", False)]


def test_of_cluster_roles_that_were_not_seen_those_of_every_cluster_are_known_and_others_are_told() -> None:
    here = [account(one) for one in NAMESPACES]
    listed = Listed(*here, bound("edit", "editor"), bound("view", "viewer"), bound("ours", "somebody"))
    seen = objects(listed, NAMESPACES, in_cluster=False)
    assert [(what, is_meant) for what, _, is_meant in seen.lacks] == [
        ("rights in the whole cluster", True),
        ("ClusterRole/ours", True),
    ]
    (readers,) = [check for check in SCAN if check.id == "rbac-keys-readers"]
    assert [one.object for one in readers.findings(facts(objects=seen.value))] == ["Secret/g3zkp/g3zkp-keys:editor"]
