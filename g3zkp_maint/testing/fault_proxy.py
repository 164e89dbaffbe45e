"""A proxy between an HTTP client and a server of this machine that does what bad networks and tired servers do.

It understands just enough of HTTP/1.1 to harm one request at a time: what it does with the next one comes from a
seeded schedule, so the same seed gives the same sequence of faults. Some faults strike before the server has seen the
request, some after it has done its work and only the answer is lost. Bodies are held in memory.
"""

from __future__ import annotations

import http.client
import io
import random
import select
import socket
import socketserver
import threading
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from urllib.parse import urlsplit

_DELAY_SECONDS = 0.02
_TIMEOUT_SECONDS = 30
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "expect"}


class Fault(Enum):
    """What happens to one request."""

    NONE = "none"
    DELAY = "delay"
    CUT_BEFORE = "cut before: the connection ends, the server has seen nothing"
    CUT_REQUEST = "cut request: the server sees half of the body, and then the end"
    CUT_AFTER = "cut after: the server has done it, no answer comes"
    TRUNCATE = "truncate: half of the answer's body comes (of its head, where there is no body), and then the end"
    CUT_HEAD = "cut head: half of the answer's head comes, and then the end"
    ERROR_BEFORE = "503 from in between, the server has seen nothing"
    ERROR_AFTER = "500 from in between, the server has done it"
    SILENCE = "silence: the server has done it, and nothing comes until the client gives up"


@dataclass
class Schedule:
    """The faults by number of request. `share` of them are harmed; after `at_most` faults none is. Of silences, which take
    as long as the client waits, there are at most `silences`."""

    seed: int
    share: float = 0.3
    at_most: int | None = None
    silences: int = 0
    struck: Counter[Fault] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 -- to be repeatable is the point
        self._lock = threading.Lock()

    def next(self, request: str) -> Fault:
        """`request` is its method and target."""
        with self._lock:
            fault = self._next(request)
            self.struck[fault] += 1
            return fault

    def _next(self, _request: str) -> Fault:
        is_spent = self.at_most is not None and self.struck.total() - self.struck[Fault.NONE] >= self.at_most
        if self._random.random() >= self.share or is_spent:
            return Fault.NONE
        drawn = set(Fault) - {Fault.NONE}
        if self.struck[Fault.SILENCE] >= self.silences:
            drawn.remove(Fault.SILENCE)
        return self._random.choice([fault for fault in Fault if fault in drawn])


