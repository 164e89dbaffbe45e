"""Restarts of workloads, with a way back.

A revision is known by the digest of the pod template that the server holds: whoever changes anything in it makes another
revision. What was before is known by the name of the object in which the cluster keeps it, a ReplicaSet or a
ControllerRevision, and not copied: templates may hold secrets.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from g3zkp_maint.clock import Clock
from g3zkp_maint.errors import Conflict, DeadlineExceeded, PlatformError, UnknownWorkload
from g3zkp_maint.platforms.base import Rollout
from g3zkp_maint.platforms.kubernetes_client import KubernetesClient
from g3zkp_maint.platforms.kubernetes_pod import is_ready, name_of, told
from g3zkp_maint.platforms.kubernetes_workload import (
    APPS,
    DEPLOYMENT,
    KubernetesWorkloads,
    desired,
    is_observed,
    is_settled,
    usable,
)

Object = dict[str, Any]

#: As `kubectl rollout restart` does it; tools that watch for drift know it.
_RESTARTED = "kubectl.kubernetes.io/restartedAt"
_REVISION = "deployment.kubernetes.io/revision"
_HASH = "pod-template-hash"
_TRIES = 10
_OBSERVED_SECONDS = 30.0
POLL_SECONDS = 0.5


class KubernetesRollouts:
    """See Platform.restart, wait and undo."""

    def __init__(self, client: KubernetesClient, workloads: KubernetesWorkloads, clock: Clock) -> None:
        self._client = client
        self._workloads = workloads
        self._clock = clock

    def restart(self, names: Sequence[str]) -> Rollout:
        """Raises PlatformError, before anything is changed, where one of them replaces no pods by itself."""
        for name in names:
            _check_replaces(self._workloads.find(name))
        done = {name: self._restarted(name) for name in names}
        return _rollout(done)

    def wait(self, rollout: Rollout, deadline_seconds: float) -> None:
        """Raises DeadlineExceeded, at once where the cluster itself has given up, Conflict when another came after."""
        until = self._clock.monotonic() + deadline_seconds
        for name in rollout.workloads:
            while not self._is_out(rollout, name):
                if self._clock.monotonic() >= until:
                    pods = self._workloads.pods(self._workloads.find(name))
                    raise DeadlineExceeded(f"waited {deadline_seconds:g} s for the rollout of {name}: {told(pods)}")
                time.sleep(POLL_SECONDS)

    def undo(self, rollout: Rollout) -> Rollout:
        """See Platform.undo. Raises PlatformError where the cluster has not kept what was before."""
        current = {name: self._current(rollout, name) for name in rollout.workloads}
        former = {name: self._former(workload, rollout.previous[name]) for name, workload in current.items()}
        done = {}
        for name, workload in current.items():
            previous = self._revision_name(workload)
            changed = self._replace_template(workload, former[name])
            done[name] = (changed, previous)
            self._drop_stuck(changed, previous)
        return _rollout(done)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _restarted(self, name: str) -> tuple[Object, str]:
        """The workload with its new template, and the name of the revision before."""
        stamp = {_RESTARTED: self._clock.now().isoformat(timespec="microseconds")}
        template = {"metadata": {"annotations": stamp}}
        for _ in range(_TRIES):
            workload = self._observed(name)
            previous = self._revision_name(workload)
            version = {"resourceVersion": workload["metadata"]["resourceVersion"]}
            change = {"metadata": version, "spec": {"template": template}}
            try:
                return self._client.merge_patch(self._workloads.path(workload), change), previous
            except Conflict:
                # Mostly its status alone has moved on.
                continue
        raise Conflict(f"{name} changes faster than it can be restarted; look who changes it")

    def _observed(self, name: str) -> Object:
        until = self._clock.monotonic() + _OBSERVED_SECONDS
        while not is_observed(workload := self._workloads.find(name)):
            if self._clock.monotonic() >= until:
                raise DeadlineExceeded(f"the controller of {name} has not looked at it for {_OBSERVED_SECONDS:g} s")
            time.sleep(POLL_SECONDS / 5)
        return workload

    def _revision_name(self, workload: Object) -> str:
        if workload["kind"] != DEPLOYMENT:
            return str(workload["status"]["updateRevision"])
        revision = workload["metadata"].get("annotations", {}).get(_REVISION)
        for one in self._workloads.history(workload):
            if one["metadata"].get("annotations", {}).get(_REVISION) == revision:
                return name_of(one)
        raise PlatformError(f"no ReplicaSet has revision {revision} of {name_of(workload)}; look at the controller")

    def _current(self, rollout: Rollout, name: str) -> Object:
        workload = self._workloads.find(name)
        if _digest(workload["spec"]["template"]) != rollout.revision.get(name):
            raise Conflict(f"{name} has another pod template than this rollout gave it: another came after; look again")
        return workload

    def _is_out(self, rollout: Rollout, name: str) -> bool:
        workload = self._current(rollout, name)
        _check_progress(workload)
        if not is_observed(workload):
            return False
        status, wanted = workload["status"], desired(workload)
        if int(status.get("updatedReplicas") or 0) != wanted:
            return False
        if workload["kind"] == DEPLOYMENT and int(status.get("availableReplicas") or 0) != wanted:
            return False
        # A pod that is being ended gets no requests any more, and may take as long as its grace lasts.
        pods = usable(self._workloads.pods(workload), lambda _: True)
        if workload["kind"] != DEPLOYMENT:
            revision = status.get("updateRevision")
            if any(pod["metadata"]["labels"].get("controller-revision-hash") != revision for pod in pods):
                return False
        return is_settled(workload, pods)

    def _former(self, workload: Object, revision: str) -> Object:
        resource = "replicasets" if workload["kind"] == DEPLOYMENT else "controllerrevisions"
        try:
            kept = self._client.get(self._client.path(resource, revision, api=APPS))
        except UnknownWorkload as error:
            raise PlatformError(
                f"the cluster has not kept revision {revision} of {name_of(workload)} (see its revisionHistoryLimit): "
                "bring it back by hand"
            ) from error
        template: Object = (kept["spec"] if resource == "replicasets" else kept["data"]["spec"])["template"]
        labels = {key: value for key, value in template["metadata"].get("labels", {}).items() if key != _HASH}
        kept_fields = {key: value for key, value in template.items() if key != "$patch"}
        return {**kept_fields, "metadata": {**template["metadata"], "labels": labels}}

    def _replace_template(self, workload: Object, template: Object) -> Object:
        # Replacing the version by itself has the server refuse the patch when another has come meanwhile.
        version = workload["metadata"]["resourceVersion"]
        steps = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
            {"op": "replace", "path": "/spec/template", "value": template},
        ]
        return self._client.json_patch(self._workloads.path(workload), steps)

    def _drop_stuck(self, workload: Object, revision: str) -> None:
        """A StatefulSet waits for a pod of a revision that never gets ready, even to replace it: such a pod is removed.
        See https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#forced-rollback"""
        if workload["kind"] == DEPLOYMENT:
            return
        for pod in self._workloads.pods(workload):
            if pod["metadata"]["labels"].get("controller-revision-hash") == revision and not is_ready(pod):
                path = self._client.path("pods", name_of(pod))
                self._client.delete(path, uid=pod["metadata"]["uid"], grace_seconds=30)


def _rollout(done: Mapping[str, tuple[Object, str]]) -> Rollout:
    return Rollout(
        tuple(done),
        {name: _digest(workload["spec"]["template"]) for name, (workload, _) in done.items()},
        {name: previous for name, (_, previous) in done.items()},
    )


def _digest(template: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()


def _check_replaces(workload: Mapping[str, Any]) -> None:
    spec, name = workload["spec"], name_of(workload)
    if spec.get("paused"):
        raise PlatformError(f"{name} is paused and replaces no pods: kubectl rollout resume, then try again")
    strategy = spec.get("updateStrategy", {})
    if strategy.get("type") == "OnDelete" or (strategy.get("rollingUpdate") or {}).get("partition"):
        raise PlatformError(
            f"{name} does not replace all of its pods (updateStrategy): set RollingUpdate, no partition"
        )


def _check_progress(workload: Mapping[str, Any]) -> None:
    if not is_observed(workload):
        return
    for one in workload["status"].get("conditions", []):
        if one["type"] == "Progressing" and one.get("reason") == "ProgressDeadlineExceeded":
            raise DeadlineExceeded(
                f"the cluster has given up the rollout of {name_of(workload)}: {one.get('message', '')}; see its pods"
            )
