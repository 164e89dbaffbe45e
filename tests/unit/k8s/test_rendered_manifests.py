"""What k8s/ promises, read from what kustomize makes of it: confined pods, closed networks, true settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from rendered_parts import COMPONENTS, K8S, Overlays, environment, matches, name_of, named, own, place_of

from g3zkp_maint import settings
from g3zkp_maint.keys.fleets import KEY_FILES, RECOVERY
from g3zkp_maint.reports.shelf import FOLDER
from g3zkp_maint.setting_names import unknown_variables
from g3zkp_maint.testing.rendered import Object, of_kind, pod_specs, render
from workers.app import QUEUES

MESSENGERS_PODS = ({"app": "g3zkp"}, {"app": "redis"})
SECRETS = "/etc/g3zkp-maint/secret/"


# -- pods --------------------------------------------------------------------------------------------------------------


def test_every_pod_and_container_is_confined(objects: list[Object]) -> None:
    for one, template in pod_specs(objects):
        what, spec = name_of(one), template["spec"]
        pod = spec["securityContext"]
        assert pod["runAsNonRoot"] is True, what
        assert pod["runAsUser"] == (999 if what == "broker" else 1001), what
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}, what
        assert spec["enableServiceLinks"] is False, what
        assert not any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")), what
        assert not any("hostPath" in volume for volume in spec["volumes"]), what
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, what
            assert context["readOnlyRootFilesystem"] is True, what
            assert context["capabilities"] == {"drop": ["ALL"]}, what
            assert {"cpu", "memory"} <= container["resources"]["limits"].keys() & container["resources"][
                "requests"
            ].keys()


def test_every_pod_that_stays_is_probed(objects: list[Object]) -> None:
    for one, template in pod_specs(objects):
        if one["kind"] == "CronJob":
            continue
        for container in template["spec"]["containers"]:
            assert {"readinessProbe", "livenessProbe"} <= container.keys(), name_of(one)


def test_each_queue_has_its_fleet_which_takes_from_that_queue_alone_and_is_probed_for_it(objects: list[Object]) -> None:
    for queue in QUEUES:
        _, _, container = named(objects, f"worker-{queue}")
        command = container["command"]
        assert command[command.index("-Q") + 1] == queue
        assert command[command.index("-n") + 1] == f"{queue}@%h", "the name that the probe asks for"
        for probe in ("readinessProbe", "livenessProbe"):
            asked = container[probe]["exec"]["command"]
            assert asked[:5] == ["g3zkp-maint", "probe", "worker", "--queue", queue]
        assert "--alive" in container["livenessProbe"]["exec"]["command"]
        assert "--alive" not in container["readinessProbe"]["exec"]["command"]


def test_beat_and_what_serves_are_probed_for_what_they_do(objects: list[Object]) -> None:
    _, _, beat = named(objects, "beat")
    ready, alive = (beat[probe]["exec"]["command"] for probe in ("readinessProbe", "livenessProbe"))
    assert ready == ["g3zkp-maint", "probe", "beat"]
    assert (alive[:3], alive[-1]) == (ready, "--alive")
    for name, path in (("flower", "/healthcheck"), ("exporter", "/health")):
        _, _, container = named(objects, name)
        (port,) = container["ports"]
        for probe in ("readinessProbe", "livenessProbe"):
            assert container[probe]["httpGet"] == {"path": path, "port": port["name"]}


def test_a_probe_has_longer_than_what_it_asks_and_a_start_longer_than_a_probe(objects: list[Object]) -> None:
    for one, _, container in own(objects):
        for probe in (container.get("readinessProbe"), container.get("livenessProbe")):
            assert probe is None or 5 <= probe["timeoutSeconds"] < probe["periodSeconds"], name_of(one)
        if "livenessProbe" in container:
            assert container["livenessProbe"]["initialDelaySeconds"] >= 30, name_of(one)


def test_health_is_asked_every_five_minutes_one_at_a_time_and_a_failure_shows_as_such(objects: list[Object]) -> None:
    cron, template, container = named(objects, "health")
    spec, job = cron["spec"], cron["spec"]["jobTemplate"]["spec"]
    assert (cron["kind"], spec["schedule"], spec["concurrencyPolicy"]) == ("CronJob", "*/5 * * * *", "Forbid")
    assert container["command"] == ["g3zkp-maint", "health", "check"]
    assert (job["backoffLimit"], template["spec"]["restartPolicy"]) == (0, "Never")
    assert job["activeDeadlineSeconds"] < spec["startingDeadlineSeconds"] < 5 * 60, "over before the next one"
    assert {"g3zkp.io/reaches-cluster", "g3zkp.io/reaches-messenger"} <= template["metadata"]["labels"].keys()


def test_a_fleet_has_longer_to_stop_than_its_tasks_have(objects: list[Object]) -> None:
    for queue in QUEUES:
        _, template, container = named(objects, f"worker-{queue}")
        assert template["spec"]["terminationGracePeriodSeconds"] > settings.Settings().tasks.shutdown_seconds + 20
        assert {"name": "REMAP_SIGTERM", "value": "SIGQUIT"} in container["env"]


def test_beat_runs_twice_and_each_fleet_and_beat_may_lose_one_pod_at_a_time(objects: list[Object]) -> None:
    beat, _, _ = named(objects, "beat")
    assert beat["spec"]["replicas"] == 2
    budgets = of_kind(objects, "PodDisruptionBudget")
    for name in ("beat", *(f"worker-{queue}" for queue in QUEUES)):
        workload, template, _ = named(objects, name)
        (budget,) = [
            one
            for one in budgets
            if place_of(one) == place_of(workload) and matches(one["spec"]["selector"], template["metadata"]["labels"])
        ]
        assert budget["spec"]["maxUnavailable"] == 1


# -- networks ----------------------------------------------------------------------------------------------------------


def test_every_pod_is_closed_in_both_directions_and_reaches_the_broker_as_needed(objects: list[Object]) -> None:
    policies = of_kind(objects, "NetworkPolicy")
    for one, template in pod_specs(objects):
        labels = template["metadata"]["labels"]
        selecting = {
            name_of(policy): policy["spec"]
            for policy in policies
            if place_of(policy) == place_of(one) and matches(policy["spec"]["podSelector"], labels)
        }
        assert set(selecting["maintenance-deny"]["policyTypes"]) == {"Ingress", "Egress"}, name_of(one)
        assert not selecting["maintenance-deny"].keys() & {"ingress", "egress"}
        assert {"maintenance-names", "maintenance-broker"} <= selecting.keys(), name_of(one)
        for label in labels:
            if label.startswith("g3zkp.io/reaches-"):
                assert f"maintenance-{label.removeprefix('g3zkp.io/reaches-')}" in selecting, (name_of(one), label)


def test_nothing_comes_in_but_to_flower_the_exporter_and_a_broker_from_known_pods(objects: list[Object]) -> None:
    opened = {name_of(one): one["spec"] for one in of_kind(objects, "NetworkPolicy") if one["spec"].get("ingress")}
    assert opened.keys() - {"broker"} == {"maintenance-flower", "maintenance-exporter"}
    for name, spec in opened.items():
        assert spec["podSelector"], name
        for rule in spec["ingress"]:
            assert rule["ports"], name
            assert all(one.get("namespaceSelector") for one in rule["from"]), name


def test_nobody_reaches_the_metadata_service_of_a_node(objects: list[Object]) -> None:
    """It gives out the node's credentials."""
    for policy in of_kind(objects, "NetworkPolicy"):
        for rule in policy["spec"].get("egress", ()):
            assert rule["to"], name_of(policy)
            for block in (one["ipBlock"] for one in rule["to"] if "ipBlock" in one):
                assert "169.254.0.0/16" in block.get("except", ()) or block["cidr"].endswith("/32"), name_of(policy)


