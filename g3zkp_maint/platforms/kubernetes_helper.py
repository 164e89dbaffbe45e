"""Helper pods: a workload's volumes and environment in a pod of their own, for as long as their owner lives.

The pod's name is its lock: the API server makes one object of a name. It runs as root, since it must give files back to
whoever owned them, with the three capabilities which that takes. Left behind by an owner that was killed, it is swept: by
the next helper, once that owner has not renewed it for a while or is known to be dead; and by `sweep_helpers` at once, where
the caller's leases say that nobody is at work with it (the next attempt of a restore; the crypto fleet, every ten minutes).
Where the owner runs in a pod of the same namespace, as from `k8s/` none does, it goes with that pod. And whatever happens it
ends by itself, and by the kubelet, at its time limit.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from g3zkp_maint.clock import Clock
from g3zkp_maint.errors import (
    Conflict,
    DeadlineExceeded,
    MaintenanceError,
    PlatformDenied,
    PlatformUnavailable,
    UnknownWorkload,
)
from g3zkp_maint.platforms.kubernetes_client import KubernetesClient
from g3zkp_maint.platforms.kubernetes_pod import (
    container_of,
    is_ending,
    is_finished,
    is_ready,
    name_of,
    told,
)
from g3zkp_maint.platforms.kubernetes_workload import DEPLOYMENT, desired
from g3zkp_maint.platforms.process import ProcessIdentity, identify

Object = dict[str, Any]

MANAGER = {"app.kubernetes.io/managed-by": "g3zkp-maint", "app.kubernetes.io/component": "helper"}
SELECTOR = ",".join(f"{key}={value}" for key, value in MANAGER.items())
CONTAINER = "helper"

_OWNER, _STARTED, _RENEWED = "g3zkp.io/owner", "g3zkp.io/owner-started", "g3zkp.io/renewed-at"
_RENEW_SECONDS = 30.0
#: Six renewals that did not come. Clocks of two machines may differ by some seconds.
_STALE_SECONDS = 180.0
_POLL_SECONDS = 0.25
#: A quota counts what has ended for some moments still.
_QUOTA_SECONDS = 30.0
_QUOTA_USED_UP = "exceeded quota"
_KEPT = ("imagePullSecrets", "nodeSelector", "tolerations", "affinity", "runtimeClassName", "priorityClassName")
_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
# `sleep` is no pid 1 that ends on SIGTERM; a shell with a trap is.
_COMMAND = 'trap "exit 0" TERM; sleep "$0" & wait'

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class HelperOptions:
    """`image` None: the workload's own. `lifetime_seconds` is the longest that one lives, whatever its owner says."""

    image: str | None = None
    lifetime_seconds: int = 6 * 3600
    start_seconds: float = 300.0
    stop_seconds: float = 120.0


