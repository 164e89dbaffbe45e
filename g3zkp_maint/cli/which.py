"""Which backup a command is about: NAME, `latest`, or --at TIME."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from g3zkp_maint.backup.choose import LATEST, choose
from g3zkp_maint.backup.manifest import Manifest
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.cli.since import moment
from g3zkp_maint.errors import BadInput

Name = Annotated[str, typer.Argument(metavar="NAME", help="The backup, as `backup list` names it, or: latest.")]
AtTime = Annotated[
    str | None,
    typer.Option("--at", metavar="TIME", help="In place of NAME: the newest ok one as of then (24h ago, or ISO, UTC)."),
]


def time_given(text: str | None, services: Services) -> datetime | None:
    """Raises BadInput."""
    return None if text is None else moment(text, now=services.clock.now())


def manifest_of(repository: Repository, name: str | None, at: datetime | None = None) -> Manifest:
    """Raises BadInput unless there is one answer, UnknownBackup, ManifestInvalid."""
    if (name is None) is (at is None):
        raise BadInput("say which backup: its NAME (or: latest), or --at TIME, and not both")
    if name is None or name == LATEST:
        return choose(repository.manifests(), at=at)
    return repository.manifest(name)
