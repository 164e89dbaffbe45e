"""The rules as Prometheus' operator takes them, a PrometheusRule, on standard output: kustomize can put a file into a ConfigMap
only. `make dashboards` keeps it in k8s/components/monitoring-operator/rules.yaml; a test asks that it is current."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

RULES = Path(__file__).with_name("g3zkp.yml")
HEAD = "# Made of monitoring/rules/g3zkp.yml by `make dashboards`.\n"


def as_yaml() -> str:
    """Of the one file of rules."""
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "g3zkp", "namespace": "g3zkp-maint"},
        "spec": yaml.safe_load(RULES.read_text(encoding="utf-8")),
    }
    return HEAD + yaml.safe_dump(rule, sort_keys=False, width=120)


if __name__ == "__main__":
    sys.stdout.write(as_yaml())