class KubernetesHelpers:
    """Makes, keeps, removes and sweeps them."""

    def __init__(self, client: KubernetesClient, clock: Clock, options: HelperOptions) -> None:
        self._client = client
        self._clock = clock
        self._options = options

    @contextmanager
    def running(self, name: str, workload: Mapping[str, Any], container: str) -> Iterator[str]:
        """See Platform.helper_pod. `container` is that of `workload` whose volumes and environment it has."""
        self.sweep()
        made = self._create(pod_of(name, workload, container, self._options, self._owner()))
        stopped = threading.Event()
        renewal = threading.Thread(target=self._renew, args=(made, stopped), name=f"helper-{name}", daemon=True)
        renewal.start()
        try:
            self._await_ready(made)
            yield name
        finally:
            stopped.set()
            renewal.join()
            self._remove(made)

    def check(self, name: str, workload: Mapping[str, Any], container: str) -> None:
        """See Platform.check_helper. It asks for no more than an instance does, and so has room where one had."""
        pod = pod_of(name, workload, container, self._options, self._owner())
        try:
            self._create(pod, dry_run=True, quota_seconds=0 if desired(workload) else _QUOTA_SECONDS)
        except PlatformDenied as error:
            if not (desired(workload) and _QUOTA_USED_UP in str(error)):
                raise

    def find(self, name: str) -> Object:
        """A helper's pod. Raises UnknownWorkload, also for a pod that is none."""
        pod = self._client.get(self._client.path("pods", name))
        if MANAGER.items() <= pod["metadata"].get("labels", {}).items():
            return pod
        raise UnknownWorkload(f"{name!r} is a pod and no workload: name the Deployment or StatefulSet")

    def sweep(self, forsaken: Collection[str] = ()) -> int:
        """See Platform.sweep_helpers."""
        pods = self._client.list(self._client.path("pods"), selector=SELECTOR)
        left = [pod for pod in pods if name_of(pod) in forsaken or self._is_left(pod)]
        for pod in left:
            _log.warning("helper.swept", pod=name_of(pod), owner=_annotations(pod).get(_OWNER))
            self._remove(pod)
        return len(left)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _owner(self) -> Object:
        """What of its metadata tells whose it is."""
        me = identify(os.getpid())
        annotations = {_OWNER: f"{_place()} {me.pid}", _STARTED: me.started, _RENEWED: self._clock.now().isoformat()}
        return {"annotations": annotations, "ownerReferences": self._own_pod()}

    def _create(self, pod: Object, *, dry_run: bool = False, quota_seconds: float = _QUOTA_SECONDS) -> Object:
        until = self._clock.monotonic() + quota_seconds
        while True:
            try:
                return self._client.create(self._client.path("pods"), pod, dry_run=dry_run)
            except Conflict as error:
                raise Conflict(
                    f"a helper {name_of(pod)!r} is already there and its owner lives; take another name or wait"
                ) from error
            except PlatformDenied as error:
                if _QUOTA_USED_UP not in str(error) or self._clock.monotonic() >= until:
                    raise
            time.sleep(_POLL_SECONDS)

    def _own_pod(self) -> list[Object]:
        """The pod that this process runs in, where the helper may belong to it: one of the same namespace."""
        if not _NAMESPACE.is_file() or _NAMESPACE.read_text().strip() != self._client.namespace:
            return []
        try:
            pod = self._client.get(self._client.path("pods", socket.gethostname()))
        except (UnknownWorkload, PlatformDenied):
            # A pod with another host name. The other ways of removal remain.
            return []
        return [{"apiVersion": "v1", "kind": "Pod", "name": name_of(pod), "uid": pod["metadata"]["uid"]}]

    def _is_left(self, pod: Object) -> bool:
        annotations = _annotations(pod)
        if is_finished(pod) or is_ending(pod):
            return True
        place, _, pid = annotations.get(_OWNER, "").rpartition(" ")
        if place == _place() and pid.isdigit():
            return not ProcessIdentity(int(pid), annotations.get(_STARTED, "")).is_alive()
        return self._clock.now() - _renewed(pod) > timedelta(seconds=_STALE_SECONDS)

    def _renew(self, pod: Object, stopped: threading.Event) -> None:
        path = self._client.path("pods", name_of(pod))
        while not stopped.wait(_RENEW_SECONDS):
            renewed = {_RENEWED: self._clock.now().isoformat()}
            try:
                self._client.merge_patch(path, {"metadata": {"uid": pod["metadata"]["uid"], "annotations": renewed}})
            except MaintenanceError as error:
                # Its commands would tell if it were gone; an API server that is away comes back.
                _log.warning("helper.not_renewed", pod=name_of(pod), error=str(error))

    def _await_ready(self, made: Object) -> None:
        until = self._clock.monotonic() + self._options.start_seconds
        path = self._client.path("pods", name_of(made))
        while not is_ready(pod := self._client.get(path)):
            if is_finished(pod) or is_ending(pod):
                raise PlatformUnavailable(f"helper {told([pod])}: it ended before it began; see its events")
            if self._clock.monotonic() >= until:
                raise DeadlineExceeded(f"waited {self._options.start_seconds:g} s for helper {told([pod])}")
            time.sleep(_POLL_SECONDS)

    def _remove(self, pod: Object) -> None:
        """Returns when it is gone: its volumes are free then. Another pod of its name stays."""
        path, uid = self._client.path("pods", name_of(pod)), pod["metadata"]["uid"]
        until = self._clock.monotonic() + self._options.stop_seconds
        asked = False
        while True:
            try:
                if not asked:
                    self._client.delete(path, uid=uid, grace_seconds=1)
                    asked = True
                if self._client.get(path)["metadata"]["uid"] != uid:
                    return
            except (UnknownWorkload, Conflict):
                return
            except PlatformUnavailable:
                # Worth waiting for: left behind, it would keep the volume until it is swept.
                if self._clock.monotonic() >= until:
                    raise
            if self._clock.monotonic() >= until:
                raise DeadlineExceeded(
                    f"helper {name_of(pod)} is not gone after {self._options.stop_seconds:g} s: kubectl delete pod "
                    f"{name_of(pod)} -n {self._client.namespace}"
                )
            time.sleep(_POLL_SECONDS)


