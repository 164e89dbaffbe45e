"""The monthly audit's own checks, and what scanners of others tell it."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from audit_cases import LIMITS, NOW

from g3zkp_maint.audit import integrity, least, scanners, unused, vulnerabilities
from g3zkp_maint.audit.check import Check
from g3zkp_maint.audit.facts import Facts
from g3zkp_maint.audit.finding import Severity
from g3zkp_maint.audit.gathering import OF_WHOLE, PARTS
from g3zkp_maint.audit.registry import AUDIT, SCAN
from g3zkp_maint.audit.thorough import secret_names
from g3zkp_maint.audit.thorough import vulnerabilities as scanned
from g3zkp_maint.audit.whole import (
    JournalChain,
    NamedSecret,
    RestorableObject,
    VerifiedBackup,
    Vulnerability,
    WholeFacts,
)
from g3zkp_maint.errors import ScannerFailed
from g3zkp_maint.platforms.base import Platform

OWN = (*integrity.CHECKS, *unused.CHECKS, *vulnerabilities.CHECKS)


def facts(**parts: Any) -> WholeFacts:
    return WholeFacts(NOW, ("g3zkp", "g3zkp-maint"), limits=LIMITS, **parts)


def role(name: str) -> dict[str, Any]:
    return {"kind": "Role", "metadata": {"name": name, "namespace": "g3zkp"}, "rules": []}


def binding(name: str, of: str, account: str, *, place: str | None = None) -> dict[str, Any]:
    subject = {"kind": "ServiceAccount", "name": account} | ({"namespace": place} if place else {})
    reference = {"kind": "Role", "name": of}
    return {
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": "g3zkp"},
        "roleRef": reference,
        "subjects": [subject],
    }


ACCOUNT = {"kind": "ServiceAccount", "metadata": {"name": "web", "namespace": "g3zkp"}}
RESTORABLE = [
    RestorableObject("g3zkp_full_1", "ConfigMap/g3zkp/a", outcome, "data.x") for outcome in ("same", "changed")
]
KNOWN = Vulnerability("trivy", "Image/redis:7", "CVE-1", "openssl", "3.0.1", "3.0.2", "critical")

#: As a server lists them, each way in which a Secret can be named, and what it names.
TAKERS: dict[str, dict[str, Any]] = {
    "tls": {"kind": "Ingress", "spec": {"tls": [{"hosts": ["a.example"], "secretName": "tls"}]}},
    "pull": ACCOUNT | {"imagePullSecrets": [{"name": "pull"}]},
    "token": ACCOUNT | {"secrets": [{"name": "token"}]},
    "env": {"spec": {"template": {"spec": {"containers": [{"envFrom": [{"secretRef": {"name": "env"}}]}]}}}},
    "key": {"spec": {"containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "key", "key": "a"}}}]}]}},
    "job": {
        "spec": {"jobTemplate": {"spec": {"template": {"spec": {"volumes": [{"secret": {"secretName": "job"}}]}}}}}
    },
    "part": {"spec": {"volumes": [{"projected": {"sources": [{"secret": {"name": "part"}}]}}]}},
    "csi": {"spec": {"volumes": [{"csi": {"nodePublishSecretRef": {"name": "csi"}}}]}},
    "azure": {"spec": {"volumes": [{"azureFile": {"secretName": "azure", "shareName": "s"}}]}},
    "ceph": {"spec": {"volumes": [{"cephfs": {"monitors": ["m"], "secretRef": {"name": "ceph"}}}]}},
    "issued": {"kind": "Certificate", "spec": {"secretName": "issued"}},
    "account": {"kind": "Issuer", "spec": {"acme": {"privateKeySecretRef": {"name": "account"}}}},
    "gateway": {"kind": "Gateway", "spec": {"listeners": [{"tls": {"certificateRefs": [{"name": "gateway"}]}}]}},
}


class Namespace:
    """What a platform lists of one."""

    def __init__(self, *found: dict[str, Any]) -> None:
        self._found = found

    def objects(self) -> tuple[dict[str, Any], ...]:
        return self._found


def secret(name: str, **more: Any) -> dict[str, Any]:
    return {"kind": "Secret", "metadata": {"name": name, "namespace": "g3zkp"}, "type": "Opaque", **more}


def taker(one: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "Pod", "metadata": {"name": "taker", "namespace": "g3zkp"}, **one}


@pytest.mark.parametrize("name", TAKERS)
def test_a_secret_is_used_by_whatever_names_it(name: str) -> None:
    listed = Namespace(secret(name), secret("other", data={"secretName": "b3RoZXI="}), taker(TAKERS[name]))
    seen = secret_names(cast("Platform", listed), "g3zkp")
    assert {one.name: one.is_named for one in seen.value} == {f"Secret/g3zkp/{name}": True, "Secret/g3zkp/other": False}


CASES: dict[str, tuple[WholeFacts, list[str], WholeFacts]] = {
    "backup-damaged": (
        facts(verified=(VerifiedBackup("bad", ("a is short", "b is gone", "c", "d")), VerifiedBackup("good", ()))),
        ["Backup/bad"],
        facts(verified=(VerifiedBackup("good", ()),)),
    ),
    "journal-altered": (
        facts(journal=JournalChain(7, "record 8 is not what record 9 says")),
        ["Journal"],
        facts(journal=JournalChain(9, "")),
    ),
    "restore-refused": (
        facts(restorable=(RestorableObject("g3zkp_full_1", "Ingress/g3zkp/web", "refused", "no right"), *RESTORABLE)),
        ["Ingress/g3zkp/web"],
        facts(restorable=tuple(RESTORABLE)),
    ),
    "object-drifted": (
        facts(restorable=(RestorableObject("g3zkp_full_1", "Secret/g3zkp/b", "created", ""), *RESTORABLE)),
        ["Secret/g3zkp/b", "ConfigMap/g3zkp/a"],
        facts(restorable=tuple(RESTORABLE[:1])),
    ),
    "rbac-unused-role": (
        facts(objects=(role("used"), role("unused"), binding("b", "used", "web"), ACCOUNT)),
        ["Role/g3zkp/unused"],
        facts(objects=(role("used"), binding("b", "used", "web"), ACCOUNT)),
    ),
    "rbac-unused-binding": (
        facts(objects=(ACCOUNT, binding("good", "r", "web"), binding("bad", "r", "gone"))),
        ["RoleBinding/g3zkp/bad"],
        facts(objects=(ACCOUNT, binding("good", "r", "web"), binding("elsewhere", "r", "x", place="other"))),
    ),
    "secret-unused": (
        facts(secrets=(NamedSecret("Secret/g3zkp/unused", False), NamedSecret("Secret/g3zkp/tls", True))),
        ["Secret/g3zkp/unused"],
        facts(secrets=(NamedSecret("Secret/g3zkp/tls", True), NamedSecret("Secret/g3zkp/g3zkp-keys", False))),
    ),
    "vulnerability": (
        facts(vulnerabilities=(KNOWN,)),
        ["Image/redis:7/openssl/CVE-1"],
        facts(vulnerabilities=()),
    ),
}


@pytest.mark.parametrize("check", OWN, ids=lambda check: check.id)
def test_each_check_finds_what_is_bad_and_nothing_of_what_is_good(check: Check[WholeFacts]) -> None:
    bad, expected, good = CASES[check.id]
    assert [one.object for one in check.findings(bad)] == expected
    assert check.findings(good) == []
    assert all(one.evidence for one in check.findings(bad))


def test_every_check_of_the_audit_has_a_case_here_and_the_scans_are_part_of_it() -> None:
    assert CASES.keys() == {check.id for check in OWN}
    assert {check.id for check in AUDIT} == {check.id for check in (*SCAN, *OWN, *least.CHECKS)}
    needed = {part for check in AUDIT for part in check.needs}
    assert needed <= {*PARTS, *OF_WHOLE}
    assert not {*OF_WHOLE} & {part for check in SCAN for part in check.needs}
    assert issubclass(WholeFacts, Facts)


def test_that_rights_are_refused_to_a_fleet_is_the_least_of_findings() -> None:
    refused = [
        RestorableObject("g3zkp_full_1", f"{kind}/a", "refused", "may not patch")
        for kind in ("Role.rbac.authorization.k8s.io", "RoleBinding.rbac.authorization.k8s.io", "Secret")
    ]
    (check,) = [one for one in integrity.CHECKS if one.id == "restore-refused"]
    found = check.findings(facts(restorable=tuple(refused)))
    assert [one.severity for one in found] == [Severity.LOW, Severity.LOW, Severity.HIGH]


def test_what_nobody_can_mend_yet_is_a_lesser_finding() -> None:
    (check,) = vulnerabilities.CHECKS
    severities = {
        (level, fixed): check.findings(facts(vulnerabilities=(Vulnerability("s", "o", "i", "p", "1", fixed, level),)))[
            0
        ].severity
        for level in ("critical", "high", "medium", "low")
        for fixed in ("2", "")
    }
    assert severities["critical", "2"] is Severity.CRITICAL
    assert severities["critical", ""] is Severity.HIGH
    assert severities["low", ""] is Severity.LOW


# -- scanners ----------------------------------------------------------------------------------------------------------


TRIVY = {
    "SchemaVersion": 2,
    "Results": [
        {"Target": "clean"},
        {
            "Vulnerabilities": [
                {
                    "VulnerabilityID": "CVE-2026-1",
                    "PkgName": "openssl",
                    "InstalledVersion": "3.0.1",
                    "FixedVersion": "3.0.2",
                    "Severity": "HIGH",
                },
                {"VulnerabilityID": "CVE-2026-2", "PkgName": "zlib", "InstalledVersion": "1", "Severity": "UNKNOWN"},
            ]
        },
    ],
}
GRYPE = {
    "matches": [
        {
            "vulnerability": {
                "id": "CVE-2026-1",
                "severity": "Negligible",
                "fix": {"versions": ["3.0.2"], "state": "fixed"},
            },
            "artifact": {"name": "openssl", "version": "3.0.1"},
        }
    ]
}
NPM = {
    "auditReportVersion": 2,
    "vulnerabilities": {
        "qs": {
            "severity": "moderate",
            "via": [{"source": 1, "url": "https://github.com/advisories/GHSA-a", "severity": "high"}],
            "range": "<6.5",
            "fixAvailable": {"name": "express", "version": "5.0.0"},
        },
        "express": {"severity": "high", "via": ["qs"], "range": "<5", "fixAvailable": True},
    },
}
PIP = {
    "dependencies": [
        {"name": "clean", "version": "1", "vulns": []},
        {"name": "jinja2", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]},
        {"name": "skipped", "skip_reason": "no version"},
    ]
}


def told(found: tuple[Vulnerability, ...]) -> list[tuple[str, str, str, str]]:
    return [(one.id, one.package, one.fixed, one.level) for one in found]


def test_what_each_scanner_tells_is_understood() -> None:
    assert told(scanners.read_trivy(json.dumps(TRIVY), "x")) == [
        ("CVE-2026-1", "openssl", "3.0.2", "high"),
        ("CVE-2026-2", "zlib", "", "medium"),
    ]
    assert told(scanners.read_grype(json.dumps(GRYPE), "x")) == [("CVE-2026-1", "openssl", "3.0.2", "low")]
    assert told(scanners.read_npm(json.dumps(NPM), "x")) == [("GHSA-a", "qs", "express 5.0.0", "high")]
    assert told(scanners.read_pip(json.dumps(PIP), "x")) == [("PYSEC-1", "jinja2", "3", "high")]


@pytest.mark.parametrize("text", ["", "no json", "[]", "{}", '{"matches": [{}]}', '{"vulnerabilities": {"x": 1}}'])
def test_what_is_no_report_is_an_error_and_no_clean_bill(text: str) -> None:
    for read in (scanners.read_trivy, scanners.read_grype, scanners.read_npm, scanners.read_pip):
        with pytest.raises(ScannerFailed):
            read(text, "image")


def program(folder: Path, name: str, script: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


IMAGES = (
    {
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "g3zkp"},
        "spec": {"containers": [{"name": "a", "image": "redis:7"}, {"name": "b", "image": "broken:1"}]},
    },
)


def test_images_are_scanned_by_the_scanner_that_is_there_and_each_failure_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = json.dumps(GRYPE)
    program(tmp_path, "grype", f"case $5 in redis:7) echo '{report}';; *) echo 'token=s3cret' >&2; exit 1;; esac")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    seen = scanned(IMAGES, None, seconds=20)
    assert [(one.scanner, one.object) for one in seen.value] == [("grype", "Image/redis:7")]
    lacks = {what: (why, is_meant) for what, why, is_meant in seen.lacks}
    assert lacks["vulnerabilities of image broken:1"][0].startswith("grype ended with 1; run it by hand")
    assert "s3cret" not in repr(lacks)
    assert lacks["vulnerabilities of npm packages"] == ("audit.look_into_npm is off", True)


def test_a_scanner_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "trivy", "exec sleep 60")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    seen = scanned(IMAGES[:1], None, seconds=0.3)
    assert seen.value == ()
    assert sum("did not end within 0.3 s" in why for _, why, _ in seen.lacks) == 2


class Here:
    """A messenger whose commands run here."""

    def exec(self, workload: str, argv: list[str]) -> Any:
        done = subprocess.run(argv, capture_output=True, check=True, timeout=20)
        return SimpleNamespace(read_all=lambda most: done.stdout[:most])


def test_npm_is_given_a_time_limit_and_pip_audit_the_interpreter_that_we_run_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip = '{"dependencies": [{"name": "\'$PIPAPI_PYTHON_LOCATION\'", "version": "1", "vulns": [{"id": "PYSEC-1"}]}]}'
    program(tmp_path, "pip-audit", f"echo '{pip}'; exit 1")
    found = f"echo '{json.dumps(NPM)}'; exit 1"
    program(tmp_path, "npm", f'case "$*" in *--fetch-timeout=20000*--fetch-retries=0*) {found};; esac; exit 2')
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    seen = scanned((), cast("Platform", Here()), seconds=20)
    assert [(one.id, one.package) for one in seen.value] == [("PYSEC-1", sys.executable), ("GHSA-a", "qs")]


def test_without_a_scanner_nothing_is_called_clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    seen = scanned(IMAGES, None, seconds=1)
    assert {what for what, _, is_meant in seen.lacks if is_meant} == {
        "vulnerabilities of images",
        "vulnerabilities of our own packages",
        "vulnerabilities of npm packages",
    }
