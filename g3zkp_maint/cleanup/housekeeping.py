"""What is left over in the messenger's namespace, and which of it may go: pure, of the objects as the cluster lists them.

Finished Jobs and failed pods go once they are old enough. A claim that nothing mounts is named and stays, whatever it
holds: it is for people to know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from g3zkp_maint.coordination.guard import Guard
from g3zkp_maint.errors import Conflict, UnknownWorkload

Object = Mapping[str, Any]
_TEMPLATED = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob")


@dataclass(frozen=True, slots=True)
class Leftover:
    """An object by which nothing but this very one is meant: `uid` is never given out again."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class HousekeepingPlan:
    """`leftovers` are deleted, `unmounted` are names of claims, for people."""

    leftovers: tuple[Leftover, ...]
    unmounted: tuple[str, ...]


class Yard(Protocol):
    """The namespace, as far as housekeeping sees it. Holds no Secrets."""

    def objects(self) -> Sequence[Object]:
        """Jobs, pods, claims and the workloads that have pod templates, each with its `kind`."""
        ...

    def remove(self, leftover: Leftover) -> None:
        """Raises UnknownWorkload where it is gone, Conflict where another has its name."""
        ...


def plan(objects: Iterable[Object], *, now: datetime, days: float) -> HousekeepingPlan:
    found = list(objects)
    before = now - timedelta(days=days)
    leftovers = [_leftover(one) for one in found if _is_old(_finished_at(one), before)]
    claims = [one for one in found if one["kind"] == "PersistentVolumeClaim"]
    mounted = {name for one in found for name in _mounted(one)}
    sets = [prefix for one in found for prefix in _claim_prefixes(one)]
    unmounted = [name for name in map(_name, claims) if name not in mounted and not _is_of_set(name, sets)]
    return HousekeepingPlan(tuple(leftovers), tuple(sorted(unmounted)))


def tidy(yard: Yard, guard: Guard, *, now: datetime, days: float) -> HousekeepingPlan:
    """Plans, and deletes the leftovers. Returns those that were there to be deleted. Raises what the platform raises."""
    found = plan(yard.objects(), now=now, days=days)
    guard.verify()
    return HousekeepingPlan(tuple(one for one in found.leftovers if _removed(yard, guard, one)), found.unmounted)


def _removed(yard: Yard, guard: Guard, leftover: Leftover) -> bool:
    guard.ensure_held()
    try:
        yard.remove(leftover)
    except (UnknownWorkload, Conflict):  # somebody else was faster
        return False
    return True


def _leftover(one: Object) -> Leftover:
    return Leftover(one["kind"], _name(one), one["metadata"]["uid"])


def _name(one: Object) -> str:
    return str(one["metadata"]["name"])


def _is_old(finished: datetime | None, before: datetime) -> bool:
    return finished is not None and finished < before


def _finished_at(one: Object) -> datetime | None:
    """When it came to its end; None for what has not, and for what is not ours to delete."""
    if one["kind"] == "Job":
        return _job_finished_at(one)
    # A Job counts its failed pods: they go with it.
    owners = {owner["kind"] for owner in one["metadata"].get("ownerReferences") or ()}
    status = one.get("status") or {}
    if one["kind"] != "Pod" or status.get("phase") != "Failed" or "Job" in owners:
        return None
    ended = [state.get("finishedAt") for state in _terminated(status)]
    times = [*filter(None, ended), one["metadata"]["creationTimestamp"]]
    return max(map(datetime.fromisoformat, times))


def _job_finished_at(job: Object) -> datetime | None:
    conditions = (job.get("status") or {}).get("conditions") or ()
    for condition in conditions:
        if condition["type"] in {"Complete", "Failed"} and condition["status"] == "True":
            return datetime.fromisoformat(condition["lastTransitionTime"])
    return None


def _terminated(status: Object) -> Iterator[Object]:
    for container in status.get("containerStatuses") or ():
        if ended := (container.get("state") or {}).get("terminated"):
            yield ended


def _mounted(one: Object) -> Iterator[str]:
    """The claims that a pod, or a workload's pods once there are some, would mount."""
    for volume in (_pod_spec(one) or {}).get("volumes") or ():
        if claim := volume.get("persistentVolumeClaim"):
            yield str(claim["claimName"])


def _pod_spec(one: Object) -> Object | None:
    spec = one.get("spec") or {}
    if one["kind"] == "Pod":
        # One at its end mounts nothing any more.
        return None if (one.get("status") or {}).get("phase") in {"Failed", "Succeeded"} else spec
    if one["kind"] not in _TEMPLATED:
        return None
    if one["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    if one["kind"] == "Job" and _job_finished_at(one) is not None:
        return None
    found: Object = spec["template"]["spec"]
    return found


def _claim_prefixes(one: Object) -> Iterator[str]:
    """How the claims of a StatefulSet are called, before their number; those past its size are kept for its growth."""
    if one["kind"] == "StatefulSet":
        for template in one["spec"].get("volumeClaimTemplates") or ():
            yield f"{_name(template)}-{_name(one)}-"


def _is_of_set(name: str, prefixes: Iterable[str]) -> bool:
    return any(name.startswith(prefix) and name[len(prefix) :].isdigit() for prefix in prefixes)
