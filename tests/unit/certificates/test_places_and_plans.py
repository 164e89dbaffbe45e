"""Where certificates are in a namespace, what is to be renewed, and who is to be restarted."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

from g3zkp_maint.certificates.facts import Facts, Mounter, Place
from g3zkp_maint.certificates.places import places, unseen_hosts
from g3zkp_maint.certificates.plan import first_seen, plan_renewals, plan_restart
from g3zkp_maint.testing.authority import issue, root

ROOT = root()
WORKLOADS = {"messenger": "g3zkp-messenger", "redis": "redis"}


def secret(name: str, *, days: float = 90, annotations: dict[str, str] | None = None) -> dict[str, Any]:
    own = issue("web", by=ROOT, hosts=("g3zkp.example",), days=days)
    data = {"tls.crt": own.pem + ROOT.pem, "tls.key": own.key_pem}
    return {
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": name, "annotations": annotations or {}},
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


def deployment(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "Deployment", "metadata": {"name": name}, "spec": {"template": {"spec": spec}}}


def seen(*objects: dict[str, Any]) -> dict[str, Place]:
    return {one.secret or one.name: one for one in places(objects, "g3zkp", WORKLOADS)}


def test_a_secret_that_an_ingress_names_must_be_for_its_hosts() -> None:
    ingress = {
        "kind": "Ingress",
        "metadata": {"name": "web"},
        "spec": {
            "tls": [
                {"secretName": "web", "hosts": ["g3zkp.example", "b.example"]},
                {"secretName": "gone", "hosts": ["c"]},
            ]
        },
    }
    found = seen(secret("web"), ingress)
    assert found["web"].hosts == ("b.example", "g3zkp.example")
    assert "there is no such Secret" in found["Secret/g3zkp/gone"].problem


def test_hosts_of_an_ingress_for_which_no_secret_is_are_said_to_be_unseen() -> None:
    hosts = ["own.example", "default.example", "plain.example", "asked.example"]
    tls = [{"secretName": "web", "hosts": ["own.example"]}, {"hosts": ["default.example"]}]
    ingress = {
        "kind": "Ingress",
        "metadata": {"name": "web"},
        "spec": {"tls": tls, "rules": [*({"host": host} for host in hosts), {"http": {}}]},
    }
    found = unseen_hosts([ingress, secret("web")], {"asked.example"})
    assert [one.what for one in found] == ["Ingress host default.example", "Ingress host plain.example"]


def test_other_secrets_are_none_of_its_business() -> None:
    assert (
        seen({"kind": "Secret", "type": "Opaque", "metadata": {"name": "g3zkp-keys"}, "data": {"tls.crt": "AA=="}})
        == {}
    )


def test_a_secret_whose_data_is_broken_is_told_and_shows_none_of_it() -> None:
    broken = secret("web")
    broken["data"]["tls.crt"] = "c2VjcmV0IHRleHQ="
    problem = seen(broken)["web"].problem
    assert "no certificate in PEM" in problem
    assert "secret text" not in problem


def test_who_takes_a_secret_into_its_pods_is_known_in_every_way_that_there_is() -> None:
    ways = {
        "volume": {"volumes": [{"secret": {"secretName": "web"}}]},
        "messenger": {"volumes": [{"projected": {"sources": [{"secret": {"name": "web"}}]}}]},
        "env-from": {"containers": [{"envFrom": [{"secretRef": {"name": "web"}}]}]},
        "env": {"initContainers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "web", "key": "tls.crt"}}}]}]},
        "stranger": {"volumes": [{"secret": {"secretName": "other"}}, {"emptyDir": {}}]},
    }
    mounters = seen(secret("web"), *(deployment(name, spec) for name, spec in ways.items()))["web"].mounters
    assert [(one.name, one.workload) for one in mounters] == [
        ("env", None),
        ("env-from", None),
        ("messenger", "g3zkp-messenger"),
        ("volume", None),
    ]


def test_cert_manager_is_known_by_its_certificate_or_its_annotation() -> None:
    certificate = {
        "kind": "Certificate",
        "apiVersion": "cert-manager.io/v1",
        "metadata": {"name": "web-cert"},
        "spec": {"secretName": "web"},
    }
    annotated = secret("other", annotations={"cert-manager.io/certificate-name": "other-cert"})
    found = seen(secret("web"), certificate, annotated)
    assert (found["web"].issuer, found["other"].issuer) == ("web-cert", "other-cert")


def facts(*objects: dict[str, Any]) -> Facts:
    return Facts(datetime.now(UTC), places(objects, "g3zkp", WORKLOADS))


def test_only_what_ends_soon_is_renewed_and_by_hand_where_nobody_can() -> None:
    managed = secret("managed", days=20, annotations={"cert-manager.io/certificate-name": "managed-cert"})
    found = plan_renewals(facts(secret("long"), secret("short", days=20), managed), within_days=30)
    assert [(one.secret, one.certificate) for one in found] == [("managed", "managed-cert"), ("short", "")]
    assert "kubectl create secret tls short" in found[1].reason


def test_one_restart_for_all_that_changed_and_none_for_what_is_seen_first() -> None:
    mounts = deployment("messenger", {"volumes": [{"secret": {"secretName": name}} for name in ("a", "b")]})
    others = deployment("proxy", {"volumes": [{"secret": {"secretName": "a"}}]})
    before = facts(secret("a"), secret("b"), mounts, others)
    known = first_seen(before, {})
    assert set(known) == {"a", "b"}
    assert plan_restart(before, {}).workloads == ()
    assert plan_restart(before, known).secrets == {}
    after = plan_restart(facts(secret("a"), secret("b"), mounts, others), known)
    assert (after.workloads, after.others, set(after.secrets)) == (
        ("g3zkp-messenger",),
        ("Deployment/proxy",),
        {"a", "b"},
    )


def test_who_restarts_by_hand_is_named_until_people_were_told_and_ours_are_not_restarted_for_that() -> None:
    both = deployment("messenger", {"volumes": [{"secret": {"secretName": "a"}}]})
    others = deployment("proxy", {"volumes": [{"secret": {"secretName": "a"}}]})
    known = first_seen(facts(secret("a"), both, others), {})
    renewed = facts(secret("a"), both, others)
    done = dict(plan_restart(renewed, known).secrets)
    untold = plan_restart(renewed, done, known)
    assert (untold.workloads, untold.others) == ((), ("Deployment/proxy",))
    assert plan_restart(renewed, done, done).others == ()


def test_endpoints_restart_nobody() -> None:
    place = places([secret("web")], "g3zkp", WORKLOADS)[0]
    endpoint = Place(
        "g3zkp.example:443", place.chain, mounters=(Mounter("Deployment", "messenger", "g3zkp-messenger"),)
    )
    assert plan_restart(Facts(datetime.now(UTC), (endpoint,)), {}).workloads == ()
