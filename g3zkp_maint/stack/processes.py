"""The processes of the stack, as data: what runs, with which environment, after what, and when it stops."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from g3zkp_maint.platforms.base import MESSENGER, REDIS
from g3zkp_maint.platforms.local_workload import Declared, Mount
from g3zkp_maint.stack.environment import FLEETS, SHUTDOWN_SECONDS, Access, Fleet, Role, fleet_environment, overlaid
from g3zkp_maint.stack.first_start import KEYS_SECRET
from g3zkp_maint.stack.layout import Layout
from g3zkp_maint.stack.leftovers import marker
from g3zkp_maint.stack.probe import HttpProbe, Probe, RedisProbe
from g3zkp_maint.stack.valkey import configuration

COORDINATION = "coordination"
METRICS = "metrics"
#: Backups spend their time in compression and hashing. A drill may take hours, behind which no rotation may wait: its
#: maintenance window would be over. The others run one after the other anyway.
CONCURRENCY: Mapping[Fleet, int] = {"backup": 2, "crypto": 2, "cleanup": 1, "observe": 1}

# What sends stops first, what takes work next, then what the work was on; the broker last, so that a worker can give
# its messages back.
_SENDERS, _FLEETS, _MESSENGER, _REDIS, _BROKER = range(5)
_STOP_RANK: Mapping[str, int] = {MESSENGER: _MESSENGER, REDIS: _REDIS}


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """`after` names what must be ready before the start; `stop_rank` orders the stop, lowest first; `mounts` are
    brought up to date before each start."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    cwd: Path
    log: Path
    stop_rank: int
    stop_seconds: float
    probe: Probe | None = None
    after: tuple[str, ...] = ()
    revision: int = 1
    mounts: tuple[Mount, ...] = ()


@dataclass(frozen=True, slots=True)
class Programs:
    """Where they are. `messenger` is the folder of the messenger, the others are binaries."""

    node: Path
    messenger: Path
    valkey: Path


@dataclass(frozen=True, slots=True)
class Recipe:
    """What the specifications are made of. `run` names this start of the stack; `app` is Celery's `-A`; `user` the
    environment of who starts it."""

    layout: Layout
    access: Access
    programs: Programs
    run: str
    user: Mapping[str, str] = field(repr=False)
    app: str = "workers.app"
    fleets: bool = True
    flower: bool = True


def service_specs(recipe: Recipe) -> list[ProcessSpec]:
    """All but the messenger's workloads: the broker, a worker a queue, beat, the exporter of metrics, Flower."""
    specs = [_broker(recipe)]
    if recipe.fleets:
        specs += [*(_fleet(recipe, fleet) for fleet in FLEETS), _beat(recipe), _exporter(recipe)]
    if recipe.flower:
        specs.append(_flower(recipe))
    return specs


def declared_workloads(recipe: Recipe) -> list[Declared]:
    """The messenger and its Redis as they are declared at a first start."""
    return [_messenger(recipe), _redis(recipe)]


def workload_probes(access: Access) -> dict[str, Probe]:
    return {
        MESSENGER: HttpProbe(f"{access.messenger_url}/ready"),
        REDIS: RedisProbe(access.ports.redis, access.redis_password),
    }


def workload_spec(declared: Declared, probe: Probe | None) -> ProcessSpec:
    return ProcessSpec(
        declared.name,
        declared.argv,
        declared.env,
        declared.cwd,
        declared.log,
        _STOP_RANK.get(declared.name, _MESSENGER),
        declared.stop_seconds,
        probe,
        revision=declared.revision,
        mounts=declared.mounts,
    )


def server_configurations(recipe: Recipe) -> dict[Path, str]:
    """The content of the configuration files of both Valkey servers, by path."""
    layout, access = recipe.layout, recipe.access
    broker = configuration(
        port=access.ports.coordination,
        data=layout.coordination,
        password=access.coordination_password,
        appendfsync="always",
        snapshots=False,
    )
    redis = configuration(
        port=access.ports.redis,
        data=layout.redis_data,
        password=access.redis_password,
        appendfsync="everysec",
        snapshots=True,
    )
    return {layout.coordination_conf: broker, layout.redis_conf: redis}


def _broker(recipe: Recipe) -> ProcessSpec:
    layout, access = recipe.layout, recipe.access
    return ProcessSpec(
        COORDINATION,
        (str(recipe.programs.valkey), str(layout.coordination_conf)),
        _bare_environment(recipe),
        layout.coordination,
        layout.log(COORDINATION),
        _BROKER,
        20,
        RedisProbe(access.ports.coordination, access.coordination_password),
    )


