"""Who may do what in a namespace, by Roles and ClusterRoles and what binds them. Pure.

Rights that come otherwise (the Node authorizer, an API server's other authorizers) are in no object, and not seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from g3zkp_maint.audit.declared import named, of_kind
from g3zkp_maint.audit.facts import Facts, Object

#: With a pod of one's own making one mounts any Secret of its namespace.
_MAKES_PODS = {
    "": ("pods", "replicationcontrollers"),
    "apps": ("deployments", "statefulsets", "daemonsets", "replicasets"),
    "batch": ("jobs", "cronjobs"),
}
#: What lets one run something in a pod that has it already.
_COMMANDS = (
    ("pods/exec", ("create", "get"), "runs commands in pods"),
    ("pods/attach", ("create", "get"), "attaches to pods"),
    ("pods/ephemeralcontainers", ("update", "patch"), "adds containers to pods"),
    ("nodes/proxy", ("create", "get"), "speaks to kubelets"),
)
_ADMINISTERS: tuple[Object, ...] = ({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},)
_EDITS: tuple[Object, ...] = (
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch", "create", "update", "patch"]},
    {
        "apiGroups": [""],
        "resources": ["pods", "pods/exec", "pods/attach"],
        "verbs": ["get", "create", "update", "patch"],
    },
    {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]},
    {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": ["create", "update", "patch"]},
)
_BINDS: Object = {
    "apiGroups": ["rbac.authorization.k8s.io"],
    "resources": ["rolebindings"],
    "verbs": ["create", "update"],
}
#: What matters here of the roles that every cluster has, for who may not list ClusterRoles.
_BUILT_IN: dict[str, tuple[Object, ...]] = {
    "ClusterRole/cluster-admin": _ADMINISTERS,
    "ClusterRole/admin": (*_EDITS, _BINDS),
    "ClusterRole/edit": _EDITS,
    "ClusterRole/view": (),
}


@dataclass(frozen=True, slots=True)
class Grant:
    """A subject, what it was granted by which role and binding, and where: `namespace` None is everywhere."""

    subject: str
    role: str
    binding: str
    namespace: str | None
    rules: tuple[Object, ...]

    @property
    def by(self) -> str:
        return f"{self.role} by {self.binding}"


def grants(objects: Iterable[Object] | None) -> list[Grant]:
    """Of all bindings whose role is among the objects, or in every cluster."""
    found = list(objects or ())
    roles = _BUILT_IN | {named(one): tuple(one.get("rules") or ()) for one in of_kind(found, "Role", "ClusterRole")}
    return [
        Grant(subject, role, named(binding), binding["metadata"].get("namespace"), roles[role])
        for binding in of_kind(found, "RoleBinding", "ClusterRoleBinding")
        if (role := _role(binding)) in roles
        for subject in _subjects(binding)
    ]


def unresolved(objects: Iterable[Object] | None) -> list[tuple[str, str]]:
    """Bindings of whose role nothing is known, and that role."""
    found = list(objects or ())
    there = _BUILT_IN.keys() | {named(one) for one in of_kind(found, "Role", "ClusterRole")}
    bindings = of_kind(found, "RoleBinding", "ClusterRoleBinding")
    return [(named(one), role) for one in bindings if (role := _role(one)) not in there]


def is_one_of(subject: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(subject, pattern) for pattern in patterns)


def allows(rule: Object, group: str, resource: str, verbs: Iterable[str], name: str | None = None) -> tuple[str, ...]:
    """Which of `verbs` a rule allows on that resource (`pods/exec` for a subresource), on the object `name` if given."""
    names = rule.get("resourceNames") or ()
    if name is not None and names and name not in names:
        return ()
    if not _has(rule, "apiGroups", group) or not _has_resource(rule, resource):
        return ()
    granted = rule.get("verbs") or ()
    return tuple(verb for verb in verbs if verb in granted or "*" in granted)


def reads_secret(grant: Grant, name: str) -> tuple[str, ...]:
    """The verbs by which Secret `name` is read directly."""
    verbs = [verb for rule in grant.rules for verb in allows(rule, "", "secrets", ("get", "list", "watch"), name)]
    return tuple(dict.fromkeys(verbs))


def reaches_secret(grant: Grant) -> tuple[str, ...]:
    """What it may do that leads to any Secret of the namespace: run commands in pods that have it, or make such pods."""
    ways: dict[str, None] = {}
    for rule in grant.rules:
        # Names of objects that are made are not known to the server when it decides: such a rule creates nothing.
        for resource, verbs, way in _COMMANDS:
            # Nodes are of no namespace: a right to them that is granted in one is none.
            if allows(rule, "", resource, verbs) and (grant.namespace is None or not resource.startswith("nodes")):
                ways[way] = None
        for group, resources in _MAKES_PODS.items():
            for resource in resources:
                if not rule.get("resourceNames") and allows(rule, group, resource, ("create",)):
                    ways[f"creates {resource}"] = None
                # Of a pod that is there the image can be changed: it runs with what it has mounted.
                elif allows(rule, group, resource, ("update", "patch")):
                    ways[f"changes {resource}"] = None
    return tuple(ways)


def escalates(grant: Grant) -> tuple[str, ...]:
    """What it may do that gives it more rights than it was granted."""
    ways: dict[str, None] = {}
    for rule in grant.rules:
        for resource in ("roles", "clusterroles"):
            if allows(rule, "rbac.authorization.k8s.io", resource, ("escalate", "bind")):
                ways[f"escalates or binds {resource}"] = None
        for resource in ("rolebindings", "clusterrolebindings"):
            if allows(rule, "rbac.authorization.k8s.io", resource, ("create", "update", "patch")):
                ways[f"writes {resource}"] = None
        for resource in ("users", "groups", "serviceaccounts"):
            if allows(rule, "", resource, ("impersonate",)):
                ways[f"impersonates {resource}"] = None
        if allows(rule, "", "serviceaccounts/token", ("create",)):
            ways["makes tokens of serviceaccounts"] = None
    return tuple(ways)


def in_namespaces(found: Iterable[Grant], namespaces: Sequence[str]) -> Iterator[Grant]:
    """Those that hold in one of them."""
    return (one for one in found if one.namespace is None or one.namespace in namespaces)


@dataclass(frozen=True, slots=True)
class Reader:
    """A subject that can read the messenger's keys in their Secret, directly or not; `is_expected` by the settings."""

    subject: str
    ways: tuple[str, ...]
    is_expected: bool


