"""Known vulnerabilities of images and packages, as scanners tell them."""

from __future__ import annotations

from collections.abc import Iterator

from g3zkp_maint.audit.check import Check, Found, Rule
from g3zkp_maint.audit.finding import Severity
from g3zkp_maint.audit.whole import WholeFacts


def _known(facts: WholeFacts) -> Iterator[Found]:
    for one in facts.vulnerabilities or ():
        # Of one that nobody can mend yet the finding is a lesser one: there is nothing to do but to know.
        level = Severity(one.level)
        severity = level if one.fixed or level is Severity.LOW else list(Severity)[level.rank + 1]
        remedy = f"{one.fixed} is without it" if one.fixed else "no version is without it yet"
        evidence = f"{one.package} {one.installed}: {remedy} ({one.level}, by {one.scanner})"
        yield Found(f"{one.object}/{one.package}/{one.id}", evidence, severity)


CHECKS: tuple[Check[WholeFacts], ...] = (
    Check(
        Rule(
            "vulnerability",
            "A known vulnerability",
            Severity.HIGH,
            "Images of both namespaces by trivy or grype, npm packages by `npm audit` in the messenger, our own packages by "
            "pip-audit; each where it is there. As severe as the database says, a step less where no version is without it.",
            "It is public how to use it.",
            "Go to the version that is named; g3zkp-maint dependencies check tells the window that the step needs.",
        ),
        _known,
        ("vulnerabilities",),
    ),
)
