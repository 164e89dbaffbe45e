"""Has checkov look at the manifests of the checks, and keeps what it says in checkov_says.json: `make audit-compare`.

python tests/unit/audit/record_checkov.py PATH/TO/checkov
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SAYS = HERE / "checkov_says.json"

#: Our checks, and those of checkov that look for the same. CKV2 ones judge objects together: each by its own file alone.
SAME = {
    "workload-privileged": ("CKV_K8S_16",),
    "workload-root": ("CKV_K8S_23",),
    "workload-escalation": ("CKV_K8S_20",),
    "workload-capabilities-added": ("CKV_K8S_25", "CKV_K8S_39"),
    "workload-capabilities-kept": ("CKV_K8S_28", "CKV_K8S_37"),
    "workload-host-namespaces": ("CKV_K8S_17", "CKV_K8S_18", "CKV_K8S_19"),
    "workload-host-path": ("CKV_K8S_27",),
    "workload-writable-root": ("CKV_K8S_22",),
    "workload-seccomp": ("CKV_K8S_31",),
    "workload-limits": ("CKV_K8S_11", "CKV_K8S_13"),
    "image-latest": ("CKV_K8S_14",),
    "image-digest": ("CKV_K8S_43",),
    "workload-token": ("CKV_K8S_38",),
    "network-uncovered": ("CKV2_K8S_6",),
    "secret-in-environment": ("CKV_K8S_35",),
    "rbac-wildcard": ("CKV_K8S_49",),
    "rbac-escalation": ("CKV_K8S_157", "CKV_K8S_158"),
    "rbac-keys-readers": ("CKV2_K8S_5",),
    "rbac-keys-reach": ("CKV2_K8S_2",),
}


def is_of_one_file(check: str) -> bool:
    """Whether files are compared one by one, as what lies in another would change the answer."""
    return any(one.startswith("CKV2") for one in SAME[check])


def record(checkov: list[str]) -> None:
    folder = HERE / "manifests"
    together = _failed(checkov, "-d", str(folder))
    result = {one: together[one] for check in SAME if not is_of_one_file(check) for one in SAME[check]}
    for check in filter(is_of_one_file, SAME):
        alone = _failed(checkov, "-f", str(folder / f"{check}.yaml"))
        result |= {one: alone[one] for one in SAME[check]}
    version = subprocess.run([*checkov, "--version"], capture_output=True, check=True, text=True).stdout.strip()
    SAYS.write_text(json.dumps({"version": version, "failed": result}, indent=1) + "\n")


def _failed(checkov: list[str], *where: str) -> dict[str, list[list[str]]]:
    """By checkov's check: file and object, as `Kind/name`. It ends with 1 where it finds something."""
    command = [*checkov, *where, "--framework", "kubernetes", "-o", "json", "--quiet", "--compact", "--skip-download"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=300)
    document: Any = json.loads(done.stdout)
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for report in document if isinstance(document, list) else [document]:
        for one in report["results"]["failed_checks"]:
            kind, _, name = one["resource"].split(".")[:3]
            found[one["check_id"]].add((Path(one["file_path"]).stem, f"{kind}/{name}"))
    return defaultdict(list, {check: [list(one) for one in sorted(seen)] for check, seen in found.items()})


if __name__ == "__main__":
    record(sys.argv[1:])
