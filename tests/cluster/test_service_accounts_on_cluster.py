"""Each fleet at its work with nothing but the rights that k8s/ gives its ServiceAccount, and what each is refused.

Whole restores and rotations, with the same rights: test_deployed.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from declared_objects import declared
from fleet_accounts import Accounts, applied_accounts
from restore_desk import SURE, Desk, wait_for

from g3zkp_maint.audit.thorough import secret_names
from g3zkp_maint.backup.places import HELPERS
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.cleanup.housekeeping import tidy
from g3zkp_maint.cli.failure import PARTIAL
from g3zkp_maint.clock import SystemClock
from g3zkp_maint.coordination.guard import Unguarded
from g3zkp_maint.coordination.occasion import Occasion
from g3zkp_maint.errors import Conflict, ObjectRefused, PlatformDenied
from g3zkp_maint.metrics.messenger_facts import disk_usage
from g3zkp_maint.operations.audit import examine
from g3zkp_maint.operations.forsaken import sweep
from g3zkp_maint.operations.health import observe
from g3zkp_maint.platforms.base import MESSENGER, Rollout
from g3zkp_maint.platforms.kubernetes import KubernetesPlatform
from g3zkp_maint.platforms.kubernetes_client import Access
from g3zkp_maint.platforms.kubernetes_helper import MANAGER
from g3zkp_maint.platforms.kubernetes_housekeeping import KubernetesHousekeeping
from g3zkp_maint.platforms.kubernetes_inspection import KubernetesInspection
from g3zkp_maint.testing.backup_place import entered
from g3zkp_maint.testing.rendered import of_kind

pytestmark = pytest.mark.cluster

BACKUP, CRYPTO, CLEANUP, OBSERVE = (f"worker-{name}" for name in ("backup", "crypto", "cleanup", "observe"))


@pytest.fixture(scope="module")
def accounts(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Accounts]:
    with applied_accounts(desk, tmp_path_factory.mktemp("accounts")) as found:
        yield found


@pytest.fixture(scope="module")
def declared_here(desk: Desk, accounts: Accounts) -> Iterator[None]:
    """An object of each kind is in the namespace."""
    desk.site.kubectl.apply(declared())
    yield
    names = [f"{one['kind'].lower()}/{one['metadata']['name']}" for one in declared()]
    desk.site.kubectl("delete", "--ignore-not-found", *names)


@pytest.fixture(scope="module")
def full(accounts: Accounts, declared_here: None) -> str:
    """A full backup by the backup fleet."""
    made = accounts.run(BACKUP, "backup", "run", "full")
    assert (made["outcome"], made["remarks"]) == ("ok", [])
    return str(made["name"])


# -- at work -----------------------------------------------------------------------------------------------------------


def test_the_backup_fleet_takes_files_redis_and_objects_tells_the_messenger_and_verifies(
    desk: Desk, accounts: Accounts, full: str
) -> None:
    assert full in (desk.site.data_dir / "logs" / "backup.log").read_text()
    shown = accounts.run(BACKUP, "backup", "verify", full, "--mode", "full")
    assert shown["is_whole"] is True


def test_the_crypto_fleet_drills_what_the_backup_fleet_made(accounts: Accounts, full: str) -> None:
    assert accounts.run(CRYPTO, "backup", "drill", full)["outcome"] == "ok"


def test_the_crypto_fleet_takes_a_restart_back(desk: Desk, accounts: Accounts) -> None:
    platform, before = accounts.platform(CRYPTO), _templates(desk)
    rollout = platform.restart((MESSENGER,))
    undone: list[Rollout] = []
    wait_for(lambda: _tried(lambda: undone.append(platform.undo(rollout))), "the restart is taken back")
    platform.wait(undone[0], 120)
    wait_for(lambda: _templates(desk) == before, "every pod is made of the former template")


def _templates(desk: Desk) -> list[str]:
    """Of each pod of the messenger, the hash of the template of which it was made."""
    found = desk.site.kubectl.get("pods", "-l", "app=g3zkp")["items"]
    return [pod["metadata"]["labels"]["pod-template-hash"] for pod in found]


def _tried(act: Callable[[], object]) -> bool:
    """Whether no controller wrote to the object meanwhile."""
    try:
        act()
    except Conflict:
        return False
    return True


def test_the_cleanup_fleet_deletes_what_expired_and_what_is_left_over(accounts: Accounts, full: str) -> None:
    """Without a backup nothing would be deleted."""
    done = accounts.run(CLEANUP, "cleanup", "run", G3ZKP_CLEANUP__HOUSEKEEPING_DAYS="1")
    assert (done["outcome"], done["removed_objects"]) == ("ok", 0)
    yard = KubernetesHousekeeping(accounts.platform(CLEANUP).client)
    tidied = tidy(yard, Unguarded(), now=SystemClock().now() + timedelta(days=2), days=1)
    assert ("Job", "over") in [(one.kind, one.name) for one in tidied.leftovers]


@pytest.mark.parametrize("account", [OBSERVE, "health"])
def test_health_is_seen_of_every_instance(desk: Desk, accounts: Accounts, account: str) -> None:
    done = accounts.run(account, "health", "check")
    assert done["healthy"] is True
    assert sorted(one["name"] for one in done["instances"]) == desk.site.pods()


def test_the_observe_fleet_looks_as_the_calendar_has_it(accounts: Accounts) -> None:
    with entered(accounts.environment(OBSERVE)):
        services = Services()
        occasion = Occasion("observe.health", "as-account", "a test", "{}", wants={})
        assert services.conductor.perform(occasion, partial(observe, services))["healthy"] is True
        services.redis.close()


def test_the_security_scan_sees_both_namespaces_and_is_refused_nothing(accounts: Accounts) -> None:
    client = accounts.platform(OBSERVE).client
    seen = KubernetesInspection(client, [*accounts.places.values()], in_cluster=False).look()
    assert seen.refused == ()
    assert {"Deployment", "Pod", "Role", "ServiceAccount"} <= {one["kind"] for one in seen.objects}


def test_beside_the_recovery_identity_the_audit_sees_what_could_be_restored_and_what_drifted(
    desk: Desk, accounts: Accounts, full: str
) -> None:
    looks = {f"G3ZKP_AUDIT__LOOK_INTO_{one}": "false" for one in ("FILES", "SECRET", "REDIS", "CLUSTER", "NPM")}
    looks["G3ZKP_AUDIT__FLEETS_NAMESPACE"] = accounts.places["g3zkp-maint"]
    desk.site.kubectl("label", "configmap", "extra", "drifted=yes")
    try:
        with entered(accounts.environment(CRYPTO, **looks)):
            services = Services()
            report = examine(services, None, whole=True)
            services.redis.close()
    finally:
        desk.site.kubectl("label", "configmap", "extra", "drifted-")
    assert {"restore-refused", "object-drifted", "backup-damaged"} <= set(report.ran)
    found = {check: {one.object for one in report.findings if one.check == check} for check in report.ran}
    rights = {"Role.rbac.authorization.k8s.io/extra", "RoleBinding.rbac.authorization.k8s.io/extra"}
    assert rights <= found["restore-refused"], "though they are as they were"
    assert {one.partition("/")[0] for one in found["restore-refused"]} == {one.partition("/")[0] for one in rights}
    assert "ConfigMap/extra" in found["object-drifted"]
    assert found["backup-damaged"] == found["backup-unencrypted"] == set()


def test_of_secrets_those_are_named_that_nothing_in_the_namespace_names(desk: Desk, declared_here: None) -> None:
    tls = {"tls": [{"hosts": ["a.example"], "secretName": "of-ingress"}]}
    ingress = next(one for one in declared() if one["kind"] == "Ingress")
    secrets = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}} for name in ("of-ingress", "of-nobody")
    ]
    desk.site.kubectl.apply(
        [*secrets, {**ingress, "metadata": {"name": "with-tls"}, "spec": {**ingress["spec"], **tls}}]
    )
    try:
        platform = KubernetesPlatform(Access(desk.site.kubeconfig), namespace=desk.site.namespace)
        seen = {one.name.rpartition("/")[2]: one.is_named for one in secret_names(platform, "g3zkp").value}
    finally:
        desk.site.kubectl("delete", "secret/of-ingress", "secret/of-nobody", "ingress/with-tls")
    assert (seen["of-ingress"], seen["of-nobody"], seen["redis"]) == (True, False, True)


def test_the_exporter_asks_the_messenger_where_the_service_is(accounts: Accounts) -> None:
    assert disk_usage(accounts.platform("exporter").health_url()) is not None


def test_the_crypto_fleet_restores_every_kind_but_rights_which_are_refused_and_told(
    desk: Desk, accounts: Accounts, full: str
) -> None:
    kubectl, bystander, instances = desk.site.kubectl, desk.site.bystander(), desk.instances()
    rights = {"Role.rbac.authorization.k8s.io/extra", "RoleBinding.rbac.authorization.k8s.io/extra"}
    # What has ended is no part of a backup.
    gone = [one for one in declared() if one["kind"] != "Job"]
    kubectl("delete", "--ignore-not-found", *(f"{one['kind'].lower()}/{one['metadata']['name']}" for one in gone))
    kubectl("patch", "configmap", "g3zkp-config", "--type=merge", "-p", '{"data": {"ADDED": "since"}}')
    kubectl("annotate", "statefulset", "redis", "added=since")

    done = accounts.run(
        CRYPTO, "backup", "restore", full, "--component", "k8s", "--yes-i-mean", full, *SURE, ends=PARTIAL
    )
    objects = done["objects"]
    assert (done["outcome"], objects["created"], objects["refused"]) == ("partial", len(gone) - 2, 2)
    assert objects["changed"] >= 2
    refused = [one for one in objects["reports"] if one["outcome"] == "refused"]
    assert {one["object"] for one in refused} == rights
    assert all("may not patch" in one["reason"] for one in refused)
    assert "ADDED" not in kubectl.get("configmap", "g3zkp-config")["data"]
    assert "added" not in kubectl.get("statefulset", "redis")["metadata"].get("annotations", {})
    assert (desk.site.bystander(), desk.instances()) == (bystander, instances)


def test_the_crypto_fleet_removes_a_helper_with_which_nobody_goes_on(desk: Desk, accounts: Accounts) -> None:
    """Its owner seems to live, on another machine; the leases say that there is none."""
    now = SystemClock().now().isoformat()
    owner = {"g3zkp.io/owner": "another-machine/boot/pids 1", "g3zkp.io/renewed-at": now}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": HELPERS[0], "labels": MANAGER, "annotations": owner}}
    nowhere = {"nodeSelector": {"there-is": "none"}, "containers": [{"name": "helper", "image": "busybox:latest"}]}
    desk.site.kubectl.apply([{**pod, "spec": nowhere}])
    with entered(accounts.environment(CRYPTO)):
        services = Services()
        assert sweep(services) == 1
        services.redis.close()
    assert desk.helpers() == []


# -- refused -----------------------------------------------------------------------------------------------------------

#: Everybody who may do it in the messenger's namespace, with all components: `verb resource[/name]`. Names that are not
#: of Roles stand for any other. Whoever is not named is refused.
MAY: dict[str, set[str]] = {
    "list secrets": {BACKUP, CRYPTO},
    "get secrets/g3zkp-keys": {CRYPTO},
    "get secrets/bystander": set(),
    "watch secrets": set(),
    "patch secrets/g3zkp-keys": {CRYPTO},
    "patch secrets/bystander": {CRYPTO},
    "delete secrets/bystander": set(),
    "get configmaps/g3zkp-config": set(),
    "list pods": {BACKUP, CRYPTO, CLEANUP, OBSERVE, "health", "exporter"},
    "create pods": {CRYPTO},
    "patch pods/restore-files": {CRYPTO},
    "delete pods/restore-files": {CRYPTO, CLEANUP},
    "delete pods/g3zkp-restore-redis": {CRYPTO, CLEANUP},
    "delete pods/bystander": {CLEANUP},
    "deletecollection pods": set(),
    "create pods:exec/redis-0": {BACKUP, CRYPTO, CLEANUP},
    "create pods:exec/bystander": {BACKUP, CRYPTO, CLEANUP},
    "create pods:attach/bystander": set(),
    "create pods:portforward/bystander": set(),
    "create pods:eviction/bystander": set(),
    "get pods:log/bystander": set(),
    "patch deployments/g3zkp-messenger": {CRYPTO},
    "patch deployments/bystander": {CRYPTO},
    "update deployments/bystander": {CRYPTO},
    "delete deployments/g3zkp-messenger": set(),
    "delete deployments/bystander": set(),
    "patch deployments:scale/g3zkp-messenger": {CRYPTO},
    "patch deployments:scale/bystander": set(),
    "delete statefulsets/redis": set(),
    "delete persistentvolumeclaims/g3zkp-data-pvc": set(),
    "delete jobs/over": {CLEANUP},
    "create jobs": {CRYPTO},
    "create roles": set(),
    "patch roles/maintenance-backup": set(),
    "create rolebindings": set(),
    "bind roles/maintenance-crypto": set(),
    "escalate roles/maintenance-crypto": set(),
    "impersonate serviceaccounts/default": set(),
    "create serviceaccounts:token/default": set(),
}
#: What goes with each Role that can be left out.
OPTIONAL: dict[str, tuple[tuple[str, str], ...]] = {
    "maintenance-backup-exec": ((BACKUP, "create pods:exec/bystander"),),
    "maintenance-housekeeping": ((CLEANUP, "delete pods/bystander"), (CLEANUP, "delete jobs/over")),
    "maintenance-restore-objects": (
        (CRYPTO, "patch secrets/bystander"),
        (CRYPTO, "patch deployments/bystander"),
        (CRYPTO, "create jobs"),
    ),
}
_GROUPS = {
    "deployments": "apps",
    "statefulsets": "apps",
    "jobs": "batch",
    "roles": "rbac.authorization.k8s.io",
    "rolebindings": "rbac.authorization.k8s.io",
}
_REVIEWS = "/apis/authorization.k8s.io/v1"
#: Of the whole cluster: what anybody who is known to it may ask about himself.
_ABOUT_ONESELF = {("create", "selfsubjectaccessreviews"), ("create", "selfsubjectrulesreviews")}


def may(accounts: Accounts, account: str, asked: str) -> bool:
    """By the API server's own word: SelfSubjectAccessReview."""
    verb, _, what = asked.partition(" ")
    resource, _, name = what.partition("/")
    resource, _, sub = resource.partition(":")
    client = accounts.platform(account).client
    attributes = {"namespace": client.namespace, "verb": verb, "group": _GROUPS.get(resource, ""), "resource": resource}
    review = {"spec": {"resourceAttributes": {**attributes, "subresource": sub, "name": name}}}
    status = client.create(f"{_REVIEWS}/selfsubjectaccessreviews", review)["status"]
    return bool(status["allowed"])


