"""The product, deployed by k8s/ in a real cluster and at work there: no part of it runs outside."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from deployment import FLEETS, LOGIN, Deployment, deployed
from restore_desk import wait_for

from g3zkp_maint.rotation.entries import KEY_TYPES
from g3zkp_maint.testing.cluster_site import ClusterSite
from g3zkp_maint.testing.messenger_manifests import SiteOptions
from g3zkp_maint.testing.rendered import of_kind
from workers.app import app, load_tasks

#: The image is made, and a dozen of processes start on few cores.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


#: Asked for, or followed by, by the tests before the one of all others.
ABOVE = (
    "backup.run",
    "backup.prune",
    "cleanup.run",
    "crypto.drill",
    "crypto.plan_restore",
    "crypto.restore",
    "crypto.rotate_keys",
    "observe.health",
)
#: With what their results must say.
OTHERS: dict[str, dict[str, object]] = {
    "backup.reread": {"outcome": "ok"},
    "backup.reread_second": {"outcome": "ok"},
    "backup.verify": {"mode": "quick"},
    "crypto.check_certificates": {"outcome": "ok"},
    "crypto.roll_out_certificates": {"outcome": "ok"},
    "observe.benchmark": {"outcome": "ok", "measured": True},
    "observe.check_dependencies": {"outcome": "ok"},
    "observe.security_audit": {"outcome": "ok"},
    "observe.security_scan": {"outcome": "ok"},
    "observe.weekly_report": {"outcome": "ok"},
    "observe.window_notices": {"open": []},
}
WITHOUT_RESULT = ("crypto.sweep_helpers", "observe.reap", *(f"{fleet}.canary" for fleet in FLEETS))
_STEP = "a step of a run that is asked for, and nothing by itself"
NOT_ASKED = {
    "backup.archive": _STEP,
    "backup.seal": _STEP,
    "backup.verify_sealed": _STEP,
    "backup.report": _STEP,
    "cleanup.step": _STEP,
    "cleanup.report": _STEP,
    "backup.copy": "overlay dev has no second store",
    "backup.prune_second": "overlay dev has no second store",
    "crypto.renew_certificate": "needs cert-manager, which this cluster is too old for",
}


@pytest.fixture(scope="module")
def deployment(
    another_site: Callable[..., ClusterSite], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    site = another_site("deployed", SiteOptions(replicas=1))
    with deployed(site, tmp_path_factory.mktemp("deployment")) as found:
        site.seed("5M", redis_keys=200)
        yield found


def files(folder: Path) -> dict[str, bytes]:
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def test_every_probe_is_green_and_of_two_beats_one_leads(deployment: Deployment) -> None:
    """A pod is ready when its probe says so: `g3zkp-maint probe`, for workers and beat."""
    for name in (*(f"worker-{fleet}" for fleet in FLEETS), "beat", "flower", "exporter"):
        state = deployment.of(name).get("deployment", name)["status"]
        assert state["readyReplicas"] == state["replicas"] == (2 if name == "beat" else 1), name
    beats = deployment.pods("beat")
    said_by = {one: deployment.kubectl.exec(one, "g3zkp-maint", "probe", "beat").decode() for one in beats}
    (leader,) = [one for one, said in said_by.items() if " leads" in said]
    (other,) = set(beats) - {leader}
    assert f"stands by for {leader}" in said_by[other]


def test_pods_are_confined_and_have_their_own_secret_alone(deployment: Deployment) -> None:
    for fleet in FLEETS:
        name = f"worker-{fleet}"
        assert deployment.exec(name, "id", "-u").strip() == "1001"
        written = deployment.of(name).run("exec", f"deploy/{name}", "--", "touch", "/usr/local/here")
        assert b"Read-only file system" in written.stderr
        held = set(deployment.exec(name, "ls", "/etc/g3zkp-maint/secret").split())
        assert ("recovery.identity" in held) == (fleet == "crypto"), held
        assert ("redis_url" in deployment.exec(name, "cat", "/etc/g3zkp-maint/secret/settings.toml")) == (
            fleet in ("backup", "crypto")
        )


def test_the_health_job_of_the_calendar_of_the_cluster_finds_the_messenger_well(deployment: Deployment) -> None:
    (scheduled,) = of_kind(deployment.objects, "CronJob")
    place = {"name": "health-now", "namespace": deployment.kubectl.namespace}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": place, "spec": scheduled["spec"]["jobTemplate"]["spec"]}
    deployment.kubectl.apply([job])
    deployment.kubectl("wait", "--for=condition=complete", "job/health-now", "--timeout=90s")
    assert "1 of 1 instances are well" in deployment.kubectl("logs", "job/health-now").decode()


def test_flower_shows_nothing_without_a_login(deployment: Deployment) -> None:
    page = f"http://{deployment.address('flower')}:5555/api/workers"
    assert httpx.get(page, trust_env=False).status_code == 401
    assert httpx.get(page, auth=(LOGIN[0], "another"), trust_env=False).status_code == 401
    assert httpx.get(page, auth=LOGIN, trust_env=False).status_code == 200


def test_the_fleets_back_up_and_restore_a_messenger_that_lost_its_data(deployment: Deployment) -> None:
    """Asked for in a pod that has the broker and nothing else."""
    data = deployment.site.data_dir / "ipfs"
    before = files(data)
    made = deployment.ask("backup.run", "full")
    assert (made["type"], made["outcome"]) == ("full", "ok")
    shutil.rmtree(data)
    plan = deployment.ask("crypto.plan_restore", made["name"])
    restored = deployment.ask(
        "crypto.restore", made["name"], confirm=plan["token"], force=True, reason="a disk died", timeout_seconds=180
    )
    assert (restored["outcome"], restored["redis_keys"]) == ("ok", 200)
    assert restored["safety"].startswith("g3zkp_incremental_")
    assert files(data) == before


def test_the_crypto_fleet_rotates_all_keys_and_then_none_is_due(deployment: Deployment) -> None:
    rotated = deployment.ask("crypto.rotate_keys", force=True, reason="a test", timeout_seconds=180)["rotated"]
    assert [one["type"] for one in rotated] == list(KEY_TYPES)
    assert deployment.ask("crypto.rotate_keys", dry_run=True)["due"] == []


def test_cleanup_and_health_run_by_their_fleets(deployment: Deployment) -> None:
    assert deployment.ask("cleanup.run")["outcome"] == "ok"
    # While the restore had it down, beat may have asked: two checks then make it well again.
    assert "healthy" in [deployment.ask("observe.health")["state"] for _ in range(2)]


def test_every_other_task_is_done_by_its_fleet_with_the_rights_of_its_account(deployment: Deployment) -> None:
    """What each comes to is tested elsewhere; here, that its fleet, as k8s/ has it, can do it at all."""
    load_tasks()
    ours = {task for task in app.tasks if task.partition(".")[0] in FLEETS}
    assert sorted([*ABOVE, *OTHERS, *WITHOUT_RESULT, *NOT_ASKED]) == sorted(ours), "ask for a new task, or say why not"
    backup = deployment.ask("backup.run", "incremental")["name"]
    asked = {task: [backup] if task == "backup.verify" else [] for task in (*OTHERS, *WITHOUT_RESULT)}
    found = deployment.ask_all(asked)
    told = {
        task: {key: found[task].get(key) for key in wanted} if isinstance(found[task], dict) else found[task]
        for task, wanted in OTHERS.items()
    }
    assert told == OTHERS, found
    assert found["observe.benchmark"]["figures"].keys() >= {"health.p95", "ready.p95", "redis.p99"}, found
    assert (deployment.store / found["observe.weekly_report"]["report"]).is_file()
    refused = deployment.kubectl.run("exec", "deploy/worker-observe", "--", "touch", "/backups/elsewhere")
    assert b"Read-only file system" in refused.stderr
    for task in WITHOUT_RESULT:
        done, fleet = f"Task {task}[{found[task]}] succeeded", f"worker-{task.partition('.')[0]}"
        wait_for(partial(deployment.has_logged, fleet, done), done)


def test_the_exporter_tells_prometheus_of_what_was_done(deployment: Deployment) -> None:
    page = httpx.get(f"http://{deployment.address('exporter')}:9309/metrics", trust_env=False).text
    samples = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    for task in (
        "backup.run",
        "backup.prune",
        "crypto.drill",
        "crypto.restore",
        "crypto.rotate_keys",
        "cleanup.run",
        "observe.health",
    ):
        assert samples[f'g3zkp_maint_task_last_run_ok{{task="{task}"}}'] == "1.0", task
    for fleet in FLEETS:
        assert samples[f'g3zkp_maint_fleet_workers{{queue="{fleet}"}}'] == "1.0", fleet
    assert samples['g3zkp_maint_source_up{source="messenger"}'] == "1.0"
    assert samples["g3zkp_maint_beat_lock_held"] == "1.0"
