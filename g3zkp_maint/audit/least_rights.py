"""The least rights with which each fleet can do its work: those that k8s/base grants, and what the components of
k8s/components add. Pure.

They are read from `least_rights.yaml`, which `make rights` makes of k8s/: what is granted there is what is compared with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from itertools import product
from typing import Any

import yaml

from g3zkp_maint.audit.facts import Object
from g3zkp_maint.audit.rights import Grant, allows
from g3zkp_maint.settings import Settings
from g3zkp_maint.settings.platform import Kubernetes, Messenger

#: Namespaces in the file: that of the messenger, and that of the fleets.
MESSENGER, FLEETS = "messenger", "fleets"


@dataclass(frozen=True, slots=True)
class Right:
    """A verb on a resource (`pods/exec` for a subresource; a path for one of the API server's own) of an API group, in a
    namespace, None being everywhere. `name` None is any object; `*` is all there are."""

    namespace: str | None
    group: str
    resource: str
    verb: str
    name: str | None = None

    @property
    def what(self) -> str:
        """As kubectl writes it: `deployments.apps/scale`."""
        whole, _, sub = self.resource.partition("/")
        if not whole:
            return self.resource
        return f"{whole}{'.' if self.group else ''}{self.group}{'/' if sub else ''}{sub}"


@dataclass(frozen=True, slots=True)
class Fleet:
    """An account, what it needs, and all that it may have: that, and what optional components add."""

    namespace: str
    name: str
    needed: tuple[Grant, ...]
    allowed: tuple[Grant, ...]

    def __str__(self) -> str:
        return f"ServiceAccount/{self.namespace}/{self.name}"

    @property
    def subjects(self) -> frozenset[str]:
        """As whom it is granted something: itself, and the groups that it is in."""
        accounts = "group:system:serviceaccounts"
        groups = {accounts, f"{accounts}:{self.namespace}", "group:system:authenticated"}
        return frozenset({_subject(self.namespace, self.name), *groups})


def fleets(namespaces: Sequence[str], names: Mapping[str, str]) -> list[Fleet]:
    """`namespaces`: the messenger's first, that of the fleets last. `names`: see names_here."""
    places = {MESSENGER: namespaces[0], FLEETS: namespaces[-1], None: None}
    return [_fleet(account, entries, places, names) for account, entries in _document().items()]


def names_here(settings: Settings) -> dict[str, str]:
    """What this installation calls the objects that Roles name: by the names in k8s/, which are those of the settings'
    defaults."""
    there, here = Kubernetes(), settings.platform.kubernetes
    return {
        there.messenger: here.messenger,
        there.redis: here.redis,
        f"{there.redis}-0": f"{here.redis}-0",
        there.service: here.service,
        Messenger().keys_secret: settings.messenger.keys_secret,
    }


def rights(grant: Grant) -> Iterator[Right]:
    """Each one by itself."""
    for rule in grant.rules:
        verbs, names = rule.get("verbs") or (), rule.get("resourceNames") or (None,)
        for group, resource, verb, name in product(
            rule.get("apiGroups") or (), rule.get("resources") or (), verbs, names
        ):
            yield Right(grant.namespace, group, resource, verb, name)
        for path, verb in product(_paths(rule), verbs):
            yield Right(grant.namespace, "", path, verb)


def is_covered(right: Right, by: Iterable[Grant]) -> bool:
    """Whether one of the grants allows all of it: a right to everything is covered by such a right alone."""
    return any(
        _allows(rule, right) for grant in by if grant.namespace in (None, right.namespace) for rule in grant.rules
    )


def told(found: Iterable[Right]) -> str:
    """For people: `list, delete pods, jobs.batch in g3zkp; …`."""
    verbs: dict[tuple[str | None, str | None, str], dict[str, None]] = {}
    for right in found:
        verbs.setdefault((right.namespace, right.name, right.what), {})[right.verb] = None
    whats: dict[tuple[str | None, str | None, str], list[str]] = {}
    for (namespace, name, what), done in verbs.items():
        whats.setdefault((namespace, name, ", ".join(done)), []).append(what)
    return "; ".join(
        f"{done} {', '.join(what)}{f' named {name}' if name else ''} in {namespace or 'the whole cluster'}"
        for (namespace, name, done), what in whats.items()
    )


def _allows(rule: Object, right: Right) -> bool:
    if right.resource.startswith("/"):
        verbs = rule.get("verbs") or ()
        return (right.verb in verbs or "*" in verbs) and any(fnmatchcase(right.resource, one) for one in _paths(rule))
    if right.name is None and rule.get("resourceNames"):
        return False
    return bool(allows(rule, right.group, right.resource, (right.verb,), right.name))


def _paths(rule: Object) -> list[str]:
    return ["/*" if one == "*" else one for one in rule.get("nonResourceURLs") or ()]


def _fleet(
    account: str, entries: Iterable[Object], places: Mapping[str | None, str | None], names: Mapping[str, str]
) -> Fleet:
    place, _, name = account.partition("/")
    namespace = str(places[place])
    granted = [(entry["is_needed"], _grant(_subject(namespace, name), entry, places, names)) for entry in entries]
    needed = tuple(grant for is_needed, grant in granted if is_needed)
    return Fleet(namespace, name, needed, tuple(grant for _, grant in granted))


def _grant(subject: str, entry: Object, places: Mapping[str | None, str | None], names: Mapping[str, str]) -> Grant:
    namespace = places[entry["in"]]
    kind, _, name = entry["role"].partition("/")
    role = f"{kind}/{namespace}/{name}" if kind == "Role" else f"{kind}/{name}"
    return Grant(subject, role, "k8s/", namespace, tuple(_renamed(rule, names) for rule in entry["rules"]))


def _renamed(rule: Object, names: Mapping[str, str]) -> Object:
    return {**rule, "resourceNames": [names.get(one, one) for one in rule.get("resourceNames") or ()]}


def _subject(namespace: str, name: str) -> str:
    return f"system:serviceaccount:{namespace}:{name}"


@cache
def _document() -> dict[str, list[dict[str, Any]]]:
    """By account, the Roles that it has in k8s/."""
    text = (resources.files(__package__) / "least_rights.yaml").read_text(encoding="utf-8")
    found: dict[str, list[dict[str, Any]]] = yaml.safe_load(text)
    return found