def pod_of(
    name: str, workload: Mapping[str, Any], container: str, options: HelperOptions, owner: Mapping[str, Any]
) -> Object:
    """The helper's pod, without the labels by which Services and workloads find theirs. Pure."""
    template = workload["spec"]["template"]
    main = container_of(template["spec"], container, template["metadata"].get("annotations"))
    mounted = {one["name"] for one in main.get("volumeMounts", [])}
    helper: Object = {
        "name": CONTAINER,
        "image": options.image or main["image"],
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", _COMMAND, str(options.lifetime_seconds)],
        **{key: main[key] for key in ("env", "envFrom", "workingDir", "volumeMounts") if key in main},
        # A quota may demand them. Devices that are claimed are the instances' own.
        "resources": {
            key: main["resources"][key] for key in ("requests", "limits") if key in main.get("resources", {})
        },
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            "runAsNonRoot": False,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"], "add": ["CHOWN", "DAC_OVERRIDE", "FOWNER"]},
        },
    }
    spec: Object = {
        **{key: template["spec"][key] for key in _KEPT if key in template["spec"]},
        "containers": [helper],
        "volumes": [one for one in _volumes(workload) if one["name"] in mounted],
        "restartPolicy": "Never",
        "activeDeadlineSeconds": options.lifetime_seconds,
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
    }
    metadata = {"name": name, "labels": MANAGER, **owner}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _volumes(workload: Mapping[str, Any]) -> list[Object]:
    """Those of the template; and of a StatefulSet the claims of its first pod, named `<claim>-<workload>-0`."""
    volumes: list[Object] = list(workload["spec"]["template"]["spec"].get("volumes", []))
    if workload["kind"] == DEPLOYMENT:
        return volumes
    first = int((workload["spec"].get("ordinals") or {}).get("start", 0))
    for claim in workload["spec"].get("volumeClaimTemplates", []):
        claimed = f"{name_of(claim)}-{name_of(workload)}-{first}"
        volumes.append({"name": name_of(claim), "persistentVolumeClaim": {"claimName": claimed}})
    return volumes


def _annotations(pod: Mapping[str, Any]) -> dict[str, str]:
    return pod["metadata"].get("annotations") or {}


def _renewed(pod: Mapping[str, Any]) -> datetime:
    stamp = _annotations(pod).get(_RENEWED) or pod["metadata"]["creationTimestamp"]
    return datetime.fromisoformat(stamp)


def _place() -> str:
    """Where process ids are what they are here: the same machine, since the same boot, the same pid namespace."""
    boot, pids = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    if not boot.exists():
        return socket.gethostname()
    return f"{socket.gethostname()}/{boot.read_text().strip()}/{pids.readlink()}"
