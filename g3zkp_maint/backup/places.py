"""Where the messenger's files are read and restored, by `backup.source`: in a folder that is mounted here, or in a pod.

In a pod, a backup asks the messenger itself; where that is down, and for every restore, a helper pod with its volume.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from g3zkp_maint.backup.agent.call import Agent
from g3zkp_maint.backup.exec_source import ExecSource
from g3zkp_maint.backup.exec_target import ExecTarget
from g3zkp_maint.backup.mounted import MountedSource
from g3zkp_maint.backup.mounted_target import MountedTarget
from g3zkp_maint.backup.redis_restore import HELPER as REDIS_HELPER
from g3zkp_maint.backup.restore_plan import MESSENGER_TARGET, RestorePlan
from g3zkp_maint.backup.source import Source
from g3zkp_maint.backup.target import Target
from g3zkp_maint.platforms.base import MESSENGER, REDIS, Platform
from g3zkp_maint.settings import Settings

_READING = "backup-files"
_RESTORING = "restore-files"
#: All that restores have, and nobody else. Whoever has a restore's leases knows that those which are there are forsaken.
HELPERS = (_READING, _RESTORING, REDIS_HELPER)


def messenger_source(settings: Settings, platform: Platform) -> Source:
    """The files of the messenger, which runs."""
    if settings.backup.source == "mounted":
        return MountedSource(settings.backup.mounted_root)
    return ExecSource(_agent(settings, platform, MESSENGER))


def check_helpers(settings: Settings, platform: Platform, plan: RestorePlan) -> None:
    """Raises what would keep the helpers away without which this restore comes to no end once the messenger is down. Of
    workloads that are still to be made nobody can tell."""
    if plan.target != MESSENGER_TARGET:
        return
    there = {one.name for one in platform.workloads()}
    if "files" in plan.steps and settings.backup.source == "exec" and MESSENGER in there:
        platform.check_helper(_RESTORING, of=MESSENGER)
    if "redis" in plan.steps and REDIS in there:
        platform.check_helper(REDIS_HELPER, of=REDIS)


@contextmanager
def files_source(settings: Settings, platform: Platform) -> Iterator[Source]:
    """As `messenger_source`, also while the messenger is down."""
    if settings.backup.source == "mounted":
        yield MountedSource(settings.backup.mounted_root)
        return
    with _running(platform) as workload:
        yield ExecSource(_agent(settings, platform, workload))


def is_there(settings: Settings, platform: Platform, path: str) -> bool:
    """Whether the messenger's data folder has a folder at `path`. Also while the messenger is down."""
    if settings.backup.source == "mounted":
        return (settings.backup.mounted_root / path).is_dir()
    with _running(platform) as workload:
        return ExecTarget(_agent(settings, platform, workload)).has_folder(path)


@contextmanager
def files_target(settings: Settings, platform: Platform, target: str) -> Iterator[Target]:
    """What a restore writes to: the messenger's data folder for MESSENGER_TARGET, while the messenger is down; else the
    folder `target` of this machine. Raises Conflict while another's helper lives, PlatformUnavailable."""
    if target != MESSENGER_TARGET:
        yield MountedTarget(Path(target))
    elif settings.backup.source == "mounted":
        yield MountedTarget(settings.backup.mounted_root)
    else:
        with platform.helper_pod(_RESTORING) as helper:
            yield ExecTarget(_agent(settings, platform, helper))


@contextmanager
def _running(platform: Platform) -> Iterator[str]:
    if any(one.ready for one in platform.workloads() if one.name == MESSENGER):
        yield MESSENGER
        return
    with platform.helper_pod(_READING) as helper:
        yield helper


def _agent(settings: Settings, platform: Platform, workload: str) -> Agent:
    return Agent(platform, workload, str(settings.messenger.data_path))
