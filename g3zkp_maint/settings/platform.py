"""Where the messenger runs, and what is known of it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import Field

from g3zkp_maint.settings.group import Group, Positive, Seconds


class Kubernetes(Group):
    """How the cluster is reached, and how the messenger's parts are called there."""

    kubeconfig: Path | None = Field(
        None, description="none: KUBECONFIG; in a pod its ServiceAccount; else `~/.kube/config`"
    )
    context: str | None = Field(None, description="the context of the kubeconfig; none: its current one")
    in_cluster: bool | None = Field(
        None, description="by the pod's ServiceAccount; none: where there is one and no kubeconfig or context is named"
    )
    request_seconds: Seconds = Field(30, description="how long one request may take")
    messenger: str = Field("g3zkp-messenger", description="the messenger's Deployment or StatefulSet")
    redis: str = Field("redis", description="the Deployment or StatefulSet of the messenger's Redis")
    container: str = Field(
        "g3zkp", description="the messenger's container; a pod's only one is taken whatever its name"
    )
    redis_container: str = Field("redis", description="the container of the messenger's Redis, likewise")
    service: str = Field("g3zkp-service", description="the Service by which the messenger is checked")
    health_url: str | None = Field(
        None, description="the messenger's address; none: that of its Service in the cluster"
    )
    helper_image: str | None = Field(
        None, description="the image of helper pods, with node, `sh`, `printf` and `dd`; none: that of the workload"
    )
    helper_seconds: Positive = Field(21600, description="the longest that a helper pod lives, whoever left it behind")


class Platform(Group):
    """Where the messenger runs."""

    kind: Literal["local", "kubernetes"] = Field("local", description="processes of this machine, or a cluster")
    namespace: str = Field("g3zkp", description="kubernetes: the messenger's namespace")
    state_dir: Path = Field(Path("state"), description="local: the folder of the embedded stack")
    rollout_seconds: Seconds = Field(300, description="how long a rollout or a start may take")
    stop_seconds: Seconds = Field(120, description="how long instances may take to be gone")
    kubernetes: Kubernetes = Kubernetes()


class Messenger(Group):
    """What the product knows of the messenger."""

    data_path: PurePosixPath = Field(PurePosixPath("/data"), description="the data folder as the messenger sees it")
    keys_secret: str = Field("g3zkp-keys", description="the Secret that holds the messenger's keys")
    append_backup_log: bool = Field(
        True, description="append a line to logs/backup.log in the data folder after each backup"
    )
