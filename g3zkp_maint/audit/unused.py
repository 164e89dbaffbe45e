"""Roles that nobody has, bindings that lead nowhere, Secrets that nothing takes."""

from __future__ import annotations

from collections.abc import Iterator

from g3zkp_maint.audit.check import Check, Found, Rule
from g3zkp_maint.audit.declared import named, of_kind
from g3zkp_maint.audit.facts import Object
from g3zkp_maint.audit.finding import Severity
from g3zkp_maint.audit.whole import WholeFacts
from g3zkp_maint.certificates.places import secrets_of

_NEEDS = ("objects",)


def _unbound(facts: WholeFacts) -> Iterator[Found]:
    bindings = of_kind(facts.objects, "RoleBinding")
    bound = {
        (one["metadata"]["namespace"], one["roleRef"]["name"]) for one in bindings if one["roleRef"]["kind"] == "Role"
    }
    for role in of_kind(facts.objects, "Role"):
        if (role["metadata"]["namespace"], role["metadata"]["name"]) not in bound:
            yield Found(named(role), "no RoleBinding of its namespace grants it")


def _dangling(facts: WholeFacts) -> Iterator[Found]:
    accounts = {
        (one["metadata"]["namespace"], one["metadata"]["name"]) for one in of_kind(facts.objects, "ServiceAccount")
    }
    for binding in of_kind(facts.objects, "RoleBinding"):
        own = str(binding["metadata"]["namespace"])
        for subject in binding.get("subjects") or ():
            place = str(subject.get("namespace") or own)
            # Of other namespaces nothing was looked at.
            if (
                subject["kind"] == "ServiceAccount"
                and place in facts.namespaces
                and (place, subject["name"]) not in accounts
            ):
                yield Found(
                    named(binding), f"grants its role to ServiceAccount {place}/{subject['name']}, which is not there"
                )


def _untaken(facts: WholeFacts) -> Iterator[Found]:
    taken = {place for one in facts.objects or () for place in _taken_by(one)}
    taken.add(f"Secret/{facts.namespaces[0]}/{facts.keys_secret}")
    for name in facts.secrets or ():
        if name not in taken:
            yield Found(name, "no workload, Ingress or ServiceAccount of its namespace names it")


def _taken_by(one: Object) -> Iterator[str]:
    """The Secrets that an object names: in its pods, for pulling their images, for TLS."""
    spec = one.get("spec") or {}
    maker = (spec.get("jobTemplate") or {}).get("spec") or spec
    pod = (maker.get("template") or {}).get("spec") or spec
    names = [*secrets_of({"spec": {"template": {"spec": pod}}})]
    named = (one.get("imagePullSecrets"), pod.get("imagePullSecrets"), one.get("secrets"))
    names += [str(each.get("name", "")) for group in named for each in group or ()]
    names += [str(each.get("secretName", "")) for each in spec.get("tls") or ()]
    return (f"Secret/{one['metadata'].get('namespace')}/{name}" for name in names)


CHECKS: tuple[Check[WholeFacts], ...] = (
    Check(
        Rule(
            "rbac-unused-role",
            "A Role is granted to nobody",
            Severity.LOW,
            "Roles and RoleBindings of both namespaces.",
            "Rights that wait for a binding: whoever may bind has them at hand.",
            "Delete the Role, or bind it.",
        ),
        _unbound,
        _NEEDS,
    ),
    Check(
        Rule(
            "rbac-unused-binding",
            "A RoleBinding names an account that is not there",
            Severity.MEDIUM,
            "RoleBindings of both namespaces, and the ServiceAccounts that they name in them.",
            "Whoever may make that account has its rights.",
            "Delete the binding, or make the account.",
        ),
        _dangling,
        _NEEDS,
    ),
    Check(
        Rule(
            "secret-unused",
            "A Secret is used by nothing",
            Severity.LOW,
            "Names of Secrets of the messenger's namespace, by who may list them, and all that names one there.",
            "What nobody uses nobody rotates, and whoever may read Secrets has it.",
            "Delete it, once it is known what it was for.",
        ),
        _untaken,
        ("objects", "secrets"),
    ),
)
