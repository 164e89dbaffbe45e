"""Where everything of an embedded stack lies below its state folder. Nothing else knows these names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """`root` is the state folder, absolute: the children have other working directories."""

    root: Path

    @classmethod
    def at(cls, state_dir: Path) -> Layout:
        return cls(state_dir.expanduser().absolute())

    def make_folders(self) -> None:
        """All folders, 0700: what is below may be read by their owner alone."""
        for folder in (
            self.root,
            self.workloads,
            self.secrets,
            self.logs,
            self.run,
            self.store,
            self.messenger_data,
            self.redis_data,
            self.coordination,
        ):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def keys(self, role: str) -> Path:
        """The folder of the key files that `role` may see; no other role is told of it."""
        return self.all_keys / role

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    @property
    def all_keys(self) -> Path:
        return self.root / "keys"

    @property
    def workloads(self) -> Path:
        return self.root / "workloads"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """The working directory of the fleets."""
        return self.root / "run"

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def messenger_data(self) -> Path:
        return self.root / "messenger" / "data"

    @property
    def messenger_keys(self) -> Path:
        """The values of its Secret as files, as a pod has them mounted."""
        return self.root / "messenger" / "keys-secret"

    @property
    def redis_data(self) -> Path:
        """The folder of the messenger's Redis."""
        return self.root / "redis" / "data"

    @property
    def drill(self) -> Path:
        """Where drills restore to; made by the first one."""
        return self.root / "drill"

    @property
    def coordination(self) -> Path:
        """Broker, leases and run records: another server than the messenger's Redis."""
        return self.root / "coordination" / "data"

    @property
    def redis_conf(self) -> Path:
        return self.redis_data.parent / "valkey.conf"

    @property
    def coordination_conf(self) -> Path:
        return self.coordination.parent / "valkey.conf"

    @property
    def ports(self) -> Path:
        return self.root / "ports.json"

    @property
    def env_file(self) -> Path:
        return self.root / "env.sh"

    @property
    def lock(self) -> Path:
        """Held (flock) for as long as a stack runs on this folder."""
        return self.root / "up.lock"

    @property
    def supervisor(self) -> Path:
        """Who supervises, and its heartbeat."""
        return self.root / "supervisor.json"

    @property
    def processes(self) -> Path:
        """What the supervisor has started: its picture, and what the next start looks for as leftovers."""
        return self.root / "processes.json"
