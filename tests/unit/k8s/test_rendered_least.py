"""The monthly audit's least rights are those of k8s/ as it is now, and it finds nothing in what k8s/ grants."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from importlib import resources

from rendered_parts import K8S, Overlays, name_of

from g3zkp_maint.audit.least import CHECKS
from g3zkp_maint.audit.whole import WholeFacts
from g3zkp_maint.testing.least_rights import text
from g3zkp_maint.testing.rendered import Object, moved, of_kind

NOW = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)


def found(objects: list[Object], messenger: str = "g3zkp", fleets: str = "g3zkp-maint") -> list[tuple[str, str]]:
    seen = WholeFacts(NOW, (messenger, fleets), objects=tuple(objects))
    return [(one.check, one.object) for check in CHECKS for one in check.findings(seen)]


def test_the_least_is_what_k8s_grants(overlays: Overlays) -> None:
    written = (resources.files("g3zkp_maint.audit") / "least_rights.yaml").read_text(encoding="utf-8")
    assert overlays
    assert written == text(K8S), "run 'make rights'"


def test_nothing_is_found_in_any_overlay_with_any_component(objects: list[Object]) -> None:
    assert found(objects) == []


def test_nothing_is_found_where_the_namespaces_are_others(objects: list[Object]) -> None:
    elsewhere = moved(objects, {"g3zkp": "chat", "g3zkp-maint": "care"})
    assert found(elsewhere, "chat", "care") == []


def test_a_wildcard_in_any_role_is_found(objects: list[Object]) -> None:
    for role in of_kind(objects, "Role", "ClusterRole"):
        changed = copy.deepcopy(objects)
        (wide,) = [one for one in changed if (one["kind"], name_of(one)) == (role["kind"], name_of(role))]
        wide["rules"].append({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]})
        told = found(changed)
        assert told
        assert {check for check, _ in told} == {"fleet-too-much"}
        assert all(what.endswith(":*.*") and f"/{name_of(role)}:" in what for _, what in told)


def test_each_role_of_the_base_is_missed(overlays: Overlays) -> None:
    production = overlays["production"]
    for role in of_kind(production, "Role"):
        told = found([one for one in production if one is not role])
        assert told
        assert {check for check, _ in told} == {"fleet-too-little"}
        assert all(what.endswith(f":{name_of(role)}") for _, what in told)
