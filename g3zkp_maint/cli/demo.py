"""`g3zkp-maint demo`: a year of maintenance in two minutes, on a stack and data of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from g3zkp_maint.cli.output import AsJson, human_bytes, human_seconds, print_json, print_table, say
from g3zkp_maint.clock import SystemClock
from g3zkp_maint.demo.proof import Fingerprint, differences, empty_redis, fingerprint, keys_in_use
from g3zkp_maint.errors import PermanentError
from g3zkp_maint.stack.environment import Access, fleet_environment
from g3zkp_maint.stack.first_start import ensure_password
from g3zkp_maint.stack.layout import Layout
from g3zkp_maint.stack.ports import load as load_ports

FOLDERS = ("ipfs", "keys", "messages", "proofs", "sessions")
_REDIS_KEYS = "20000"


@dataclass
class _Demo:
    layout: Layout
    size: str
    redis_url: str
    operator: dict[str, str]
    lines: list[dict[str, Any]] = field(default_factory=list)

    def play(self) -> None:
        self._do("seed", lambda: self._seed("--bytes", self.size, "--redis-keys", _REDIS_KEYS))
        self._do("full backup", lambda: self._task("backup", "full"))
        self._do("change data", lambda: self._seed("--change", "2"))
        before = self._print()
        last = self._do("incremental backup", lambda: self._task("backup", "incremental"))["name"]
        self._do("verify every byte", lambda: self._task("verify", last))
        self._do("destroy the data", self._destroy)
        self._do("restore", lambda: self._task("restore", last))
        self._do("prove", lambda: _prove(before, self._print()))
        self._do("rotate keys", self._rotate)
        self._do("clean up", self._clean_up)

    def _do(self, name: str, step: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        clock = SystemClock()
        began = clock.monotonic()
        done = step()
        self.lines.append({"step": name, "seconds": round(clock.monotonic() - began, 2), **done})
        say(f"{human_seconds(self.lines[-1]['seconds']):>6}  {name}: {told(name, done)}")
        sys.stdout.flush()
        return done

    def _seed(self, *options: str) -> dict[str, Any]:
        import messenger  # noqa: PLC0415  only the demonstration seeds it

        address = self.redis_url.rpartition("@")[2].removesuffix("/0")
        argv = [messenger.node_binary(), "seed.js", *options, "--json"]
        argv += ["--redis", address, "--redis-password-env", "DEMO_REDIS_PASSWORD"]
        password = self.redis_url.partition("://:")[2].partition("@")[0]
        env = {**os.environ, "G3ZKP_DATA": str(self.layout.messenger_data), "DEMO_REDIS_PASSWORD": password}
        return _json_of(argv, env, cwd=messenger.path())

    def _task(self, step: str, argument: str) -> dict[str, Any]:
        return _json_of([sys.executable, "-m", "workers.demo", step, argument], self.operator)

    def _print(self) -> Fingerprint:
        return fingerprint(self.layout.messenger_data, FOLDERS, self.redis_url)

    def _rotate(self) -> dict[str, Any]:
        """With what the messenger itself says of its keys, before and after."""
        ports = load_ports(self.layout.ports)
        url = f"http://127.0.0.1:{ports.messenger}" if ports else ""
        before = keys_in_use(url)
        done = self._task("rotate", "demonstration of a rotation")
        new = {one["type"]: one["key_id"] for one in done["rotated"]}
        after = keys_in_use(url)
        if after != new or set(after.values()) & set(before.values()):
            raise PermanentError(f"the messenger uses {after}, not the new keys {new}")
        return {"keys": len(new), "rotated": done["rotated"]}

    def _clean_up(self) -> dict[str, Any]:
        """As many as the messenger itself had counted; one may have expired meanwhile."""
        expected = self._task("cleanup", "dry-run")["would_delete"]
        done = self._task("cleanup", "run")
        deleted = {kind: done[kind] for kind in expected}
        if any(deleted[kind] < count for kind, count in expected.items()) or not all(deleted.values()):
            raise PermanentError(f"{deleted} were deleted, {expected} had expired")
        return {**deleted, "freed_bytes": done["freed_bytes"]}

    def _destroy(self) -> dict[str, Any]:
        for folder in FOLDERS:
            shutil.rmtree(self.layout.messenger_data / folder)
        empty_redis(self.redis_url)
        return {"destroyed": [*FOLDERS, "redis"]}


def demo(
    size: Annotated[str, typer.Option(help="How much data, as 200M.")] = "200M",
    state_dir: Annotated[Path | None, typer.Option(help="Keep the stack's folder here; else it is removed.")] = None,
    as_json: AsJson = False,
) -> None:
    """Seed a messenger, back it up twice, verify, destroy its data, restore, prove that every byte is back, rotate
    its keys, delete what has expired.

    Everything is real and of its own: Valkey, messenger, fleets, beat. The tasks are enqueued as from any Python shell.
    """
    with _folder(state_dir) as folder, _stack(Layout.at(folder)) as played:
        played.size = size
        played.play()
        if as_json:
            print_json(played.lines)
            return
        say("")
        _show_runs(played.operator)


def told(step: str, done: dict[str, Any]) -> str:
    """What a step has done, in a few words."""
    size = human_bytes(done.get("bytes") or 0)
    match step:
        case "seed":
            blocks = human_bytes(done["blockBytes"])
            text = f"{blocks} in IPFS blocks, {done['messages']} messages, {done['redisKeys']} Redis keys"
        case "full backup" | "incremental backup":
            new, stored = human_bytes(done["new_bytes"]), human_bytes(done["stored_bytes"])
            text = f"{done['name']}, {done['entries']} paths, {size}, new {new}, stored {stored}"
        case "verify every byte":
            text = f"{done['objects']} objects, {size} read"
        case "restore":
            text = f"{done['written']} files written, {done['redis_keys']} Redis keys, safety backup {done['safety']}"
        case "prove":
            text = f"{done['paths']} paths, {size} and {done['keys']} Redis keys are as they were"
        case "rotate keys":
            types = ", ".join(one["type"] for one in done["rotated"])
            text = f"{types}: new keys, one restart, and the messenger says that it uses them"
        case "clean up":
            counts = f"{done['messages']} messages, {done['proofs']} proofs, {done['sessions']} sessions"
            text = f"{counts} had expired and are deleted, {human_bytes(done['freed_bytes'])} freed"
        case "destroy the data":
            text = ", ".join(done["destroyed"])
        case _:
            text = ", ".join(f"{name} {value}" for name, value in done.items() if isinstance(value, int))
    return text


def _prove(before: Fingerprint, after: Fingerprint) -> dict[str, Any]:
    wrong = differences(before, after)
    if wrong:
        raise PermanentError(f"{len(wrong)} things are not as they were: {'; '.join(wrong[:5])}")
    return {"paths": len(after.paths), "bytes": after.bytes, "keys": len(after.keys)}


@contextmanager
def _folder(state_dir: Path | None) -> Iterator[Path]:
    if state_dir is not None:
        yield state_dir
        return
    with tempfile.TemporaryDirectory(prefix="g3zkp-demo-") as folder:
        yield Path(folder)


@contextmanager
def _stack(layout: Layout) -> Iterator[_Demo]:
    command = [sys.executable, "-c", "from g3zkp_maint.cli import main; main()"]
    place = ["--state-dir", str(layout.root)]
    say("starting Valkey, the messenger, four fleets and beat…")
    sys.stdout.flush()
    _run([*command, "up", "--detach", "--no-flower", *place], dict(os.environ))
    try:
        ports = load_ports(layout.ports)
        if ports is None:
            raise PermanentError(f"the stack left no {layout.ports}; see {layout.logs}")
        access = Access(
            ports,
            redis_password=ensure_password(layout.redis_data.parent),
            coordination_password=ensure_password(layout.coordination.parent),
        )
        operator = {**os.environ, **fleet_environment(layout, "operator", access)}
        yield _Demo(layout, "", access.redis_url, operator)
    finally:
        _run([*command, "down", *place], dict(os.environ))


def _show_runs(operator: dict[str, str]) -> None:
    command = [sys.executable, "-c", "from g3zkp_maint.cli import main; main()"]
    found = json.loads(_run([*command, "runs", "--json"], operator))
    wanted = [line for line in reversed(found) if line["task"].split(".")[0] in {"backup", "crypto", "cleanup"}]
    rows = [
        (line["task"], line["state"], line["outcome"], human_seconds(line["seconds"]), human_bytes(line["bytes"] or 0))
        for line in wanted
    ]
    print_table(("task", "state", "outcome", "took", "bytes"), rows, title="the runs", right=("took", "bytes"))


def _json_of(argv: list[str], env: dict[str, str], *, cwd: Path | None = None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_run(argv, env, cwd=cwd))
    return found


def _run(argv: list[str], env: dict[str, str], *, cwd: Path | None = None) -> str:
    done = subprocess.run(argv, env=env, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = (done.stderr or done.stdout).strip().splitlines()[-5:]
        raise PermanentError(f"{Path(argv[0]).name} {' '.join(argv[1:4])} failed: {' / '.join(tail)}")
    return done.stdout