def test_each_right_is_theirs_whom_the_table_names_and_nobody_elses(accounts: Accounts) -> None:
    found = {asked: {one for one in accounts.names if may(accounts, one, asked)} for asked in MAY}
    assert found == MAY


@contextmanager
def left_out(accounts: Accounts, role: str) -> Iterator[None]:
    """All as if that Role were not there."""

    def held() -> list[bool]:
        return [may(accounts, account, asked) for account, asked in OPTIONAL[role]]

    kubectl = accounts.desk.site.kubectl
    assert all(held())
    kubectl("delete", "rolebinding", role)
    try:
        wait_for(lambda: not any(held()), f"nobody has {role}")
        yield
    finally:
        # Those of other namespaces are as they were.
        kubectl.apply(one for one in of_kind(accounts.objects, "RoleBinding") if one["metadata"]["name"] == role)
        wait_for(lambda: all(held()), f"{role} is back")


@pytest.mark.parametrize("role", ["maintenance-housekeeping", "maintenance-restore-objects"])
def test_a_role_that_is_left_out_takes_its_rights_with_it(accounts: Accounts, role: str) -> None:
    with left_out(accounts, role):
        assert may(accounts, CRYPTO, "delete pods/restore-files")


def test_without_commands_in_pods_the_backup_fleet_takes_the_files_from_the_volume(
    accounts: Accounts, full: str
) -> None:
    with left_out(accounts, "maintenance-backup-exec"):
        made = accounts.run(
            BACKUP,
            *("backup", "run", "incremental"),
            G3ZKP_BACKUP__SOURCE="mounted",
            G3ZKP_MESSENGER__APPEND_BACKUP_LOG="false",
        )
        assert made["outcome"] == "ok"
        with pytest.raises(PlatformDenied, match=r"may not get deployments\.apps"):
            accounts.platform(BACKUP).exec(MESSENGER, ["true"])


