from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from g3zkp_maint.cleanup.housekeeping import HousekeepingPlan, plan

NOW = datetime(2026, 3, 30, tzinfo=UTC)
OLD, YOUNG = "2026-03-20T00:00:00Z", "2026-03-25T00:00:00Z"


def one(kind: str, name: str, **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, "uid": f"uid-{name}", "creationTimestamp": OLD, **fields.pop("metadata", {})}
    return {"kind": kind, "metadata": metadata, **fields}


def job(condition: str | None, at: str = OLD, status: str = "True", claim: str = "x") -> dict[str, Any]:
    conditions = [{"type": condition, "status": status, "lastTransitionTime": at}] if condition else []
    return one("Job", "job", spec=template(claim), status={"conditions": conditions})


def pod(phase: str, ended: str | None = None, claim: str = "x", **metadata: Any) -> dict[str, Any]:
    states = [{"state": {"terminated": {"finishedAt": ended}}}] if ended else []
    return one(
        "Pod", "pod", spec=volumes(claim), status={"phase": phase, "containerStatuses": states}, metadata=metadata
    )


def volumes(claim: str) -> dict[str, Any]:
    return {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}, {"name": "e", "emptyDir": {}}]}


def template(claim: str) -> dict[str, Any]:
    return {"template": {"spec": volumes(claim)}}


def planned(*objects: dict[str, Any]) -> HousekeepingPlan:
    return plan(objects, now=NOW, days=7)


OF_A_JOB = {"ownerReferences": [{"kind": "Job"}]}


@pytest.mark.parametrize(
    ("found", "goes"),
    [
        (job("Complete"), True),
        (job("Failed"), True),
        (job("Complete", YOUNG), False),
        (job("Complete", status="False"), False),
        (job("Suspended"), False),
        (job(None), False),
        (pod("Failed"), True),  # evicted: no container ever ran
        (pod("Failed", OLD), True),
        (pod("Failed", YOUNG), False),
        (pod("Failed", OLD, **OF_A_JOB), False),
        (pod("Succeeded", OLD), False),
        (pod("Running"), False),
        (pod("Unknown"), False),
        (one("PersistentVolumeClaim", "claim"), False),
        (one("Deployment", "d", spec=template("x")), False),
    ],
)
def test_what_goes(found: dict[str, Any], goes: bool) -> None:
    leftovers = planned(found).leftovers
    assert [(left.kind, left.uid) for left in leftovers] == (
        [(found["kind"], found["metadata"]["uid"])] if goes else []
    )


CLAIM = one("PersistentVolumeClaim", "claim")


@pytest.mark.parametrize(
    ("others", "is_unmounted"),
    [
        ([], True),
        ([pod("Running", claim="claim")], False),
        ([pod("Pending", claim="claim")], False),
        ([pod("Succeeded", OLD, claim="claim")], True),
        ([one("Deployment", "scaled-to-0", spec=template("claim"))], False),
        ([job(None, claim="claim")], False),
        ([job("Complete", claim="claim")], True),
        ([one("CronJob", "c", spec={"jobTemplate": {"spec": template("claim")}})], False),
    ],
)
def test_a_claim_is_named_where_nothing_mounts_it(others: list[dict[str, Any]], is_unmounted: bool) -> None:
    assert planned(CLAIM, *others).unmounted == (("claim",) if is_unmounted else ())


def test_claims_of_a_stateful_set_are_kept_for_its_growth() -> None:
    templates = [{"metadata": {"name": "data"}}]
    of_set = one("StatefulSet", "redis", spec={**template("x"), "volumeClaimTemplates": templates})
    claims = [one("PersistentVolumeClaim", name) for name in ("data-redis-2", "data-redis-old", "data-redis-")]
    assert planned(of_set, *claims).unmounted == ("data-redis-", "data-redis-old")