def readers(facts: Facts) -> tuple[Reader, ...]:
    """All that can read the Secret with the messenger's keys, by name of the subject."""
    ways: dict[str, dict[str, None]] = {}
    for grant in in_namespaces(grants(facts.objects), facts.namespaces[:1]):
        direct = reads_secret(grant, facts.keys_secret)
        for way in (*((f"{'/'.join(direct)} secrets",) if direct else ()), *reaches_secret(grant)):
            ways.setdefault(grant.subject, {})[f"{way} ({grant.by})"] = None
    limits = facts.limits
    expected = (*limits.administrators, *limits.readers, *limits.commanders)
    return tuple(Reader(name, tuple(ways[name]), is_one_of(name, expected)) for name in sorted(ways))


def _role(binding: Object) -> str:
    reference = binding["roleRef"]
    place = f"{binding['metadata'].get('namespace')}/" if reference["kind"] == "Role" else ""
    return f"{reference['kind']}/{place}{reference['name']}"


def _subjects(binding: Object) -> Iterator[str]:
    for one in binding.get("subjects") or ():
        if one["kind"] == "ServiceAccount":
            place = one.get("namespace") or binding["metadata"].get("namespace", "")
            yield f"system:serviceaccount:{place}:{one['name']}"
        else:
            yield f"group:{one['name']}" if one["kind"] == "Group" else str(one["name"])


def _has(rule: Object, field: str, wanted: str) -> bool:
    values = rule.get(field) or ()
    return wanted in values or "*" in values


def _has_resource(rule: Object, resource: str) -> bool:
    """`*` is every resource with its subresources, `*/exec` the exec of each; `pods/*` means nothing to the server."""
    values = rule.get("resources") or ()
    _, _, sub = resource.partition("/")
    return resource in values or "*" in values or (bool(sub) and f"*/{sub}" in values)
