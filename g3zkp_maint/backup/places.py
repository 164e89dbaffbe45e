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
from g3zkp_maint.backup.restore_plan import MESSENGER_TARGET
from g3zkp_maint.backup.source import Source
from g3zkp_maint.backup.target import Target
from g3zkp_maint.platforms.base import MESSENGER, Platform
from g3zkp_maint.settings import Settings

_READING = "backup-files"
_RESTORING = "restore-files"


def messenger_source(settings: Settings, platform: Platform) -> Source:
    """The files of the messenger, which runs."""
    if settings.backup.source == "mounted":
        return MountedSource(settings.backup.mounted_root)
    return ExecSource(_agent(settings, platform, MESSENGER))


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
