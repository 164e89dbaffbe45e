"""The messenger in a Kubernetes cluster, by its API server: on a machine beside it or in one of its own pods.

Each operation reads what it needs anew: nothing is watched, nothing is remembered but which kind a name is. What it may
do is what its ServiceAccount or user may do; a right that is missing is named. Writes are tried once: whoever asked has
a lease and a retry policy, and knows whether asking again is harmless.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from g3zkp_maint import settings
from g3zkp_maint.clock import Clock, SystemClock
from g3zkp_maint.errors import BadInput, DeadlineExceeded, PlatformError, PlatformUnavailable, UnknownWorkload
from g3zkp_maint.platforms.base import MESSENGER, REDIS, ExecStream, Instance, Rollout, SecretData, Workload
from g3zkp_maint.platforms.kubernetes_channels import Channels
from g3zkp_maint.platforms.kubernetes_client import Access, KubernetesClient
from g3zkp_maint.platforms.kubernetes_exec import KubernetesExec
from g3zkp_maint.platforms.kubernetes_handshake import open_channels
from g3zkp_maint.platforms.kubernetes_helper import CONTAINER, HelperOptions, KubernetesHelpers
from g3zkp_maint.platforms.kubernetes_objects import KubernetesObjects
from g3zkp_maint.platforms.kubernetes_pod import container_of, instance_of, is_ending, is_ready, name_of, told
from g3zkp_maint.platforms.kubernetes_rollout import POLL_SECONDS, KubernetesRollouts
from g3zkp_maint.platforms.kubernetes_workload import KubernetesWorkloads, desired, is_settled

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Names:
    """How the messenger's parts are called in the cluster. `containers` are by workload, as the product calls it; a pod
    with one container needs none. `health_url` None: the address of `service` in the cluster."""

    workloads: Mapping[str, str] = field(default_factory=lambda: {MESSENGER: MESSENGER, REDIS: REDIS})
    containers: Mapping[str, str] = field(default_factory=lambda: {MESSENGER: "g3zkp", REDIS: "redis"})
    service: str = "g3zkp-service"
    health_url: str | None = None


class KubernetesPlatform:
    """See Platform. The connection is made at the first call; not to be shared over a fork."""

    def __init__(
        self,
        access: Access,
        *,
        namespace: str = "g3zkp",
        names: Names | None = None,
        helpers: HelperOptions | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._access = access
        self._namespace = namespace
        self._names = names or Names()
        self._helper_options = helpers or HelperOptions()
        self._clock = clock or SystemClock()

    # -- commands ------------------------------------------------------------------------------------------------------

    def exec(
        self,
        workload: str,
        argv: Sequence[str],
        stdin: Iterable[bytes] | None = None,
        *,
        instance: str | None = None,
        may_leave_input: bool = False,
    ) -> ExecStream:
        """See Platform.exec. Of several ready pods it is the first by name."""
        if not argv:
            raise BadInput(f"no command was given to run in {workload}")
        pod, container = self._target(workload, instance)

        def opened(command: Sequence[str], has_input: bool) -> Channels:
            return open_channels(self.client, pod, command, has_input=has_input, container=container)

        return KubernetesExec(opened, argv, where=pod, stdin=stdin, may_leave_input=may_leave_input)

    @contextmanager
    def helper_pod(self, name: str, *, of: str = MESSENGER) -> Iterator[str]:
        """See Platform.helper_pod."""
        document = self._workloads.find(of)
        with self._helpers.running(name, document, self._names.containers.get(of, "")) as helper:
            yield helper

    def check_helper(self, name: str, *, of: str = MESSENGER) -> None:
        """See Platform.check_helper. The server is asked to make it as a dry run."""
        self._helpers.check(name, self._workloads.find(of), self._names.containers.get(of, ""))

    def sweep_helpers(self, *, forsaken: Collection[str] = ()) -> int:
        """See Platform.sweep_helpers."""
        return self._helpers.sweep(forsaken)

    # -- workloads -----------------------------------------------------------------------------------------------------

    def instances(self, workload: str) -> Sequence[Instance]:
        """See Platform.instances."""
        document = self._workloads.find(workload)
        pods = [pod for pod in self._workloads.pods(document) if not is_ending(pod)]
        return [instance_of(pod, self._container(workload, pod)) for pod in pods]

    def workloads(self) -> Sequence[Workload]:
        """See Platform.workloads. Those of others in the namespace are not listed."""
        return self._workloads.shown()

    def scale(self, workload: str, replicas: int) -> None:
        """See Platform.scale. An autoscaler leaves a workload of 0 alone."""
        if replicas < 0:
            raise BadInput(f"{workload} cannot have {replicas} instances")
        self._workloads.scale(workload, replicas)

    def wait_scaled(self, workload: str, deadline_seconds: float) -> None:
        """See Platform.wait_scaled. A pod counts as left until its containers are known to be dead."""
        until = self._clock.monotonic() + deadline_seconds
        while True:
            document = self._workloads.find(workload)
            pods = self._workloads.pods(document)
            if is_settled(document, pods):
                return
            if self._clock.monotonic() >= until:
                raise DeadlineExceeded(
                    f"waited {deadline_seconds:g} s for {workload} to have {desired(document)} instances: {told(pods)}"
                )
            time.sleep(POLL_SECONDS)

    def restart(self, workloads: Sequence[str]) -> Rollout:
        """See Platform.restart. Pods are replaced as the workload's strategy says, without an outage where it can be."""
        return self._rollouts.restart(workloads)

    def wait(self, rollout: Rollout, deadline_seconds: float) -> None:
        """See Platform.wait. Raises Conflict when another rollout has replaced this one."""
        self._rollouts.wait(rollout, deadline_seconds)

    def undo(self, rollout: Rollout) -> Rollout:
        """See Platform.undo."""
        return self._rollouts.undo(rollout)

    # -- objects -------------------------------------------------------------------------------------------------------

    def read_secret(self, name: str) -> SecretData:
        return _decoded(self.client.get(self.client.path("secrets", name)))

    def patch_secret(
        self,
        name: str,
        *,
        resource_version: str,
        data: Mapping[str, bytes | None],
        annotations: Mapping[str, str | None],
    ) -> SecretData:
        """See Platform.patch_secret. The version is in the patch, so the server itself refuses an old one."""
        encoded = {key: None if value is None else base64.b64encode(value).decode() for key, value in data.items()}
        metadata = {"resourceVersion": resource_version, "annotations": dict(annotations)}
        change = {"metadata": metadata, "data": encoded}
        return _decoded(self.client.merge_patch(self.client.path("secrets", name), change))

    def objects(self) -> Sequence[Object]:
        """See Platform.objects."""
        return self._objects.all()

    def apply(self, document: Mapping[str, Any], *, dry_run: bool = False) -> Object:
        """See Platform.apply. Server-side apply."""
        return self._objects.apply(document, dry_run=dry_run)

    def replace(self, document: Mapping[str, Any], *, dry_run: bool = False) -> Object:
        """See Platform.replace."""
        return self._objects.replace(document, dry_run=dry_run)

    def health_url(self) -> str:
        """See Platform.health_url. Raises PlatformError for a Service without an address in the cluster."""
        if self._names.health_url:
            return self._names.health_url.rstrip("/")
        service = self.client.get(self.client.path("services", self._names.service))["spec"]
        address = service.get("clusterIP") or "None"
        if address == "None" or not service.get("ports"):
            raise PlatformError(
                f"Service {self._names.service} has no address in the cluster: set platform.kubernetes.health_url"
            )
        ports = {one.get("name", ""): one["port"] for one in service["ports"]}
        host = f"[{address}]" if ":" in address else address
        return f"http://{host}:{ports.get('http', service['ports'][0]['port'])}"

    # -- inside --------------------------------------------------------------------------------------------------------

    @cached_property
    def client(self) -> KubernetesClient:
        """The connection to the API server. Raises SettingsError."""
        return KubernetesClient(self._access, self._namespace)

    @cached_property
    def _workloads(self) -> KubernetesWorkloads:
        return KubernetesWorkloads(self.client, self._names.workloads)

    @cached_property
    def _rollouts(self) -> KubernetesRollouts:
        return KubernetesRollouts(self.client, self._workloads, self._clock)

    @cached_property
    def _helpers(self) -> KubernetesHelpers:
        return KubernetesHelpers(self.client, self._clock, self._helper_options)

    @cached_property
    def _objects(self) -> KubernetesObjects:
        return KubernetesObjects(self.client)

    def _target(self, workload: str, instance: str | None) -> tuple[str, str]:
        """The pod and the container for a command."""
        try:
            document = self._workloads.find(workload)
        except UnknownWorkload as unknown:
            return self._helper_target(workload, unknown)
        pods = self._workloads.pods(document)
        ready = {name_of(pod): pod for pod in pods if is_ready(pod)}
        if instance is not None and instance not in ready:
            raise PlatformUnavailable(f"{instance} of {workload} is gone or not ready; look again which there are")
        if not ready:
            raise PlatformUnavailable(
                f"{workload} has no ready instance ({desired(document)} wanted): {told(pods)}; wait for it or scale it up"
            )
        pod = ready[instance] if instance is not None else next(iter(ready.values()))
        return name_of(pod), str(self._container(workload, pod)["name"])

    def _helper_target(self, name: str, unknown: UnknownWorkload) -> tuple[str, str]:
        try:
            pod = self._helpers.find(name)
        except UnknownWorkload:
            raise unknown from None
        if not is_ready(pod):
            raise PlatformUnavailable(f"helper {told([pod])}; take another one")
        return name, CONTAINER

    def _container(self, workload: str, pod: Object) -> Object:
        wanted = self._names.containers.get(workload, "")
        return container_of(pod["spec"], wanted, pod["metadata"].get("annotations"))


def kubernetes_platform(place: settings.Platform, *, clock: Clock) -> KubernetesPlatform:
    """As the settings say it."""
    cluster = place.kubernetes
    names = Names(
        workloads={MESSENGER: cluster.messenger, REDIS: cluster.redis},
        containers={MESSENGER: cluster.container, REDIS: cluster.redis_container},
        service=cluster.service,
        health_url=cluster.health_url,
    )
    return KubernetesPlatform(
        Access(cluster.kubeconfig, cluster.context, cluster.in_cluster, cluster.request_seconds),
        namespace=place.namespace,
        names=names,
        helpers=HelperOptions(cluster.helper_image, cluster.helper_seconds, place.rollout_seconds, place.stop_seconds),
        clock=clock,
    )


def _decoded(secret: Object) -> SecretData:
    metadata = secret["metadata"]
    data = {key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()}
    return SecretData(metadata["name"], metadata["resourceVersion"], data, metadata.get("annotations") or {})
