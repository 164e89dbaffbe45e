"""Who may do what: wildcards, who reads the messenger's keys, who can give himself more, what everybody may do."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from g3zkp_maint.audit.check import Check, Found, Rule
from g3zkp_maint.audit.declared import named, of_kind
from g3zkp_maint.audit.facts import Facts, Object
from g3zkp_maint.audit.finding import Severity
from g3zkp_maint.audit.rights import Grant, escalates, grants, in_namespaces, is_one_of, reaches_secret, reads_secret

WaysOf = Callable[[Grant], tuple[str, ...]]

_NEEDS = ("objects",)
_EVERYBODY = ("system:anonymous", "group:system:unauthenticated", "group:system:authenticated")
_ALL = "all verbs on all resources"
_ALL_ACCOUNTS = "group:system:serviceaccounts"
#: Asking what one may do oneself: every cluster allows it to everybody.
_HARMLESS_GROUPS = frozenset({"authorization.k8s.io", "authentication.k8s.io"})


def _wildcard(facts: Facts) -> Iterator[Found]:
    used = {one.role for one in _of_others(facts)}
    for role in of_kind(facts.objects, "Role", "ClusterRole"):
        if role["kind"] == "ClusterRole" and named(role) not in used:
            continue
        wide = [text for rule in role.get("rules") or () if (text := _wide(rule))]
        if wide:
            is_all = _ALL in wide
            yield Found(named(role), _ALL if is_all else wide[0], Severity.CRITICAL if is_all else None)


def _wide(rule: Object) -> str:
    """`list` on all resources is no shell and no change; what it reads is for the check of readers."""
    verbs, resources = rule.get("verbs") or (), rule.get("resources") or ()
    if "*" in verbs and "*" in resources:
        return _ALL
    if "*" in verbs and resources:
        return f"all verbs on {', '.join(resources)}"
    if "*" in resources and set(verbs) != {"list"}:
        return f"{', '.join(verbs)} on all resources and subresources"
    return ""


def _readers(facts: Facts) -> Iterator[Found]:
    expected = (*facts.limits.administrators, *facts.limits.readers)
    for subject, ways in _by_subject(facts, lambda grant: reads_secret(grant, facts.keys_secret)).items():
        if not is_one_of(subject, expected):
            yield Found(f"Secret/{facts.namespaces[0]}/{facts.keys_secret}:{subject}", f"{subject} may {ways}")


def _reachers(facts: Facts) -> Iterator[Found]:
    expected = (*facts.limits.administrators, *facts.limits.commanders)
    for subject, ways in _by_subject(facts, reaches_secret).items():
        if not is_one_of(subject, expected):
            yield Found(f"Secret/{facts.namespaces[0]}/{facts.keys_secret}:{subject}", f"{subject}: {ways}")


def _escalation(facts: Facts) -> Iterator[Found]:
    for grant in _of_others(facts):
        ways = escalates(grant)
        if ways:
            yield Found(f"{grant.binding}:{grant.subject}", f"{grant.subject}: {', '.join(ways)} ({grant.by})")


def _everybody(facts: Facts) -> Iterator[Found]:
    for grant in in_namespaces(grants(facts.objects), facts.namespaces):
        is_everybody = grant.subject in _EVERYBODY or grant.subject.startswith(_ALL_ACCOUNTS)
        given = [rule for rule in grant.rules if _is_of_worth(rule)]
        if is_everybody and given:
            worst = Severity.CRITICAL if grant.subject in _EVERYBODY[:2] else None
            yield Found(f"{grant.binding}:{grant.subject}", f"{grant.subject} has {grant.role}", worst)


def _is_of_worth(rule: Object) -> bool:
    return bool(rule.get("resources")) and not set(rule.get("apiGroups") or ()) <= _HARMLESS_GROUPS


def _of_others(facts: Facts) -> list[Grant]:
    """Grants in these namespaces to whoever does not administer the cluster anyway."""
    found = in_namespaces(grants(facts.objects), facts.namespaces)
    return [one for one in found if not is_one_of(one.subject, facts.limits.administrators)]


def _by_subject(facts: Facts, ways: WaysOf) -> dict[str, str]:
    """In the messenger's namespace: what each subject can do, and by which grant."""
    found: dict[str, dict[str, None]] = {}
    for grant in in_namespaces(grants(facts.objects), facts.namespaces[:1]):
        done = ways(grant)
        if done:
            found.setdefault(grant.subject, {})[f"{', '.join(done)} ({grant.by})"] = None
    return {subject: "; ".join(found[subject]) for subject in sorted(found)}


CHECKS: tuple[Check[Facts], ...] = (
    Check(
        Rule(
            "rbac-wildcard",
            "A role has rights by wildcard",
            Severity.HIGH,
            "Each Role of both namespaces, and each ClusterRole that holds there for anybody but administrators: `*` in "
            "verbs, and in resources with more than `list`.",
            "What it allows grows with the cluster, and holds commands in pods.",
            "Name the resources and verbs that are needed.",
        ),
        _wildcard,
        _NEEDS,
    ),
    Check(
        Rule(
            "rbac-keys-readers",
            "Somebody unexpected may read the messenger's keys",
            Severity.HIGH,
            "Roles, ClusterRoles and what binds them: get, list or watch of the Secret `messenger.keys_secret`. Expected "
            "are `audit.administrators` and `audit.readers`.",
            "The Secret says which keys are in use; whatever else lies in the namespace's Secrets is often read with it.",
            "Take the right away; or name the subject in audit.readers.",
        ),
        _readers,
        _NEEDS,
    ),
    Check(
        Rule(
            "rbac-keys-reach",
            "Somebody unexpected can reach the messenger's keys by a pod",
            Severity.HIGH,
            "As rbac-keys-readers: commands in pods, also by kubelets, and the making and changing of pods. Expected are "
            "`audit.administrators` and `audit.commanders`.",
            "A pod can mount every Secret and every volume of its namespace, private keys included.",
            "Take the right away; or name the subject in audit.commanders.",
        ),
        _reachers,
        _NEEDS,
    ),
    Check(
        Rule(
            "rbac-escalation",
            "Somebody can give himself more rights",
            Severity.HIGH,
            "As rbac-wildcard: escalate, bind, impersonate, tokens of accounts, and the writing of bindings.",
            "Such a right is as good as all others.",
            "Take the right away; or name the subject in audit.administrators.",
        ),
        _escalation,
        _NEEDS,
    ),
    Check(
        Rule(
            "rbac-everybody",
            "Everybody has a right in these namespaces",
            Severity.HIGH,
            "Bindings of system:anonymous, system:unauthenticated, system:authenticated and all service accounts, but for "
            "what every cluster allows them. Critical without authentication.",
            "Whoever reaches the API server, or any pod with a token, has it.",
            "Bind the role to the accounts that need it.",
        ),
        _everybody,
        _NEEDS,
    ),
)
