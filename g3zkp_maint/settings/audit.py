"""What the security scan looks at, what counts as late, and who is expected to have rights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from g3zkp_maint.settings.group import Group, Hours, Positive, Seconds

Days = Annotated[float, Field(gt=0)]


class Audit(Group):
    """The daily security scan. Subjects are named as the API server does it: `system:serviceaccount:NAMESPACE:NAME`, a
    user's name, `group:NAME`; `*` and `?` stand for others."""

    fleets_namespace: str = Field("g3zkp-maint", description="kubernetes: the namespace of the maintenance fleets")
    look_into_secret: bool = Field(
        True,
        description="read the age of keys from the messenger's Secret; off where it may not be read: from the journal",
    )
    look_into_files: bool = Field(
        True, description="look at modes and owners of the messenger's key files, by a command in the messenger"
    )
    look_into_redis: bool = Field(True, description="see whether the messenger's Redis answers without a password")
    look_into_cluster: bool = Field(
        True, description="kubernetes: list ClusterRoles and what binds them; off where they may not be listed"
    )
    look_into_npm: bool = Field(True, description="monthly: ask `npm audit` in the messenger")
    verify: Literal["quick", "full"] = Field(
        "full",
        description="monthly: how each kept backup is verified; `full` reads stored bytes, `quick` compares sizes",
    )
    verify_bytes: Positive = Field(
        16 << 30, description="monthly: so many stored bytes are read at most, those of the newest backups first"
    )
    scanner_seconds: Seconds = Field(
        600, description="monthly: how long a scanner for vulnerabilities may take for one image"
    )
    answer_seconds: Seconds = Field(20, description="how long the messenger may take to list its key files")
    waivers: Path | None = Field(None, description="a TOML file of findings that are borne for a time (docs/audit.md)")
    backup_hours: Hours = Field(36, gt=0, description="an older newest backup is a finding")
    drill_days: Days = Field(14, description="so is an older last drill that passed")
    key_grace_days: Days = Field(
        8, description="so is a key that is overdue for longer: rotations are weekly, and may be a day late"
    )
    log: Path | None = Field(
        None, description="the audit log of the API server, one JSON object a line; beside it what it was rotated into"
    )
    log_hours: Hours = Field(25, gt=0, description="how far back it is read")
    log_bytes: Positive = Field(268_435_456, description="and how much of its end at most, of all its files together")
    administrators: tuple[str, ...] = Field(
        (
            "group:system:masters",
            "system:apiserver",
            "system:kube-controller-manager",
            "system:kube-scheduler",
            "system:serviceaccount:kube-system:*",
        ),
        description="subjects that may do everything: the cluster's own, and its administrators",
    )
    readers: tuple[str, ...] = Field(
        (
            "system:serviceaccount:g3zkp:worker-backup",
            "system:serviceaccount:g3zkp-maint:worker-crypto",
            "system:node:*",
        ),
        description="subjects that may read the messenger's Secrets: those fleets, and nodes for the pods on them",
    )
    commanders: tuple[str, ...] = Field(
        (
            "system:serviceaccount:g3zkp:worker-backup",
            "system:serviceaccount:g3zkp-maint:worker-crypto",
            "system:serviceaccount:g3zkp-maint:worker-cleanup",
        ),
        description="subjects that may run commands in the messenger's pods, or make pods",
    )
