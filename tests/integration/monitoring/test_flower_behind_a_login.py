"""Flower as it runs outside the embedded stack: from a file with users and passwords, keeping what it has seen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from monitored_site import Site, asked

from g3zkp_maint.stack.layout import Layout
from g3zkp_maint.testing.prometheus import free_port
from g3zkp_maint.testing.running_stack import wait_for

pytestmark = pytest.mark.integration

LOGIN = ("operator", "not-to-be-shown")
CANARY = "from workers.observe import canary; canary.delay()"
CHANGES = ("worker/shutdown/observe@host", "worker/pool/restart/observe@host", "task/async-apply/backup.prune")


def test_a_login_is_asked_for_and_what_was_seen_outlives_a_restart(site: Site, tmp_path: Path) -> None:
    port = free_port()
    options = (f"--port={port}", f"--conf={_file(tmp_path)}", "--persistent=true", f"--db={tmp_path / 'flower'}")
    address = f"http://127.0.0.1:{port}"
    with _flower(site.stack.layout, *options, address=address):
        for path in ("/", "/workers", "/tasks", "/broker", "/api/workers", "/api/tasks"):
            assert _status(address + path) == 401, path
            assert _status(address + path, auth=("operator", "another")) == 401, path
        for path in CHANGES:
            assert httpx.post(f"{address}/api/{path}", auth=LOGIN, trust_env=False).status_code == 403, path
        asked(site.stack, CANARY)
        wait_for(lambda: "observe.canary" in _tasks(address), 20, lambda: _tasks(address))
        seen = httpx.get(f"{address}/api/tasks", auth=LOGIN, trust_env=False).json()
    with _flower(site.stack.layout, *options, address=address):
        assert seen.keys() <= httpx.get(f"{address}/api/tasks", auth=LOGIN, trust_env=False).json().keys()


def test_it_does_not_start_without_a_login_outside_the_embedded_stack(site: Site) -> None:
    command = _command("--address=0.0.0.0", "--port=0")
    done = subprocess.run(
        command, env=_environment(site.stack.layout), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "basic_auth" in done.stderr
    assert "Traceback" not in done.stderr


def _file(folder: Path) -> Path:
    file = folder / "flowerconfig.py"
    file.touch(mode=0o600)
    file.write_text(f"basic_auth = [{':'.join(LOGIN)!r}]\n")
    return file


def _command(*options: str) -> list[str]:
    return [sys.executable, "-m", "celery", "-A", "workers.flower", "flower", *options]


def _environment(layout: Layout) -> dict[str, str]:
    """The operator's, who reaches the broker."""
    shown = subprocess.run(
        ["sh", "-c", f". {layout.env_file} && env -0"], capture_output=True, text=True, check=True
    ).stdout
    settings = dict(line.split("=", 1) for line in shown.split("\0") if line.startswith("G3ZKP_"))
    return {**os.environ, **settings}


@contextmanager
def _flower(layout: Layout, *options: str, address: str) -> Iterator[None]:
    process = subprocess.Popen(_command("--address=127.0.0.1", *options), env=_environment(layout))
    try:
        wait_for(lambda: process.poll() is not None or _is_up(address), 30, lambda: "Flower does not answer")
        assert process.poll() is None, "Flower ended"
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def _is_up(address: str) -> bool:
    try:
        return _status(f"{address}/healthcheck") == 200
    except httpx.TransportError:
        return False


def _status(url: str, auth: tuple[str, str] | None = None) -> int:
    return httpx.get(url, auth=auth, trust_env=False).status_code


def _tasks(address: str) -> str:
    return httpx.get(f"{address}/api/tasks", auth=LOGIN, trust_env=False).text
