"""Secrets where they are seen: in manifests, and in the environment of processes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from g3zkp_maint.audit.check import Check, Found, Rule
from g3zkp_maint.audit.declared import containers
from g3zkp_maint.audit.facts import Facts
from g3zkp_maint.audit.finding import Severity
from g3zkp_maint.scrubbing import scrub_text

_NEEDS = ("objects",)
_NAMED = re.compile(
    r"(?:^|_)(?:PASSWORDS?|PASSWD|PASSPHRASE|SECRET|TOKEN|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|CREDENTIALS?|AUTH)(?:$|_)",
    re.IGNORECASE,
)
#: Where a secret is, how long it lasts, whether there is one: no secret themselves.
_ABOUT = re.compile(r"_(?:FILE|PATH|DIR|NAME|URL|SECONDS|HOURS|DAYS|TTL|ENABLED|ID)$", re.IGNORECASE)
_PLAIN = re.compile(r"|/.*|\$\([A-Za-z0-9_.-]+\)|true|false|yes|no|none|[0-9.]+", re.IGNORECASE)
_PASSWORD_OPTIONS = ("--requirepass", "--masterauth", "--password", "--pass", "--token")


def _literal(facts: Facts) -> Iterator[Found]:
    for one in containers(facts.objects):
        for variable in one.spec.get("env") or ():
            value = str(variable.get("value") or "")
            if _is_secret(str(variable["name"]), value):
                yield Found(f"{one}/{variable['name']}", f"variable {variable['name']} has its value in the manifest")
        for place, option in _told([*(one.spec.get("command") or ()), *(one.spec.get("args") or ())]):
            yield Found(f"{one}/argument-{place}", f"the argument after {option} has its value in the manifest")


def _referred(facts: Facts) -> Iterator[Found]:
    for one in containers(facts.objects):
        names = [
            str(variable["name"])
            for variable in one.spec.get("env") or ()
            if "secretKeyRef" in (variable.get("valueFrom") or {})
        ]
        whole = [
            str(source["secretRef"].get("name")) for source in one.spec.get("envFrom") or () if "secretRef" in source
        ]
        if names or whole:
            told = [", ".join(names)] if names else []
            told += [f"all of Secret {name}" for name in whole]
            yield Found(str(one), f"has secrets in its environment: {'; '.join(told)}")


def _is_secret(name: str, value: str) -> bool:
    """By the variable's name; or by a value that holds the credentials of a URL or a private key, whatever its name."""
    if scrub_text(value) != value:
        return True
    return bool(_NAMED.search(name)) and not _ABOUT.search(name) and not _PLAIN.fullmatch(value)


def _told(arguments: list[str]) -> Iterator[tuple[int, str]]:
    """Which arguments are secrets, by their place, and after what they stand."""
    before = ""
    for place, one in enumerate(map(str, arguments)):
        option, is_joined, value = one.partition("=")
        if is_joined and option in _PASSWORD_OPTIONS and not _PLAIN.fullmatch(value):
            yield place, option
        elif before in _PASSWORD_OPTIONS and not _PLAIN.fullmatch(one):
            yield place, before
        elif scrub_text(one) != one:
            yield place, before or "the command"
        before = one


CHECKS: tuple[Check[Facts], ...] = (
    Check(
        Rule(
            "secret-literal",
            "A secret stands in a manifest",
            Severity.HIGH,
            "Each container of both namespaces: variables whose name or value is that of a secret, and arguments after "
            "options for passwords. References to Secrets are none.",
            "Whoever may list workloads reads it, and it lies in each backup and repository that has the manifest.",
            "Put it into a Secret, mount that as a file, and take another value: this one is known.",
        ),
        _literal,
        _NEEDS,
    ),
    Check(
        Rule(
            "secret-in-environment",
            "A secret is in the environment of a process",
            Severity.LOW,
            "Each container of both namespaces: secretKeyRef and secretRef.",
            "The environment is inherited by every program that it starts, and lands in dumps and in error reports.",
            "Mount the Secret as a file, and name the file.",
        ),
        _referred,
        _NEEDS,
    ),
)