def test_in_no_other_namespace_and_nowhere_in_the_cluster_has_any_account_a_right(
    desk: Desk, accounts: Accounts
) -> None:
    names = {one["metadata"]["name"] for one in desk.site.kubectl.get("namespaces")["items"]}
    assert {"default", "kube-system", *accounts.places.values()} <= names
    for account in accounts.names:
        for namespace in names - {*accounts.places.values()}:
            assert _rights(accounts, account, namespace) == _ABOUT_ONESELF, (account, namespace)


def test_beside_the_recovery_identity_the_scan_lists_what_holds_no_secret_and_nobody_else_anything(
    accounts: Accounts,
) -> None:
    found = {one: _rights(accounts, one, accounts.places["g3zkp-maint"]) - _ABOUT_ONESELF for one in accounts.names}
    scan = found.pop(OBSERVE)
    assert {verb for verb, _ in scan} == {"list"}
    assert not {"secrets", "configmaps", "*"} & {resource for _, resource in scan}
    assert not any(found.values())


def test_what_dispatches_and_what_shows_has_no_right_at_all(desk: Desk, accounts: Accounts) -> None:
    without = [one for one in accounts.names if _rights(accounts, one, desk.site.namespace) == _ABOUT_ONESELF]
    assert sorted(without) == ["beat", "flower"]


