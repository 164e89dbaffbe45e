"""What the components for monitoring add: the one file of rules, the dashboard, and where to scrape."""

from __future__ import annotations

import yaml
from rendered_parts import K8S, Overlays, name_of, named

from g3zkp_maint.testing.rendered import Object, of_kind
from monitoring.rules.operator import RULES, as_yaml

OPERATOR = K8S / "components" / "monitoring-operator"
DASHBOARD = RULES.parents[1] / "dashboard" / "g3zkp-maint.json"


def config_map(objects: list[Object], name: str) -> Object:
    (found,) = (one for one in of_kind(objects, "ConfigMap") if name_of(one) == name)
    return found


def test_rules_and_dashboard_are_the_very_files(overlays: Overlays) -> None:
    objects = overlays["production+monitoring"]
    assert config_map(objects, "g3zkp-rules")["data"] == {"g3zkp.yml": RULES.read_text(encoding="utf-8")}
    dashboard = config_map(objects, "g3zkp-dashboard")
    assert dashboard["data"] == {"g3zkp-maint.json": DASHBOARD.read_text(encoding="utf-8")}
    assert dashboard["metadata"]["labels"] == {"grafana_dashboard": "1"}


def test_the_exporter_is_annotated_with_its_own_port(overlays: Overlays) -> None:
    _, template, container = named(overlays["production+monitoring"], "exporter")
    (port,) = container["ports"]
    annotations = template["metadata"]["annotations"]
    assert annotations["prometheus.io/scrape"] == "true"
    assert annotations["prometheus.io/port"] == str(port["containerPort"])


def test_the_operators_rules_are_made_of_the_same_file() -> None:
    assert (OPERATOR / "rules.yaml").read_text(encoding="utf-8") == as_yaml(), "run `make dashboards`"


def test_the_operator_finds_rules_exporter_and_messenger(overlays: Overlays) -> None:
    objects = overlays["production+monitoring-operator"]
    (rule,) = of_kind(objects, "PrometheusRule")
    assert rule["spec"] == yaml.safe_load(RULES.read_text(encoding="utf-8"))
    exporter, messenger = sorted(of_kind(objects, "PodMonitor"), key=name_of)
    _, template, container = named(objects, "exporter")
    assert exporter["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    (endpoint,) = exporter["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] == container["ports"][0]["name"]
    # By this label rules and dashboard know that it belongs to the messenger.
    assert endpoint["relabelings"] == [{"targetLabel": "namespace", "replacement": messenger["metadata"]["namespace"]}]
