"""What k8s/ promises, read from what kustomize makes of it: confined pods, closed networks, least rights, true settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from g3zkp_maint import settings
from g3zkp_maint.keys.fleets import KEY_FILES, RECOVERY
from g3zkp_maint.setting_names import unknown_variables
from g3zkp_maint.testing.rendered import Object, of_kind, pod_specs
from workers.app import QUEUES

MESSENGERS_PODS = ({"app": "g3zkp"}, {"app": "redis"})
SECRETS = "/etc/g3zkp-maint/secret/"


def name_of(one: Object) -> str:
    return str(one["metadata"]["name"])


def place_of(one: Object) -> str:
    return str(one["metadata"]["namespace"])


def matches(selector: Object, labels: Object) -> bool:
    assert set(selector) <= {"matchLabels"}, "this test understands matchLabels only"
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


def own(objects: list[Object]) -> Iterator[tuple[Object, Object, Object]]:
    """Ours: each object that makes pods, their template, and the one container."""
    for one, template in pod_specs(objects):
        if name_of(one) != "broker":
            (container,) = template["spec"]["containers"]
            yield one, template, container


def environment(container: Object, objects: list[Object], namespace: str) -> dict[str, str]:
    maps = {(place_of(one), name_of(one)): one["data"] for one in of_kind(objects, "ConfigMap")}
    found: dict[str, str] = {}
    for source in container["envFrom"]:
        found |= maps[namespace, source["configMapRef"]["name"]]
    return found | {one["name"]: one["value"] for one in container["env"]}


def named(objects: list[Object], name: str) -> tuple[Object, Object, Object]:
    return next(found for found in own(objects) if name_of(found[0]) == name)


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


def test_each_fleet_is_told_of_just_the_key_files_that_it_may_have(overlays: dict[str, list[Object]]) -> None:
    for queue in QUEUES:
        _, _, container = named(overlays["production"], f"worker-{queue}")
        told = {one["name"]: one["value"] for one in container["env"] if one["name"].startswith("G3ZKP_KEYS__")}
        assert told == {f"G3ZKP_KEYS__{setting}": SECRETS + file for setting, file in KEY_FILES[queue]}


def test_only_the_crypto_fleet_is_told_of_the_recovery_identity_and_offline_nobody_is(
    overlays: dict[str, list[Object]],
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


def test_the_recovery_identity_lies_where_the_backup_fleet_may_read_nothing(objects: list[Object]) -> None:
    crypto, _, _ = named(objects, "worker-crypto")
    bound = [one for one in of_kind(objects, "RoleBinding", "ClusterRoleBinding") if _binds(one, "worker-backup")]
    assert bound
    assert all(one["kind"] == "RoleBinding" and place_of(one) != place_of(crypto) for one in bound)


# -- rights ------------------------------------------------------------------------------------------------------------


def test_who_may_see_all_resources_may_only_list_them(objects: list[Object]) -> None:
    """`get` on all of them is `get` on pods/exec, and that is a shell."""
    rules = [rule for role in of_kind(objects, "Role") for rule in role["rules"]]
    assert [rule["verbs"] for rule in rules if "*" in rule["resources"]] == [["list"], ["list"]]
    assert not any("*" in rule["verbs"] for rule in rules)


def test_nothing_is_granted_in_the_whole_cluster_or_beside_the_recovery_identity(objects: list[Object]) -> None:
    assert not of_kind(objects, "ClusterRole", "ClusterRoleBinding")
    assert {place_of(one) for one in of_kind(objects, "Role", "RoleBinding")} == {"g3zkp"}


def test_every_binding_names_an_account_that_is_there(objects: list[Object]) -> None:
    accounts = {(place_of(one), name_of(one)) for one in of_kind(objects, "ServiceAccount")}
    bound = {
        (subject["namespace"], subject["name"])
        for one in of_kind(objects, "RoleBinding")
        for subject in one["subjects"]
    }
    assert bound <= accounts
    assert Counter(accounts).keys() == {
        (place_of(one), template["spec"]["serviceAccountName"]) for one, template, _ in own(objects)
    }


# -- components --------------------------------------------------------------------------------------------------------


def test_the_exec_source_mounts_nothing_of_the_messengers(overlays: dict[str, list[Object]]) -> None:
    _, mounted, container = named(overlays["production"], "worker-backup")
    (data,) = [one for one in mounted["spec"]["volumes"] if "persistentVolumeClaim" in one]
    assert data["persistentVolumeClaim"] == {"claimName": "g3zkp-data-pvc", "readOnly": True}
    assert [one["readOnly"] for one in container["volumeMounts"] if one["name"] == data["name"]] == [True]
    _, by_exec, container = named(overlays["production+exec-source"], "worker-backup")
    assert not [one for one in by_exec["spec"]["volumes"] if "persistentVolumeClaim" in one]
    assert {"name": "G3ZKP_BACKUP__SOURCE", "value": "exec"} in container["env"]


def test_fleets_that_are_scaled_have_no_number_of_pods_of_their_own(overlays: dict[str, list[Object]]) -> None:
    objects = overlays["production+keda"]
    scaled = of_kind(objects, "ScaledObject")
    assert len(scaled) == 2
    for one in scaled:
        workload, _, _ = named(objects, one["spec"]["scaleTargetRef"]["name"])
        assert "replicas" not in workload["spec"]
        assert one["spec"]["triggers"][0]["metadata"]["listName"] == name_of(workload).removeprefix("worker-")


def _binds(binding: Object, account: str) -> bool:
    subjects: list[dict[str, Any]] = binding["subjects"]
    return any(one["name"] == account for one in subjects)
