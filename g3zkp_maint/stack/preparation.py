"""What happens before a stack starts: one at a time on a state folder, no leftovers, everything in its place."""

from __future__ import annotations

import fcntl
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from g3zkp_maint.errors import SettingsError, StackRunning, UnknownWorkload
from g3zkp_maint.platforms.local_files import locked, read_document, write_private
from g3zkp_maint.platforms.local_workload import Declared, forget_observed, read_declared, write_declared
from g3zkp_maint.stack import first_start, ports
from g3zkp_maint.stack.environment import Access, write_env_file
from g3zkp_maint.stack.layout import Layout
from g3zkp_maint.stack.leftovers import sweep
from g3zkp_maint.stack.processes import Programs, Recipe, declared_workloads, server_configurations
from g3zkp_maint.stack.valkey import valkey_binary


@dataclass(frozen=True, slots=True)
class Options:
    """What the user may choose. A port that is None is kept from the last start, or chosen. Without `fleets` there is
    the broker and the messenger only, for those who start workers themselves."""

    ports: Mapping[str, int | None] = field(default_factory=dict)
    fleets: bool = True
    flower: bool = True
    app: str = "workers.app"


@contextmanager
def held(layout: Layout) -> Iterator[None]:
    """Holds the state folder; raises StackRunning where another stack does, SettingsError where the folder cannot be
    used. The kernel lets go when the holder dies."""
    try:
        layout.make_folders()
    except OSError as error:
        raise SettingsError(
            f"platform.state_dir {layout.root} cannot be used ({error.strerror}: {error.filename}); give another by "
            "--state-dir"
        ) from error
    with layout.lock.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            beat = read_document(layout.supervisor)
            who = f" (pid {beat['pid']})" if beat else ""
            raise StackRunning(
                f"a stack already runs on {layout.root}{who}; see g3zkp-maint status, stop it with g3zkp-maint down, or "
                "give another --state-dir"
            ) from None
        yield


def prepare(layout: Layout, options: Options, *, user: Mapping[str, str], say: Callable[[str], None]) -> Recipe:
    """Stops leftovers, settles ports, makes what is missing, declares the workloads. The folder must be held."""
    programs = find_programs()
    if count := sweep(layout.root):
        say(f"stopped {count} processes that an earlier start had left behind")
    chosen, moved = ports.settle(layout.ports, options.ports)
    for name in moved:
        say(f"the port of {name} was taken by another program: it is {getattr(chosen, name)} now")
    if first_start.ensure_keys(layout):
        say(f"made keys in {layout.all_keys}; keep a copy of crypto/recovery.identity elsewhere: it opens the backups")
    first_start.ensure_secrets(layout)
    access = Access(
        chosen,
        redis_password=first_start.ensure_password(layout.redis_data.parent),
        coordination_password=first_start.ensure_password(layout.coordination.parent),
    )
    recipe = Recipe(layout, access, programs, secrets.token_hex(8), user, options.app, options.fleets, options.flower)
    for path, content in server_configurations(recipe).items():
        write_private(path, content.encode())
    write_env_file(layout, access)
    _declare(layout, declared_workloads(recipe))
    return recipe


def find_programs() -> Programs:
    """Raises ProgramMissing, and SettingsError where there is no Node."""
    import messenger  # noqa: PLC0415  only the stack runs it

    return Programs(Path(messenger.node_binary()), messenger.path(), valkey_binary())


def _declare(layout: Layout, workloads: list[Declared]) -> None:
    """Declares each anew, with the instances and the revision it had: a messenger that a restore has scaled to 0 stays
    down until the restore goes on."""
    forget_observed(layout.workloads)
    with locked(layout.workloads):
        for new in workloads:
            write_declared(layout.workloads, _carried_over(layout, new))


def _carried_over(layout: Layout, new: Declared) -> Declared:
    try:
        old = read_declared(layout.workloads, new.name)
    except UnknownWorkload:
        return new
    kept = {"instances": old.instances, "revision": old.revision, "generation": old.generation + 1}
    return new.model_copy(update=kept)
