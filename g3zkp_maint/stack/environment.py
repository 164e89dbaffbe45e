"""What each process of the stack is told, and no more: the fleets differ by the keys that they are given.

Backup writes archives and cannot open them; only crypto has the recovery identity; cleanup and observe can check
signatures. Passwords travel in environments and 0600 files, never in arguments, which every user can list.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from g3zkp_maint.keys.fleets import given_files
from g3zkp_maint.platforms.local_files import write_private
from g3zkp_maint.stack.layout import Layout
from g3zkp_maint.stack.ports import Ports

Fleet = Literal["backup", "crypto", "cleanup", "observe"]
#: Beat and Flower only send and watch; the operator enqueues, and reads results and manifests' heads.
Role = Literal["backup", "crypto", "cleanup", "observe", "beat", "flower", "operator"]
FLEETS: tuple[Fleet, ...] = get_args(Fleet)
ROLES: tuple[Role, ...] = get_args(Role)

#: Only who dumps or restores the messenger's Redis is told its password.
_REDIS_ROLES: frozenset[Role] = frozenset({"backup", "crypto"})
#: What the reference messenger keeps, beside the parts that every messenger has. Not `logs` and `locks`: of no worth.
_FOLDERS = ("ipfs", "keys", "messages", "proofs", "sessions")
_IMMUTABLE = {"ipfs": ["ipfs/blocks/*/*.data"]}
COMPONENTS = json.dumps(
    [{"name": one, "kind": "files", "path": one, "immutable": _IMMUTABLE.get(one, [])} for one in _FOLDERS]
    + [{"name": "redis", "kind": "redis"}, {"name": "k8s", "kind": "kubernetes"}]
)
#: What the seeder's Redis keys refer to: blocks that are pinned, and so never collected.
REFERENCES = json.dumps([{"keys": "g3zkp:user:*", "field": "avatar", "file": "ipfs/blocks/*/{}.data"}])
#: Settings of the user's own environment that the stack replaces: they say where its parts are, or name keys.
_OWNED = (
    "G3ZKP_KEYS__",
    "G3ZKP_REDIS__",
    "G3ZKP_PLATFORM__",
    "G3ZKP_BACKUP__REDIS_",
    "G3ZKP_BACKUP__MOUNTED_ROOT",
    "G3ZKP_MESSENGER__DATA_PATH",
    "G3ZKP_TASKS__SHUTDOWN_SECONDS",
)
#: How long running tasks may go on after Ctrl-C: somebody waits at the terminal, and what is not done is done later.
SHUTDOWN_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Access:
    """What addresses are made of."""

    ports: Ports
    redis_password: str = field(repr=False)
    coordination_password: str = field(repr=False)

    @property
    def coordination_url(self) -> str:
        return f"redis://:{self.coordination_password}@127.0.0.1:{self.ports.coordination}/0"

    @property
    def redis_url(self) -> str:
        return f"redis://:{self.redis_password}@127.0.0.1:{self.ports.redis}/0"

    @property
    def messenger_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.messenger}"

    @property
    def flower_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.flower}"

    @property
    def metrics_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.metrics}"


def fleet_environment(layout: Layout, role: Role, access: Access) -> dict[str, str]:
    """All `G3ZKP_*` settings of a fleet, of beat, of Flower or of the operator."""
    environment = {
        "G3ZKP_REDIS__URL": access.coordination_url,
        "G3ZKP_STORE__DIRECTORY__PATH": str(layout.store),
        "G3ZKP_PLATFORM__KIND": "local",
        "G3ZKP_PLATFORM__STATE_DIR": str(layout.root),
        "G3ZKP_MESSENGER__DATA_PATH": str(layout.messenger_data),
        "G3ZKP_BACKUP__MOUNTED_ROOT": str(layout.messenger_data),
        "G3ZKP_TASKS__SHUTDOWN_SECONDS": str(SHUTDOWN_SECONDS),
        "G3ZKP_BACKUP__COMPONENTS": COMPONENTS,
    }
    if role in _REDIS_ROLES:
        environment["G3ZKP_BACKUP__REDIS_URL"] = access.redis_url
        environment["G3ZKP_BACKUP__REDIS_DATA"] = str(layout.redis_data)
    if role == "crypto":
        environment["G3ZKP_DRILL__SCRATCH"] = str(layout.drill)
        environment["G3ZKP_DRILL__REFERENCES"] = REFERENCES
    for setting, file in given_files(layout.all_keys, role):
        environment[f"G3ZKP_KEYS__{setting}"] = str(file)
    return environment


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """What the fleets take over of the user's environment: all but the settings that the stack owns."""
    return {name: value for name, value in environment.items() if not name.startswith(_OWNED)}


def overlaid(own: Mapping[str, str], user: Mapping[str, str]) -> dict[str, str]:
    """A process's whole environment: the user's choices (store, log level, limits) win where the stack owns nothing."""
    return {**own, **inherited(user)}


def write_env_file(layout: Layout, access: Access) -> None:
    """Writes `env.sh` (0600), by which a shell sees the stack as the operator does: `. state/env.sh`."""
    lines = ["# The operator's view of this stack, made at each start. Holds the broker's password."]
    settings = fleet_environment(layout, "operator", access)
    lines += [f"export {name}={shlex.quote(value)}" for name, value in sorted(settings.items())]
    write_private(layout.env_file, ("\n".join(lines) + "\n").encode())
