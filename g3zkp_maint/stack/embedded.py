"""The running stack: `up` from its start to the end of its last process.

Guarantees: one stack a state folder; a stop in order, each process with a deadline; whatever kills this process, what
it has started ends too (guardian), and the next start finds nothing to trip over.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from g3zkp_maint.errors import PlatformError
from g3zkp_maint.platforms.local_files import write_document
from g3zkp_maint.platforms.local_workload import (
    Declared,
    Instance,
    Observed,
    declared_names,
    read_declared,
    write_observed,
)
from g3zkp_maint.platforms.process import identify
from g3zkp_maint.stack.guardian import Guardian
from g3zkp_maint.stack.layout import Layout
from g3zkp_maint.stack.preparation import Options, held, prepare
from g3zkp_maint.stack.processes import ProcessSpec, Recipe, service_specs, workload_probes, workload_spec
from g3zkp_maint.stack.stopping import StopRequest
from g3zkp_maint.stack.supervisor import Seen, Supervisor

_LOOK_SECONDS = 0.1
_BEAT_SECONDS = 1.0
_SLOW_START_SECONDS = 60.0

Say = Callable[[str], None]


def run(
    layout: Layout,
    options: Options,
    *,
    user: Mapping[str, str],
    say: Say,
    started: Callable[[Recipe], None],
) -> None:
    """Runs a stack until a signal asks for its end; returns when nothing of it runs any more.

    `user` is the environment it is started in; `started` is called once, when all is ready. Raises StackRunning,
    PortTaken, ProgramMissing, KeyMaterialError before anything was started.
    """
    with held(layout), StopRequest().on_signals() as stop:
        recipe = prepare(layout, options, user=user, say=say)
        guardian = Guardian(layout.root, recipe.run)
        stack = _Stack(recipe, guardian, say)
        try:
            stack.keep(stop, started)
        finally:
            stack.end(stop)
        # Not after an error: then the guardian looks whether anything was left.
        guardian.dismiss()


class _Stack:
    def __init__(self, recipe: Recipe, guardian: Guardian, say: Say) -> None:
        self._recipe = recipe
        self._layout: Layout = recipe.layout
        self._guardian = guardian
        self._say = say
        self._services = service_specs(recipe)
        self._probes = workload_probes(recipe.access)
        self._supervisor = Supervisor(say=say)
        self._declared: dict[str, Declared] = {}
        self._published: dict[str, object] = {}
        self._beat_at = 0.0
        self._is_announced = False
        self._troubles: set[str] = set()

    def keep(self, stop: StopRequest, started: Callable[[Recipe], None]) -> None:
        """Looks until the stop was asked for and all have ended."""
        began = time.monotonic()
        while not stop.is_asked or self._supervisor.lowest_rank() is not None:
            now = time.monotonic()
            self._look(now, stop)
            if not self._is_announced and self._is_up(now - began):
                self._is_announced = True
                self._tell(now)
                started(self._recipe)
            stop.pause(_LOOK_SECONDS)

    def end(self, stop: StopRequest) -> None:
        """The last word, also after an error: nothing runs, and nobody waits for a supervisor."""
        if not stop.is_asked:
            stop.ask()
        while self._supervisor.lowest_rank() is not None:
            self._look(time.monotonic(), stop)
            stop.pause(_LOOK_SECONDS)
        self._supervisor.close()
        self._publish({})
        self._layout.supervisor.unlink(missing_ok=True)

    def _look(self, now: float, stop: StopRequest) -> None:
        self._guardian.ensure()
        self._read_declared()
        self._supervisor.look(self._wanted(stop), now, at_once=stop.is_urgent)
        self._tell(now)

    def _wanted(self, stop: StopRequest) -> list[ProcessSpec]:
        active = [declared for declared in self._declared.values() if declared.instances]
        specs = [
            *self._services,
            *(workload_spec(declared, self._probes.get(declared.name)) for declared in active),
        ]
        lowest = self._supervisor.lowest_rank()
        if not stop.is_asked or lowest is None:
            return [] if stop.is_asked else specs
        running = {one.name for one in self._supervisor.seen() if one.identity is not None}
        return [spec for spec in specs if spec.stop_rank > lowest and spec.name in running]

    def _read_declared(self) -> None:
        folder = self._layout.workloads
        for name in declared_names(folder):
            try:
                self._declared[name] = read_declared(folder, name)
            except PlatformError as error:
                # A file edited by hand must not take the stack down: what was declared before holds on.
                self._say_once(str(error))

    def _tell(self, now: float) -> None:
        try:
            if now >= self._beat_at:
                self._beat(now)
            self._publish({one.name: one for one in self._supervisor.seen()})
        except OSError as error:
            # A full disk: the platform will see an old heartbeat and refuse; the processes go on.
            self._say_once(f"the state cannot be written to {self._layout.root}: {error.strerror}")

    def _beat(self, now: float) -> None:
        me = identify(os.getpid())
        document = {"pid": me.pid, "started": me.started, "run": self._recipe.run, "monotonic": now}
        write_document(self._layout.supervisor, document, durable=False)
        self._beat_at = now + _BEAT_SECONDS

    def _publish(self, seen: Mapping[str, Seen]) -> None:
        for name, declared in self._declared.items():
            observed = _observed(declared, seen.get(name))
            if self._published.get(name) != observed:
                write_observed(self._layout.workloads, name, observed)
                self._published[name] = observed
        shown = _shown(list(seen.values()), self._layout, run_id=self._recipe.run, is_up=self._is_announced)
        if self._published.get("") != shown:
            write_document(self._layout.processes, shown, durable=False)
            self._published[""] = shown

    def _is_up(self, elapsed: float) -> bool:
        waiting = [one.name for one in self._supervisor.seen() if not one.is_ready and self._is_wanted(one.name)]
        if waiting and elapsed > _SLOW_START_SECONDS:
            self._say(f"not ready after {_SLOW_START_SECONDS:g} s: {', '.join(waiting)}; going on, see the logs")
            return True
        return not waiting

    def _is_wanted(self, name: str) -> bool:
        declared = self._declared.get(name)
        return declared is None or declared.instances > 0

    def _say_once(self, text: str) -> None:
        if text not in self._troubles:
            self._troubles.add(text)
            self._say(text)


def _observed(declared: Declared, seen: Seen | None) -> Observed:
    if seen is None or seen.identity is None or seen.revision is None:
        return Observed(observed_generation=declared.generation, restarts=seen.restarts if seen else 0)
    one = Instance(pid=seen.identity.pid, started=seen.identity.started, revision=seen.revision, ready=seen.is_ready)
    return Observed(observed_generation=declared.generation, instances=(one,), restarts=seen.restarts)


def _shown(seen: Sequence[Seen], layout: Layout, *, run_id: str, is_up: bool) -> dict[str, Any]:
    """The content of processes.json: what `status` shows, and what is looked for after a crash."""
    processes = [
        {
            "name": one.name,
            "pid": one.identity.pid if one.identity else 0,
            "started": one.identity.started if one.identity else "",
            "ready": one.is_ready,
            "restarts": one.restarts,
            "log": str(layout.log(one.name)),
        }
        for one in seen
    ]
    return {"run": run_id, "is_up": is_up, "processes": processes}
