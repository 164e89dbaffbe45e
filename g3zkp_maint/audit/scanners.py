"""Scanners of others, where they are installed: what each is called with, and what its answer tells.

The formats are those of trivy (SchemaVersion 2), grype, `npm audit` (auditReportVersion 2) and pip-audit, as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from g3zkp_maint.audit.whole import Vulnerability
from g3zkp_maint.errors import ScannerFailed

#: Names of levels by what the scanners say; what none of them ranks is medium.
_LEVELS = {"critical": "critical", "high": "high", "medium": "medium", "moderate": "medium", "low": "low"}
_LEAST = {"negligible": "low", "info": "low"}


@dataclass(frozen=True, slots=True)
class ImageScanner:
    """`argv` with the image's reference as its last word; `read` of its output, for an object."""

    program: str
    argv: tuple[str, ...]
    read: Callable[[str, str], tuple[Vulnerability, ...]]


def read_trivy(text: str, where: str) -> tuple[Vulnerability, ...]:
    """Raises ScannerFailed for what is no such report, as all of these do."""
    return _read("trivy", text, where, _trivy)


def read_grype(text: str, where: str) -> tuple[Vulnerability, ...]:
    return _read("grype", text, where, _grype)


def read_npm(text: str, where: str) -> tuple[Vulnerability, ...]:
    return _read("npm audit", text, where, _npm)


def read_pip(text: str, where: str) -> tuple[Vulnerability, ...]:
    return _read("pip-audit", text, where, _pip)


#: In the order in which they are asked for: the first that is installed scans.
IMAGE_SCANNERS = (
    ImageScanner("trivy", ("trivy", "image", "--quiet", "--scanners", "vuln", "--format", "json"), read_trivy),
    ImageScanner("grype", ("grype", "--quiet", "-o", "json"), read_grype),
)


def _read(
    scanner: str, text: str, where: str, told: Callable[[Any], Iterator[tuple[str, str, str, str, str]]]
) -> tuple[Vulnerability, ...]:
    try:
        rows = list(told(json.loads(text)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ScannerFailed(f"{scanner} told nothing of {where} that can be read ({type(error).__name__})") from error
    found = {
        (known, package, installed): Vulnerability(scanner, where, known, package, installed, fixed, _level(level))
        for known, package, installed, fixed, level in rows
    }
    return tuple(found[key] for key in sorted(found))


def _level(said: str) -> str:
    return _LEVELS.get(said.lower()) or _LEAST.get(said.lower()) or "medium"


def _trivy(report: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str, str]]:
    _ = report["SchemaVersion"]
    for result in report.get("Results") or ():
        for one in result.get("Vulnerabilities") or ():
            fixed = str(one.get("FixedVersion", ""))
            yield one["VulnerabilityID"], one["PkgName"], one["InstalledVersion"], fixed, str(one.get("Severity", ""))


def _grype(report: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str, str]]:
    for match in report["matches"]:
        found, package = match["vulnerability"], match["artifact"]
        fixed = ", ".join((found.get("fix") or {}).get("versions") or ())
        yield found["id"], package["name"], package["version"], fixed, str(found.get("severity", ""))


def _npm(report: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str, str]]:
    for name, one in report["vulnerabilities"].items():
        fix = one.get("fixAvailable")
        fixed = (
            f"{fix['name']} {fix['version']}" if isinstance(fix, dict) else "another version in range" if fix else ""
        )
        # `via` names another package where the fault is in that one, which has an entry of its own.
        for via in one["via"]:
            if isinstance(via, dict):
                known = str(via.get("url", "")).rpartition("/")[2] or str(via["source"])
                yield known, name, str(one.get("range", "")), fixed, str(via.get("severity", one["severity"]))


def _pip(report: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str, str]]:
    for package in report["dependencies"]:
        for one in package.get("vulns") or ():
            # Its database has no levels.
            yield one["id"], package["name"], package["version"], ", ".join(one.get("fix_versions") or ()), "high"
