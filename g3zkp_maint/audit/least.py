"""The rights of each fleet against the least that it needs (least_rights.py): too much, and too little."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from g3zkp_maint.audit.check import Check, Found, Rule
from g3zkp_maint.audit.declared import named, of_kind
from g3zkp_maint.audit.facts import Object
from g3zkp_maint.audit.finding import Severity
from g3zkp_maint.audit.least_rights import Fleet, Right, fleets, is_covered, rights, told
from g3zkp_maint.audit.rights import Grant, grants, unresolved
from g3zkp_maint.audit.whole import WholeFacts

_NEEDS = ("objects",)
#: What every cluster grants everybody, or all accounts.
_EVERYBODYS = frozenset(
    f"ClusterRole/system:{name}"
    for name in ("discovery", "basic-user", "public-info-viewer", "service-account-issuer-discovery")
)


def _too_much(facts: WholeFacts) -> Iterator[Found]:
    seen = _roles(facts.objects)
    known = fleets(facts.namespaces, facts.names)
    for grant in _held(facts.objects):
        concerned = [one for one in known if grant.subject in one.subjects]
        if not concerned or grant.role in _EVERYBODYS:
            continue
        what = f"{grant.binding}:{grant.subject}"
        if grant.role not in seen:
            yield Found(what, f"{_names(concerned)}: whatever {grant.role} allows, which was not seen ({grant.by})")
            continue
        more = {one.name: _beyond(grant, one) for one in concerned}
        who = _names(one for one in concerned if more[one.name])
        for suffix, excess in _findings(grant, concerned, dict.fromkeys(chain.from_iterable(more.values()))):
            yield Found(f"{what}{suffix}", f"{who} may {told(excess)} ({grant.by})")


def _findings(grant: Grant, concerned: Iterable[Fleet], excess: Iterable[Right]) -> Iterator[tuple[str, list[Right]]]:
    """One for a role that is none of k8s/; for one that is, one for each resource: a waiver of what was added to it on
    purpose is to hide nothing that is added later."""
    is_ours = any(grant.role == own.role for one in concerned for own in one.allowed)
    parts: dict[str, list[Right]] = {}
    for right in excess:
        parts.setdefault(f":{right.what}" if is_ours else "", []).append(right)
    yield from parts.items()


def _too_little(facts: WholeFacts) -> Iterator[Found]:
    roles, held = _roles(facts.objects), _held(facts.objects)
    accounts = {named(one) for one in of_kind(facts.objects, "ServiceAccount")}
    # Each namespace has one at least: of one without it nothing was seen.
    places = {one.split("/")[1] for one in accounts}
    for fleet in fleets(facts.namespaces, facts.names):
        if fleet.namespace not in places or not fleet.needed:
            continue
        if str(fleet) not in accounts:
            yield Found(str(fleet), "is not there, and so are none of its rights")
            continue
        own = [one for one in held if one.subject in fleet.subjects]
        if all(one.role in roles for one in own):
            yield from _lacking(facts, fleet, own)


def _lacking(facts: WholeFacts, fleet: Fleet, held: list[Grant]) -> Iterator[Found]:
    unseen = {one.what for one in facts.unseen if one.part in _NEEDS}
    for need in fleet.needed:
        if unseen & {f"{kind} in {need.namespace}" for kind in ("roles", "rolebindings")}:
            continue
        lacking = [right for right in rights(need) if not is_covered(right, held)]
        if lacking:
            name = need.role.rpartition("/")[2]
            yield Found(f"{fleet}:{name}", f"{fleet.name} may not {told(lacking)}, as by {need.role} of k8s/base")


def _beyond(grant: Grant, fleet: Fleet) -> list[Right]:
    return [right for right in rights(grant) if not is_covered(right, fleet.allowed)]


def _held(objects: Iterable[Object] | None) -> list[Grant]:
    """All grants; those of a ClusterRole that was not seen without its rules."""
    found = list(objects or ())
    unseen = {role for _, role in unresolved(found) if role.startswith("ClusterRole/")}
    stand_ins = [{"kind": "ClusterRole", "metadata": {"name": role.partition("/")[2]}} for role in sorted(unseen)]
    return grants([*found, *stand_ins])


def _roles(objects: Iterable[Object] | None) -> set[str]:
    return {named(one) for one in of_kind(objects, "Role", "ClusterRole")}


def _names(found: Iterable[Fleet]) -> str:
    return ", ".join(one.name for one in found)


CHECKS: tuple[Check[WholeFacts], ...] = (
    Check(
        Rule(
            "fleet-too-much",
            "A fleet has a right that it does not need",
            Severity.HIGH,
            "What each fleet's account is granted, by itself or by a group that it is in, against what k8s/base and the "
            "components of k8s/components grant it.",
            "Whoever gets into the fleet's pods has that right.",
            "Take the right away; where an overlay grants it on purpose, waive it with the reason.",
        ),
        _too_much,
        _NEEDS,
    ),
    Check(
        Rule(
            "fleet-too-little",
            "A fleet lacks a right that it needs",
            Severity.MEDIUM,
            "What k8s/base grants each fleet's account, against what is granted to it, by itself or by a group that it is in.",
            "Its work fails when it is needed: a backup, a rotation, a restore.",
            "Apply k8s/base anew; where a Role is left out on purpose (maintenance-restore-objects), waive it with the reason.",
        ),
        _too_little,
        _NEEDS,
    ),
)