def _fleet(recipe: Recipe, fleet: Fleet) -> ProcessSpec:
    options = ("worker", "-Q", fleet, "-n", f"{fleet}@%h", "--concurrency", str(CONCURRENCY[fleet]), "-E")
    # One worker a queue has nobody to gossip with, and waits a second to find that out.
    quick = ("--without-gossip", "--without-mingle")
    # SIGTERM then means: soft shutdown, as long as the application allows, and what is not done goes back to its queue.
    soft = {"REMAP_SIGTERM": "SIGQUIT"}
    patience = SHUTDOWN_SECONDS + 10
    return _celery(recipe, fleet, (*options, *quick), rank=_FLEETS, stop_seconds=patience, extra=soft)


def _beat(recipe: Recipe) -> ProcessSpec:
    return _celery(recipe, "beat", ("beat",), rank=_SENDERS, stop_seconds=10)


def _flower(recipe: Recipe) -> ProcessSpec:
    # What it shows is kept in its working directory.
    options = ("flower", "--address=127.0.0.1", f"--port={recipe.access.ports.flower}", "--persistent=true")
    probe = HttpProbe(f"{recipe.access.flower_url}/healthcheck")
    return _celery(recipe, "flower", options, rank=_SENDERS, stop_seconds=5, probe=probe, app="workers.flower")


def _exporter(recipe: Recipe) -> ProcessSpec:
    layout, access = recipe.layout, recipe.access
    # It only looks, as observe does, and gets what that gets.
    own = fleet_environment(layout, "observe", access)
    command = "from g3zkp_maint.cli import main; main()"
    options = ("--address", "127.0.0.1", "--port", str(access.ports.metrics))
    return ProcessSpec(
        METRICS,
        (sys.executable, "-c", command, "exporter", *options),
        {**overlaid(own, recipe.user), **marker(layout.root, recipe.run)},
        layout.run,
        layout.log(METRICS),
        _SENDERS,
        5,
        HttpProbe(f"{access.metrics_url}/health"),
        after=(COORDINATION,),
    )


def _celery(
    recipe: Recipe,
    role: Role,
    options: tuple[str, ...],
    *,
    rank: int,
    stop_seconds: float,
    probe: Probe | None = None,
    extra: Mapping[str, str] | None = None,
    app: str = "",
) -> ProcessSpec:
    layout = recipe.layout
    own = fleet_environment(layout, role, recipe.access)
    return ProcessSpec(
        role,
        (sys.executable, "-m", "celery", "-A", app or recipe.app, *options),
        {**overlaid(own, recipe.user), **(extra or {}), **marker(layout.root, recipe.run)},
        layout.run,
        layout.log(role),
        rank,
        stop_seconds,
        probe,
        after=(COORDINATION,),
    )


def _messenger(recipe: Recipe) -> Declared:
    layout, access = recipe.layout, recipe.access
    node, package = recipe.programs.node, recipe.programs.messenger
    bare = _bare_environment(recipe)
    env = {
        **bare,
        "PATH": f"{node.parent}{os.pathsep}{bare['PATH']}",
        "NODE_PATH": str(package / "modules"),
        "G3ZKP_DATA": str(layout.messenger_data),
        "G3ZKP_KEYS_DIR": str(layout.messenger_keys),
        "HOST": "127.0.0.1",
        "PORT": str(access.ports.messenger),
    }
    return Declared(
        name=MESSENGER,
        kind="Deployment",
        argv=(str(node), str(package / "server.js")),
        env=env,
        cwd=layout.messenger_data,
        log=layout.log(MESSENGER),
        stop_seconds=10,
        mounts=(Mount(secret=KEYS_SECRET, secrets=layout.secrets, path=layout.messenger_keys),),
    )


def _redis(recipe: Recipe) -> Declared:
    layout = recipe.layout
    return Declared(
        name=REDIS,
        kind="StatefulSet",
        argv=(str(recipe.programs.valkey), str(layout.redis_conf)),
        env=_bare_environment(recipe),
        cwd=layout.redis_data,
        log=layout.log(REDIS),
        stop_seconds=20,
    )


def _bare_environment(recipe: Recipe) -> dict[str, str]:
    """For what is not ours: a search path, a home and a locale; none of the user's credentials."""
    kept = {name: value for name, value in recipe.user.items() if name in ("HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")}
    return {"PATH": recipe.user.get("PATH", os.defpath), **kept, **marker(recipe.layout.root, recipe.run)}