def test_whoever_has_a_token_reaches_the_api_server_and_nobody_else_does(objects: list[Object]) -> None:
    for one, template, _ in own(objects):
        has_token = template["spec"]["automountServiceAccountToken"]
        assert has_token == ("g3zkp.io/reaches-cluster" in template["metadata"]["labels"]), name_of(one)
    assert not any(one["automountServiceAccountToken"] for one in of_kind(objects, "ServiceAccount"))


def test_no_policy_touches_the_pods_of_the_messenger(objects: list[Object]) -> None:
    for policy in of_kind(objects, "NetworkPolicy", "PodDisruptionBudget"):
        if place_of(policy) == "g3zkp":
            selector = policy["spec"].get("podSelector", policy["spec"].get("selector"))
            assert not any(matches(selector, labels) for labels in MESSENGERS_PODS), name_of(policy)


# -- settings and secrets ----------------------------------------------------------------------------------------------


def test_every_variable_is_a_setting(objects: list[Object]) -> None:
    for one, _, container in own(objects):
        found = environment(container, objects, place_of(one))
        assert unknown_variables(settings.Settings, found) == [], name_of(one)


def test_every_pod_has_settings_that_hold(
    objects: list[Object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('[redis]\nurl = "redis://:secret@broker.g3zkp-maint.svc:6379/0"\n')
    for one, _, container in own(objects):
        with monkeypatch.context() as patch:
            for name, value in environment(container, objects, place_of(one)).items():
                if name.startswith("G3ZKP_"):
                    patch.setenv(name, str(file) if name == "G3ZKP_CONFIG" else value)
            loaded = settings.load()
            assert loaded.platform.kind == "kubernetes", name_of(one)
            assert loaded.platform.namespace == "g3zkp", name_of(one)


def test_each_fleet_is_told_of_just_the_key_files_that_it_may_have(overlays: Overlays) -> None:
    for queue in QUEUES:
        _, _, container = named(overlays["production"], f"worker-{queue}")
        told = {one["name"]: one["value"] for one in container["env"] if one["name"].startswith("G3ZKP_KEYS__")}
        assert told == {f"G3ZKP_KEYS__{setting}": SECRETS + file for setting, file in KEY_FILES[queue]}


def test_only_the_crypto_fleet_is_told_of_the_recovery_identity_and_offline_nobody_is(
    overlays: Overlays,
) -> None:
    def told(objects: list[Object]) -> list[str]:
        return [name_of(one) for one, _, container in own(objects) if RECOVERY in str(container)]

    assert told(overlays["production"]) == ["worker-crypto"]
    assert told(overlays["production+recovery-offline"]) == []


def test_each_pod_mounts_its_own_secret_alone_and_no_variable_holds_one(objects: list[Object]) -> None:
    for one, template in pod_specs(objects):
        secrets = [volume["secret"]["secretName"] for volume in template["spec"]["volumes"] if "secret" in volume]
        assert secrets == ([] if name_of(one) == "health" else [name_of(one)])
        assert "secretKeyRef" not in str(template)
        assert "secretRef" not in str(template)


# -- components --------------------------------------------------------------------------------------------------------


def test_the_base_renders_alone_and_each_component_changes_what_it_is_added_to(overlays: Overlays) -> None:
    assert of_kind(render(K8S / "base"), "Deployment")
    assert set(COMPONENTS) >= {"exec-source", "recovery-offline", "housekeeping", "keda"}
    for component in COMPONENTS:
        assert overlays[f"production+{component}"] != overlays["production"]


def test_the_exec_source_mounts_nothing_of_the_messengers(overlays: Overlays) -> None:
    _, mounted, container = named(overlays["production"], "worker-backup")
    (data,) = [one for one in mounted["spec"]["volumes"] if "persistentVolumeClaim" in one]
    assert data["persistentVolumeClaim"] == {"claimName": "g3zkp-data-pvc", "readOnly": True}
    assert [one["readOnly"] for one in container["volumeMounts"] if one["name"] == data["name"]] == [True]
    _, by_exec, container = named(overlays["production+exec-source"], "worker-backup")
    assert not [one for one in by_exec["spec"]["volumes"] if "persistentVolumeClaim" in one]
    assert {"name": "G3ZKP_BACKUP__SOURCE", "value": "exec"} in container["env"]


def test_in_dev_only_who_archives_writes_to_the_store_and_observe_its_reports(overlays: Overlays) -> None:
    def writable(name: str) -> list[tuple[str, str]]:
        _, _, container = named(overlays["dev"], name)
        mounts = [one for one in container["volumeMounts"] if one["name"] == "backups"]
        return [(one["mountPath"], one.get("subPath", "")) for one in mounts if not one.get("readOnly")]

    found = {name: writable(name) for name in ("worker-backup", "worker-crypto", "worker-cleanup", "exporter")}
    assert found == {
        "worker-backup": [("/backups", "")],
        "worker-crypto": [("/backups", "")],
        "worker-cleanup": [],
        "exporter": [],
    }
    assert writable("worker-observe") == [("/backups/reports", FOLDER.rstrip("/"))]


def test_fleets_that_are_scaled_have_no_number_of_pods_of_their_own(overlays: Overlays) -> None:
    objects = overlays["production+keda"]
    scaled = of_kind(objects, "ScaledObject")
    assert len(scaled) == 2
    for one in scaled:
        workload, _, _ = named(objects, one["spec"]["scaleTargetRef"]["name"])
        assert "replicas" not in workload["spec"]
        assert one["spec"]["triggers"][0]["metadata"]["listName"] == name_of(workload).removeprefix("worker-")
