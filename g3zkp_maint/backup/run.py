"""A whole backup in one call: plan, shards, seal. The command line and the benchmark use it; the fleets run the same
steps as tasks, so whatever holds for one holds for the other."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

from g3zkp_maint.backup.commit import commit
from g3zkp_maint.backup.component import archive_shard
from g3zkp_maint.backup.manifest import Manifest
from g3zkp_maint.backup.mounted import MountedSource
from g3zkp_maint.backup.plan import BackupPlan
from g3zkp_maint.backup.prepare import prepare, run_post_commands
from g3zkp_maint.backup.request import BackupRequest, Workshop
from g3zkp_maint.backup.thread_ends import await_thread_ends
from g3zkp_maint.errors import BackupError, MaintenanceError, ObjectMissing, UnknownBackup
from g3zkp_maint.progress import NoProgress


def back_up(workshop: Workshop, request: BackupRequest, *, processes: int = 1) -> Manifest:
    """Makes the backup and returns its manifest; shards are shared among `processes`. Raises what the steps raise."""
    try:
        manifest = _back_up(workshop, request, processes)
    except BaseException as error:
        try:
            run_post_commands(workshop)
        except MaintenanceError as other:
            error.add_note(f"a post-command failed as well: {other}")
        raise
    run_post_commands(workshop)
    return manifest


def _back_up(workshop: Workshop, request: BackupRequest, processes: int) -> Manifest:
    plan = prepare(workshop, request)
    if isinstance(plan, Manifest):
        return plan
    try:
        _archive(workshop, plan, processes)
        return commit(workshop, plan)
    except (ObjectMissing, BackupError):
        # Another attempt at this very run may have finished it, and swept what we were still reading.
        with contextlib.suppress(UnknownBackup):
            return workshop.repository.manifest(plan.name)
        raise


def _archive(workshop: Workshop, plan: BackupPlan, processes: int) -> None:
    if processes > 1 and len(plan.shards) > 1:
        count = min(processes, len(plan.shards))
        # Connections do not survive a fork; and what comes by one leaves the threads time for each other.
        if isinstance(workshop.files, MountedSource):
            _archive_in_processes(workshop, plan, count)
        else:
            _archive_in_threads(workshop, plan, count)
        return
    for shard in plan.shards:
        archive_shard(workshop, plan, shard.archive)


def _archive_in_threads(workshop: Workshop, plan: BackupPlan, count: int) -> None:
    pool = ThreadPoolExecutor(count, thread_name_prefix="archive")
    try:
        list(pool.map(lambda shard: archive_shard(workshop, plan, shard.archive), plan.shards))
    finally:
        pool.shutdown(cancel_futures=True)


_inherited: tuple[Workshop, BackupPlan] | None = None


def _archive_in_processes(workshop: Workshop, plan: BackupPlan, processes: int) -> None:
    """Keys cannot be pickled, and need not be: the children are forked and inherit them."""
    global _inherited  # noqa: PLW0603 - read by the children only
    _inherited = (workshop, plan)
    gc.freeze()  # or each child would walk all that it inherits, and have it copied by that
    await_thread_ends()  # those that sealed the plan, or read the parent's index
    try:
        with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("fork")) as pool:
            running = {pool.submit(_archive_inherited, shard.archive): shard for shard in plan.shards}
            for future, shard in running.items():
                counted = future.result()
                workshop.progress.step(shard.archive)
                workshop.progress.advance(*counted)
    finally:
        _inherited = None


def _archive_inherited(archive: str) -> tuple[int, int]:
    if _inherited is None:
        raise AssertionError("a child was started without its inheritance")
    workshop, plan = _inherited
    quiet = dataclasses.replace(workshop, progress=NoProgress())
    counts = archive_shard(quiet, plan, archive).counts
    return counts.bytes, counts.entries
