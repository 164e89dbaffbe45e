"""Roles that nobody has, bindings that lead nowhere, Secrets that nothing takes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from g3zkp_maint.audit.check import Check, Found, Rule
from g3zkp_maint.audit.declared import named, of_kind
from g3zkp_maint.audit.finding import Severity
from g3zkp_maint.audit.whole import WholeFacts

_NEEDS = ("objects",)
#: Keys under which there are references to Secrets, by name.
_REFERENCE = re.compile(r"(?i)(secret|secrets|secret(key)?refs?|secretreference|certificaterefs?)$")


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
    for one in facts.secrets or ():
        if not one.is_named and one.name != f"Secret/{facts.namespaces[0]}/{facts.keys_secret}":
            yield Found(one.name, "no object of its namespace names it")


def secrets_named(value: Any) -> Iterator[str]:
    """The names of Secrets that an object holds wherever Kubernetes' kinds, and custom ones that follow them, name any:
    `secretName`, `tlsSecretName`, `secretRef`, `nodePublishSecretRef`, `imagePullSecrets`, `certificateRefs`, …"""
    if isinstance(value, list):
        for one in value:
            yield from secrets_named(one)
    elif isinstance(value, Mapping):
        for key, one in value.items():
            if key.lower().endswith("secretname") and isinstance(one, str):
                yield one
            elif _REFERENCE.search(key):
                yield from _names(one)
            yield from secrets_named(one)


def _names(reference: Any) -> Iterator[str]:
    for one in reference if isinstance(reference, list) else [reference]:
        if isinstance(one, Mapping) and isinstance(one.get("name"), str):
            yield one["name"]


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
            "Names of Secrets of the messenger's namespace, by who may list them, and all objects that name one there.",
            "What nobody uses nobody rotates, and whoever may read Secrets has it.",
            "Delete it, once it is known what it was for.",
        ),
        _untaken,
        ("secrets",),
    ),
)
