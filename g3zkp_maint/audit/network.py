"""Who can reach what: Services that are open to the outside, and pods that no NetworkPolicy closes."""

from __future__ import annotations

from collections.abc import Iterator

from g3zkp_maint.audit.check import Check, Found, Rule
from g3zkp_maint.audit.declared import matches, named, of_kind, workloads
from g3zkp_maint.audit.facts import Facts, Object
from g3zkp_maint.audit.finding import Severity

_NEEDS = ("objects",)
_OUTSIDE = ("NodePort", "LoadBalancer")


def _exposed(facts: Facts) -> Iterator[Found]:
    for one in of_kind(facts.objects, "Service"):
        spec = one["spec"]
        if spec.get("type") in _OUTSIDE:
            ports = ", ".join(_port(port) for port in spec.get("ports") or ())
            yield Found(named(one), f"is a {spec['type']} ({ports})")
        if spec.get("externalIPs"):
            yield Found(named(one), f"has the external addresses {', '.join(spec['externalIPs'])}")


def _uncovered(facts: Facts) -> Iterator[Found]:
    policies = [one for one in of_kind(facts.objects, "NetworkPolicy") if _is_about_ingress(one)]
    for one in workloads(facts.objects):
        about = [policy for policy in policies if policy["metadata"]["namespace"] == one.namespace]
        if not any(matches(policy["spec"].get("podSelector"), one.labels) for policy in about):
            yield Found(
                str(one), "no NetworkPolicy with ingress selects its pods: every pod of the cluster reaches them"
            )


def _open(facts: Facts) -> Iterator[Found]:
    for one in of_kind(facts.objects, "NetworkPolicy"):
        rules = one["spec"].get("ingress") or ()
        if any(not rule.get("from") and not rule.get("ports") for rule in rules):
            yield Found(
                named(one), "has an ingress rule with neither `from` nor `ports`: it admits everybody to every port"
            )


def _is_about_ingress(policy: Object) -> bool:
    """Without policyTypes each policy is."""
    return "Ingress" in (policy["spec"].get("policyTypes") or ("Ingress",))


def _port(port: Object) -> str:
    node = f" at {port['nodePort']} of each node" if port.get("nodePort") else ""
    return f"{port.get('port')}{node}"


CHECKS: tuple[Check[Facts], ...] = (
    Check(
        Rule(
            "service-exposed",
            "A Service is open to the outside",
            Severity.HIGH,
            "Each Service of both namespaces: NodePort, LoadBalancer, externalIPs.",
            "It is reached past the Ingress, and so past its TLS and its rules.",
            "Make it a ClusterIP behind an Ingress, or say in a waiver why it is open.",
        ),
        _exposed,
        _NEEDS,
    ),
    Check(
        Rule(
            "network-uncovered",
            "Pods that no NetworkPolicy closes",
            Severity.HIGH,
            "Each workload of both namespaces: whether a NetworkPolicy with ingress selects its pods.",
            "Every pod of the cluster reaches every port of theirs, Redis's and the messenger's own metrics included.",
            "Deny all ingress in the namespace, and admit who must reach each workload.",
        ),
        _uncovered,
        _NEEDS,
    ),
    Check(
        Rule(
            "network-open",
            "A NetworkPolicy admits everybody",
            Severity.MEDIUM,
            "Each NetworkPolicy of both namespaces: ingress rules without `from` and `ports`.",
            "Its pods count as covered, and are as open as without it.",
            "Name in `from` who may come in, and in `ports` where.",
        ),
        _open,
        _NEEDS,
    ),
)