class Script(Schedule):
    """These faults, one a request, and none after them."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(seed=0)
        self._rest = deque(faults)

    def _next(self, _request: str) -> Fault:
        return self._rest.popleft() if self._rest else Fault.NONE


class Always(Schedule):
    """One fault for each request whose method and target contain `part`, and none for others."""

    def __init__(self, fault: Fault, part: str) -> None:
        super().__init__(seed=0)
        self._fault, self._part = fault, part

    def _next(self, request: str) -> Fault:
        return self._fault if self._part in request else Fault.NONE


@dataclass(frozen=True)
class _Request:
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def forwarded(self) -> list[tuple[str, str]]:
        return [(name, value) for name, value in self.headers if name.lower() not in _HOP_BY_HOP]


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    #: What a HEAD's answer says of a body that does not come with it.
    length: str


class _Cut(Exception):
    """Raised to end a connection."""


@dataclass
class FaultProxy:
    """A running proxy. Another `schedule` may be set at any time; the next request is the first of it."""

    url: str
    schedule: Schedule


@contextmanager
def fault_proxy(upstream_url: str, schedule: Schedule) -> Iterator[FaultProxy]:
    """Stands before `upstream_url` (http, this machine) while the block runs."""
    upstream = urlsplit(upstream_url)
    with _Server((upstream.hostname or "127.0.0.1", upstream.port or 80), schedule) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="fault-proxy", daemon=True)
        thread.start()
        try:
            yield server.proxy
        finally:
            server.shutdown()
            thread.join()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False  # a client may keep an idle connection for long
    request_queue_size = 64

    def __init__(self, upstream: tuple[str, int], schedule: Schedule) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.proxy = FaultProxy(f"http://127.0.0.1:{self.server_address[1]}", schedule)


class _Handler(socketserver.StreamRequestHandler):
    server: _Server
    timeout = _TIMEOUT_SECONDS

    def handle(self) -> None:
        try:
            while (request := _read_request(self.rfile, self.connection)) is not None:
                self._serve(request, self.server.proxy.schedule.next(f"{request.method} {request.target}"))
        except (_Cut, OSError, http.client.HTTPException):
            return

    def _serve(self, request: _Request, fault: Fault) -> None:
        if fault is Fault.CUT_BEFORE:
            raise _Cut
        if fault is Fault.CUT_REQUEST:
            self._send_half(request)
            raise _Cut
        if fault is Fault.ERROR_BEFORE:
            self._reply(_error(HTTPStatus.SERVICE_UNAVAILABLE), request)
            return
        if fault is Fault.DELAY:
            threading.Event().wait(_DELAY_SECONDS)
        answer = self._ask(request)
        if fault is Fault.SILENCE:
            select.select([self.connection], [], [], _TIMEOUT_SECONDS)  # readable when the client has hung up
        if fault in {Fault.CUT_AFTER, Fault.SILENCE}:
            raise _Cut
        if fault is Fault.ERROR_AFTER:
            self._reply(_error(HTTPStatus.INTERNAL_SERVER_ERROR), request)
            return
        self._reply(answer, request, fault)

    def _ask(self, request: _Request) -> _Answer:
        upstream = http.client.HTTPConnection(*self.server.upstream, timeout=_TIMEOUT_SECONDS)
        try:
            upstream.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
            for name, value in request.forwarded:
                upstream.putheader(name, value)
            upstream.putheader("Content-Length", str(len(request.body)))
            upstream.endheaders(request.body)
            found = upstream.getresponse()
            length = found.getheader("Content-Length", "0")
            return _Answer(found.status, found.getheaders(), found.read(), length)
        finally:
            upstream.close()

    def _send_half(self, request: _Request) -> None:
        lines = [f"{request.method} {request.target} HTTP/1.1", *(f"{k}: {v}" for k, v in request.forwarded)]
        head = "\r\n".join([*lines, f"Content-Length: {len(request.body)}", "", ""]).encode("latin-1")
        with socket.create_connection(self.server.upstream, timeout=_TIMEOUT_SECONDS) as upstream:
            upstream.sendall(head + request.body[: len(request.body) // 2])

    def _reply(self, answer: _Answer, request: _Request, fault: Fault = Fault.NONE) -> None:
        lines = [f"HTTP/1.1 {answer.status} {http.client.responses.get(answer.status, '')}"]
        lines += [f"{name}: {value}" for name, value in answer.headers if name.lower() not in _HOP_BY_HOP]
        if answer.status != HTTPStatus.NO_CONTENT:
            lines.append(f"Content-Length: {answer.length if request.method == 'HEAD' else len(answer.body)}")
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        if fault is Fault.CUT_HEAD or (fault is Fault.TRUNCATE and not answer.body):
            self.wfile.write(head[: len(head) // 2])
            raise _Cut
        body = b"" if request.method == "HEAD" else answer.body
        if fault is Fault.TRUNCATE:
            self.wfile.write(head + body[: len(body) // 2])
            raise _Cut
        self.wfile.write(head + body)


def _read_request(stream: io.BufferedIOBase, connection: socket.socket) -> _Request | None:
    """None at the end of the connection."""
    line = stream.readline(65536).decode("latin-1").rstrip("\r\n")
    if not line:
        return None
    method, target, _ = line.split(" ", 2)
    headers = []
    while text := stream.readline(65536).decode("latin-1").rstrip("\r\n"):
        name, _, value = text.partition(":")
        headers.append((name, value.strip()))
    by_name = {name.lower(): value for name, value in headers}
    if by_name.get("expect", "").lower() == "100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    length = int(by_name.get("content-length", "0"))
    body = stream.read(length)
    if len(body) < length:
        raise _Cut
    return _Request(method, target, headers, body)


def _error(status: HTTPStatus) -> _Answer:
    body = f"<Error><Code>{status.phrase.replace(' ', '')}</Code><Message>by the proxy</Message></Error>".encode()
    return _Answer(status, [("Content-Type", "application/xml")], body, str(len(body)))
