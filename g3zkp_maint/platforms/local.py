"""The messenger as supervised local processes: the embedded stack's cluster is a folder.

`workloads/` holds what is declared and what runs (see local_workload), `secrets/` and `configmaps/` hold objects in the
shape of Kubernetes. Only the supervisor, a part of `g3zkp-maint up`, starts and stops workloads; this adapter declares
and waits. Without a live supervisor nothing that is written down about processes is true, so every operation refuses.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from g3zkp_maint.clock import Clock, SystemClock
from g3zkp_maint.errors import BadInput, Conflict, DeadlineExceeded, PlatformUnavailable
from g3zkp_maint.platforms import local_object, local_secret
from g3zkp_maint.platforms.base import MESSENGER, REDIS, ExecStream, Instance, Rollout, SecretData, Workload
from g3zkp_maint.platforms.local_exec import LocalExec
from g3zkp_maint.platforms.local_files import locked, read_document, write_document
from g3zkp_maint.platforms.local_workload import (
    Declared,
    Observed,
    checked_name,
    declared_names,
    read_declared,
    read_observed,
    write_declared,
)
from g3zkp_maint.platforms.process import ProcessIdentity, identify

#: The supervisor beats about once a second; one that is silent for this long hangs or is stopped.
HEARTBEAT_SECONDS = 15.0
_POLL_SECONDS = 0.05


class LocalPlatform:
    """See Platform. `state_dir` is the folder of the embedded stack; `namespace` is shown in objects."""

    def __init__(self, state_dir: Path, *, namespace: str = "g3zkp", clock: Clock | None = None) -> None:
        self._state = state_dir.absolute()
        self._folder = self._state / "workloads"
        self._secrets = self._state / "secrets"
        self._namespace = namespace
        self._clock = clock or SystemClock()

    # -- commands ----------------------------------------------------------------------------------------------------

    def exec(
        self,
        workload: str,
        argv: Sequence[str],
        stdin: Iterable[bytes] | None = None,
        *,
        instance: str | None = None,
        may_leave_input: bool = False,
    ) -> ExecStream:
        """See Platform.exec."""
        self._check_supervised()
        declared = self._helped(workload) or self._with_ready_instance(workload)
        if instance is not None and instance not in {one.name for one in self.instances(workload) if one.ready}:
            raise PlatformUnavailable(f"{instance} of {workload} is gone or not ready; look again which there are")
        return LocalExec(
            argv,
            workload=workload,
            env=declared.env,
            cwd=declared.cwd,
            stdin=stdin,
            may_leave_input=may_leave_input,
        )

    @contextmanager
    def helper_pod(self, name: str, *, of: str = MESSENGER) -> Iterator[str]:
        """See Platform.helper_pod. The helper has the workload's environment and folder, and no process of its own."""
        self._check_supervised()
        read_declared(self._folder, of)
        path = self._helper_path(name)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        me = identify(os.getpid())
        with locked(path.parent):
            if self._helped(name) is not None:
                raise Conflict(f"a helper {name!r} is already there and its owner lives; take another name or wait")
            helper = {"pid": me.pid, "started": me.started, "of": of, "id": secrets.token_hex(8)}
            write_document(path, helper, durable=False)
        try:
            yield name
        finally:
            with locked(path.parent):
                if read_document(path) == helper:  # another may have its name meanwhile
                    path.unlink()

    def check_helper(self, name: str, *, of: str = MESSENGER) -> None:
        """See Platform.check_helper. Nobody refuses one here."""
        self._check_supervised()
        checked_name(name)
        read_declared(self._folder, of)

    def sweep_helpers(self, *, forsaken: Collection[str] = ()) -> int:
        """See Platform.sweep_helpers."""
        folder = self._state / "helpers"
        if not folder.is_dir():
            return 0
        with locked(folder):
            found = folder.glob("*.json")
            dead = [path for path in found if path.stem in forsaken or not _is_owned(read_document(path))]
            for path in dead:
                path.unlink(missing_ok=True)
        return len(dead)

    # -- workloads ---------------------------------------------------------------------------------------------------

    def instances(self, workload: str) -> Sequence[Instance]:
        """See Platform.instances. The name holds the process id, as another one is another instance."""
        self._check_supervised()
        read_declared(self._folder, workload)
        ports = read_document(self._state / "ports.json") or {}
        port = ports.get({MESSENGER: "messenger", REDIS: "redis"}.get(workload, ""))
        address = f"127.0.0.1:{port}" if port else None
        observed = read_observed(self._folder, workload).instances
        return [Instance(f"{workload}-{one.pid}", one.ready, address) for one in observed if one.is_alive()]

    def workloads(self) -> Sequence[Workload]:
        self._check_supervised()
        return [self._shown(name) for name in declared_names(self._folder)]

    def scale(self, workload: str, replicas: int) -> None:
        """See Platform.scale. Raises BadInput for more than 1: local instances would share a port."""
        self._check_supervised()
        if replicas not in (0, 1):
            raise BadInput(f"{workload} cannot have {replicas} instances here: local ones share a port, ask for 0 or 1")
        self._declare(workload, lambda declared: declared.changed(instances=replicas))

    def wait_scaled(self, workload: str, deadline_seconds: float) -> None:
        """See Platform.wait_scaled."""
        read_declared(self._folder, workload)
        self._await(lambda: self._is_settled(workload), deadline_seconds, f"{workload} to be as it was scaled")

    def restart(self, workloads: Sequence[str]) -> Rollout:
        """Has each workload's instances replaced: with one instance that is stop and start."""
        self._check_supervised()
        before = {name: read_declared(self._folder, name) for name in workloads}
        after = {name: self._declare(name, _next_revision) for name in before}
        return Rollout(
            tuple(workloads),
            {name: str(declared.revision) for name, declared in after.items()},
            {name: str(declared.revision) for name, declared in before.items()},
        )

    def wait(self, rollout: Rollout, deadline_seconds: float) -> None:
        """See Platform.wait. Raises Conflict when another rollout has replaced this one."""
        for name in rollout.workloads:
            self._check_current(rollout, name)
        self._await(
            lambda: all(self._is_settled(name) for name in rollout.workloads),
            deadline_seconds,
            f"the rollout of {', '.join(rollout.workloads)}",
        )

    def undo(self, rollout: Rollout) -> Rollout:
        """See Platform.undo. A local restart changes nothing but the instances: they are replaced once more, and so
        read again what the caller has put back."""
        for name in rollout.workloads:
            self._check_current(rollout, name)
        return self.restart(rollout.workloads)

    # -- objects -----------------------------------------------------------------------------------------------------

    def read_secret(self, name: str) -> SecretData:
        self._check_supervised()
        return local_secret.read_secret(self._secrets, name)

    def patch_secret(
        self,
        name: str,
        *,
        resource_version: str,
        data: Mapping[str, bytes | None],
        annotations: Mapping[str, str | None],
    ) -> SecretData:
        """See Platform.patch_secret."""
        self._check_supervised()
        return local_secret.patch_secret(
            self._secrets, name, resource_version=resource_version, data=data, annotations=annotations
        )

    def objects(self) -> Sequence[dict[str, Any]]:
        """See Platform.objects."""
        self._check_supervised()
        found = [self._object(name) for name in declared_names(self._folder)]
        for folder in (self._state / "configmaps", self._secrets):
            documents = (read_document(path) for path in sorted(folder.glob("*.json")))
            found += [document for document in documents if document is not None]
        return found

    def apply(self, document: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """See Platform.apply. Secrets and ConfigMaps are files here; workloads are declared by `up` alone."""
        self._check_supervised()
        return local_object.apply(self._state, document, namespace=self._namespace, dry_run=dry_run)

    def replace(self, document: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """See Platform.replace, and `apply`."""
        self._check_supervised()
        return local_object.replace(self._state, document, namespace=self._namespace, dry_run=dry_run)

    def health_url(self) -> str:
        """See Platform.health_url. Raises PlatformUnavailable before the first start."""
        ports = read_document(self._state / "ports.json")
        if ports is None:
            raise self._unavailable("it was never started")
        return f"http://127.0.0.1:{ports['messenger']}"

    # -- inside ------------------------------------------------------------------------------------------------------

    def _check_supervised(self) -> None:
        beat = read_document(self._state / "supervisor.json")
        if beat is None:
            raise self._unavailable("it does not run")
        if not ProcessIdentity(beat["pid"], beat["started"]).is_alive():
            raise self._unavailable("its supervisor has died")
        # A stopped process lives on and does nothing. The system's monotonic clock is one for all processes.
        if time.monotonic() - beat["monotonic"] > HEARTBEAT_SECONDS:
            raise self._unavailable("its supervisor hangs; stop it first with g3zkp-maint down")

    def _unavailable(self, why: str) -> PlatformUnavailable:
        return PlatformUnavailable(f"the embedded stack in {self._state} is down: {why}; start it with g3zkp-maint up")

    def _with_ready_instance(self, workload: str) -> Declared:
        declared = read_declared(self._folder, workload)
        if any(one.ready and one.is_alive() for one in read_observed(self._folder, workload).instances):
            return declared
        raise PlatformUnavailable(
            f"{workload} has no ready instance ({declared.instances} wanted); wait for it, scale it up or see {declared.log}"
        )

    def _helped(self, name: str) -> Declared | None:
        owner = read_document(self._helper_path(name))
        return read_declared(self._folder, owner["of"]) if owner is not None and _is_owned(owner) else None

    def _helper_path(self, name: str) -> Path:
        return self._state / "helpers" / f"{checked_name(name)}.json"

    def _declare(self, name: str, change: Callable[[Declared], Declared]) -> Declared:
        with locked(self._folder):
            declared = change(read_declared(self._folder, name))
            write_declared(self._folder, declared)
        return declared

    def _check_current(self, rollout: Rollout, name: str) -> None:
        revision = str(read_declared(self._folder, name).revision)
        if revision != rollout.revision.get(name):
            raise Conflict(f"{name} is at revision {revision}: another restart came after this rollout; look again")

    def _is_settled(self, name: str) -> bool:
        declared, observed = read_declared(self._folder, name), read_observed(self._folder, name)
        return (
            observed.observed_generation >= declared.generation
            and len(observed.instances) == declared.instances
            and all(_serves(declared, observed))
        )

    def _await(self, condition: Callable[[], bool], deadline_seconds: float, what: str) -> None:
        until = self._clock.monotonic() + deadline_seconds
        while True:
            self._check_supervised()
            if condition():
                return
            if self._clock.monotonic() >= until:
                raise DeadlineExceeded(
                    f"waited {deadline_seconds:g} s for {what}; see the logs in {self._state / 'logs'}"
                )
            time.sleep(_POLL_SECONDS)

    def _shown(self, name: str) -> Workload:
        declared, observed = read_declared(self._folder, name), read_observed(self._folder, name)
        return Workload(name, declared.kind, declared.instances, sum(one.ready for one in observed.instances))

    def _object(self, name: str) -> dict[str, Any]:
        declared, observed = read_declared(self._folder, name), read_observed(self._folder, name)
        ready = sum(one.ready for one in observed.instances)
        return _workload_object(declared, namespace=self._namespace, ready=ready)


def _is_owned(helper: dict[str, Any] | None) -> bool:
    return helper is not None and ProcessIdentity(helper["pid"], helper["started"]).is_alive()


def _next_revision(declared: Declared) -> Declared:
    return declared.changed(revision=declared.revision + 1)


def _serves(declared: Declared, observed: Observed) -> Iterator[bool]:
    return (one.ready and one.revision == declared.revision for one in observed.instances)


def _workload_object(declared: Declared, *, namespace: str, ready: int) -> dict[str, Any]:
    container = {
        "name": declared.name,
        "command": list(declared.argv),
        "workingDir": str(declared.cwd),
        "env": [{"name": key, "value": value} for key, value in sorted(declared.env.items())],
    }
    labels = {"app": declared.name}
    return {
        "apiVersion": "apps/v1",
        "kind": declared.kind,
        "metadata": {
            "name": declared.name,
            "namespace": namespace,
            "generation": declared.generation,
            "annotations": {"deployment.kubernetes.io/revision": str(declared.revision)},
        },
        "spec": {
            "replicas": declared.instances,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
        "status": {"readyReplicas": ready},
    }
