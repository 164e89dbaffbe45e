"""The port to where the messenger runs. Two adapters (local processes, Kubernetes), one contract suite."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

#: The names of the workloads that the product deals with, on every platform.
MESSENGER = "g3zkp-messenger"
REDIS = "redis"


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment or StatefulSet, or a supervised local process group. `desired` and `ready` count instances."""

    name: str
    kind: str
    desired: int
    ready: int


@dataclass(frozen=True, slots=True)
class Instance:
    """One copy of a workload: a pod, a local process. `address` is `host:port` of the first port that it serves, None
    before it has one."""

    name: str
    ready: bool
    address: str | None


@dataclass(frozen=True, slots=True)
class Rollout:
    """A restart under way, with what `undo` needs: the generation asked for and the one before, by workload."""

    workloads: tuple[str, ...]
    revision: Mapping[str, str] = field(default_factory=dict)
    previous: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SecretData:
    """A Secret's values, decoded, its annotations, and the version that a conditional patch must name.

    `repr` shows the names of the values only.
    """

    name: str
    resource_version: str
    data: Mapping[str, bytes] = field(repr=False)
    annotations: Mapping[str, str] = field(default_factory=dict)


class ExecStream(Protocol):
    """A command running in a workload. Its stdout is whole only when iteration ends without an error."""

    def __iter__(self) -> Iterator[bytes]:
        """stdout in pieces, in bounded memory. At the end raises ExecFailed for an exit code other than 0, and StreamBroken
        where no exit status came, or not the end of what it wrote. What a process writes that the command has left behind
        is an error on Kubernetes (ExecFailed), and a part of the output locally."""
        ...

    def read_all(self, limit: int = 1 << 20) -> bytes:
        """All of stdout; raises BadInput past `limit` bytes, else as iteration does."""
        ...

    def close(self) -> None:
        """Ends the command if it still runs."""
        ...


class Platform(Protocol):
    """What maintenance may ask of the place where the messenger runs."""

    def exec(
        self,
        workload: str,
        argv: Sequence[str],
        stdin: Iterable[bytes] | None = None,
        *,
        instance: str | None = None,
        may_leave_input: bool = False,
    ) -> ExecStream:
        """Starts `argv` in one ready instance of `workload`: in `instance`, or any. Of `stdin`, an empty chunk says that
        what came before is to go over now, however little it is. Raises PlatformUnavailable where
        none is ready, or not that one; UnknownWorkload where there is no such workload.

        A command that sees the end of its input has all of `stdin`: where the input or the connection breaks off
        before, the command is killed and sees no end. Without `stdin` its input is empty. A command that ends with 0 and
        has not read all of it has failed (ExecFailed), unless it `may_leave_input`."""
        ...

    def instances(self, workload: str) -> Sequence[Instance]:
        """The instances of `workload` that run or start, sorted by name; those that are being ended are left out.
        Raises UnknownWorkload."""
        ...

    def workloads(self) -> Sequence[Workload]: ...

    def scale(self, workload: str, replicas: int) -> None:
        """Asks for `replicas` instances; does not wait."""
        ...

    def wait_scaled(self, workload: str, deadline_seconds: float) -> None:
        """Returns when exactly the asked-for number of instances is ready and no other one is left (for 0: all are
        gone). Raises DeadlineExceeded."""
        ...

    def restart(self, workloads: Sequence[str]) -> Rollout: ...

    def wait(self, rollout: Rollout, deadline_seconds: float) -> None:
        """Returns when every instance is of the new revision and ready; some of before may still be ending. Raises
        DeadlineExceeded."""
        ...

    def undo(self, rollout: Rollout) -> Rollout:
        """Brings the workloads back to what they were before `rollout`; itself a rollout, to be waited for. Raises
        Conflict when another one came in between."""
        ...

    def read_secret(self, name: str) -> SecretData: ...

    def patch_secret(
        self,
        name: str,
        *,
        resource_version: str,
        data: Mapping[str, bytes | None],
        annotations: Mapping[str, str | None],
    ) -> SecretData:
        """Sets the given values and annotations, None removes one. Raises Conflict when `resource_version` is old."""
        ...

    def objects(self) -> Sequence[dict[str, Any]]:
        """Every namespaced object, as Kubernetes writes it in YAML. Holds Secrets: encrypt before it is stored."""
        ...

    def apply(self, document: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Makes the object, or brings it to what `document` says: fields that the document lacks stay as they are.
        Returns it as it is afterwards, or would be.

        `document` holds nothing that a server sets (no uid, no status); its namespace is the platform's own, whatever it
        says. Raises ObjectRefused where it cannot be applied as it stands, and a TemporaryError where it may work later."""
        ...

    def replace(self, document: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Makes an object that is there what `document` says, and nothing else; it has what the server set, so it names
        the resourceVersion that it replaces. Returns it as it is afterwards, or would be. Raises Conflict where that
        version is old, and as `apply` does."""
        ...

    def helper_pod(self, name: str, *, of: str = MESSENGER) -> AbstractContextManager[str]:
        """A workload, by the name yielded, that has the volumes of workload `of` at the same paths (of its first
        instance, where each has its own) and its environment, while `of` itself is down. It may read, write and chown
        every file. Always removed afterwards. Raises Conflict while another's helper of that name lives."""
        ...

    def check_helper(self, name: str, *, of: str = MESSENGER) -> None:
        """Raises what keeps `helper_pod` from being made: a right, a quota, a rule of admission. Makes nothing. A quota
        that `of` itself uses up, while it has instances, keeps no helper away: `of` will be down then."""
        ...

    def sweep_helpers(self, *, forsaken: Collection[str] = ()) -> int:
        """Removes helpers that their owner left behind (it died, or they are too old), and returns how many. A living
        owner's helpers stay, but those named `forsaken`: the caller's leases say that nobody is at work with them."""
        ...

    def health_url(self) -> str:
        """The messenger's base address, without a path."""
        ...
