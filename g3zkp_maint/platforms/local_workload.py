"""What is declared of a local workload, and what runs: two documents a workload, as in Kubernetes spec and status.

The declaration is written by who wants something (`up`, the platform); the status by the supervisor alone. A status
counts for a declaration only from `observed_generation` on: before, the supervisor has not seen it yet.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from g3zkp_maint.errors import BadInput, PlatformError, UnknownWorkload
from g3zkp_maint.platforms.local_files import read_document, write_document
from g3zkp_maint.platforms.process import ProcessIdentity

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")


class Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


_D = TypeVar("_D", bound=Document)


class Mount(Document):
    """The values of Secret `secret`, of those in the folder `secrets`, as files below `path` (see local_mount)."""

    secret: str
    secrets: Path
    path: Path


class Declared(Document):
    """`instances` is 0 or 1: local instances would share a port. `revision` rises with each restart asked for; `mounts`
    are brought up to date at each start of an instance."""

    name: str
    kind: Literal["Deployment", "StatefulSet"]
    argv: tuple[str, ...]
    env: dict[str, str] = Field(repr=False)
    cwd: Path
    log: Path
    stop_seconds: float
    mounts: tuple[Mount, ...] = ()
    instances: int = 1
    revision: int = 1
    generation: int = 1

    def changed(self, **fields: int) -> Declared:
        """A copy of the next generation."""
        return self.model_copy(update={**fields, "generation": self.generation + 1})


class Instance(Document):
    pid: int
    started: str
    revision: int
    ready: bool

    def is_alive(self) -> bool:
        return ProcessIdentity(self.pid, self.started).is_alive()


class Observed(Document):
    """What the supervisor saw at its last look. `restarts` counts the crashes since it began."""

    observed_generation: int = 0
    instances: tuple[Instance, ...] = ()
    restarts: int = 0


def checked_name(name: str) -> str:
    """The name; raises BadInput unless it is a Kubernetes name (and so no path)."""
    if not _NAME.fullmatch(name):
        raise BadInput(f"{name!r} is no name of a workload or secret: use a-z, 0-9, '-' and '.', at most 63")
    return name


def declared_names(folder: Path) -> list[str]:
    return sorted(path.name.removesuffix(".json") for path in folder.glob("*.json") if ".status." not in path.name)


def read_declared(folder: Path, name: str) -> Declared:
    """Raises UnknownWorkload, PlatformError for a file that cannot be understood."""
    document = read_document(folder / f"{checked_name(name)}.json")
    if document is None:
        known = ", ".join(declared_names(folder)) or "none"
        raise UnknownWorkload(f"there is no workload {name!r}; there are: {known}")
    return _parsed(Declared, document, f"workload {name}")


def write_declared(folder: Path, declared: Declared) -> None:
    write_document(folder / f"{declared.name}.json", declared.model_dump(mode="json"))


def read_observed(folder: Path, name: str) -> Observed:
    """An empty one before the supervisor has written any."""
    document = read_document(_status_path(folder, name))
    return Observed() if document is None else _parsed(Observed, document, f"status of workload {name}")


def write_observed(folder: Path, name: str, observed: Observed) -> None:
    # Not flushed to disk: after a power cut nothing of it is true anyway.
    write_document(_status_path(folder, name), observed.model_dump(mode="json"), durable=False)


def forget_observed(folder: Path) -> None:
    """Removes what an earlier supervisor saw."""
    for path in folder.glob("*.status.json"):
        path.unlink(missing_ok=True)


def _status_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.status.json"


def _parsed(model: type[_D], document: dict[str, Any], what: str) -> _D:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, item["loc"])) for item in error.errors())
        raise PlatformError(f"the {what} cannot be understood ({fields}); start g3zkp-maint up again") from None