def _rights(accounts: Accounts, account: str, namespace: str) -> set[tuple[str, str]]:
    """Verb and resource of all that the account may do there, what is of the whole cluster included."""
    client = accounts.platform(account, namespace).client
    review = client.create(f"{_REVIEWS}/selfsubjectrulesreviews", {"spec": {"namespace": namespace}})
    assert review["status"]["incomplete"] is False
    rules = review["status"]["resourceRules"]
    return {(verb, resource) for rule in rules for verb in rule["verbs"] for resource in rule["resources"]}


def _patch(platform: KubernetesPlatform, resource: str, name: str, api: str = "v1") -> Any:
    return platform.client.merge_patch(
        platform.client.path(resource, name, api=api), {"metadata": {"labels": {"a": "b"}}}
    )


def _delete(platform: KubernetesPlatform, resource: str, name: str, api: str = "v1") -> Any:
    return platform.client.request("DELETE", platform.client.path(resource, name, api=api))


TRIED: tuple[tuple[str, str, Callable[[KubernetesPlatform], Any]], ...] = (
    (BACKUP, "patch secrets", lambda platform: _patch(platform, "secrets", "g3zkp-keys")),
    (BACKUP, "patch deployments", lambda platform: _patch(platform, "deployments", "g3zkp-messenger", "apps/v1")),
    (BACKUP, "delete pods", lambda platform: _delete(platform, "pods", "redis-0")),
    (BACKUP, "get secrets", lambda platform: platform.read_secret("g3zkp-keys")),
    (CRYPTO, "delete deployments", lambda platform: _delete(platform, "deployments", "bystander", "apps/v1")),
    (CRYPTO, "delete pods", lambda platform: _delete(platform, "pods", "redis-0")),
    (CRYPTO, "patch rolebindings", lambda platform: platform.apply(_own_binding())),
    (CLEANUP, "get secrets", lambda platform: platform.read_secret("g3zkp-keys")),
    (CLEANUP, "list secrets", lambda platform: platform.client.list(platform.client.path("secrets"))),
    (CLEANUP, "delete deployments", lambda platform: _delete(platform, "deployments", "bystander", "apps/v1")),
    (OBSERVE, "list secrets", lambda platform: platform.client.list(platform.client.path("secrets"))),
    (OBSERVE, "get pods", lambda platform: platform.exec(MESSENGER, ["true"])),
    (OBSERVE, "delete pods", lambda platform: _delete(platform, "pods", "redis-0")),
    ("health", "list secrets", lambda platform: platform.client.list(platform.client.path("secrets"))),
    ("beat", "list pods", lambda platform: platform.client.list(platform.client.path("pods"))),
)


def _own_binding() -> dict[str, Any]:
    api = "rbac.authorization.k8s.io"
    reference = {"apiGroup": api, "kind": "ClusterRole", "name": "cluster-admin"}
    return {"apiVersion": f"{api}/v1", "kind": "RoleBinding", "metadata": {"name": "mine"}, "roleRef": reference}


def test_what_is_tried_all_the_same_is_refused_and_changes_nothing(desk: Desk, accounts: Accounts) -> None:
    before = desk.site.bystander(), desk.site.pods(), desk.site.pods("redis")
    for account, right, act in TRIED:
        verb, resource = right.split()
        with pytest.raises((PlatformDenied, ObjectRefused), match=rf"{account} may not {verb} {resource}"):
            act(accounts.platform(account))
    assert (desk.site.bystander(), desk.site.pods(), desk.site.pods("redis")) == before
