"""Asks the messenger one thing by `node -e` in a ready instance, and gets one checked answer back.

The way that is open to everybody: the messenger's own modules (`@g3zkp/storage`, `@g3zkp/crypto`) in a process beside it.
What else such a process prints is passed over: the answer is JSON in a line that begins with a mark made for this call.

Hazards: a call that deletes goes on in the instance when the caller is killed, frozen or cut off, beside whoever takes
his lease next. So the process kills itself, from a thread that no busy loop holds up: at its deadline, and when the
caller's pulse on its stdin ends or stays away. The pulse asks the caller's guard, so a lost lease ends the call too.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from g3zkp_maint.clock import Clock, SystemClock
from g3zkp_maint.coordination.guard import Guard, Unguarded
from g3zkp_maint.errors import ExecFailed, MessengerCallFailed, MessengerUnfit, PlatformError
from g3zkp_maint.platforms.base import MESSENGER, ExecStream, Platform
from g3zkp_maint.scrubbing import scrub_text

#: A caller that is silent for so long is dead, frozen or cut off. A third of a lease's life, so that a call ends before
#: another may have the lease.
SILENCE_SECONDS: Final = 20.0
#: What an instance may take to start a process and to end one, beyond the time that the call has.
_GRACE_SECONDS = 15.0
_KEPT_BYTES = 1 << 20
_SHOWN = 500
#: Exit codes of container runtimes and shells: the command cannot be run, or is not there.
_NOT_RUN = frozenset({126, 127})

_WATCH = """
const { workerData: limits } = require('node:worker_threads');
const end = () => process.kill(process.pid, 'SIGKILL');
// With the answer the caller ends his pulse: the process must not be killed while it exits.
const gone = () => Atomics.load(limits.answered, 0) || end();
setTimeout(end, limits.deadlineMs);
const silence = setTimeout(gone, limits.silenceMs);
const pulse = new (require('node:net').Socket)({ fd: 0, readable: true, writable: false });
pulse.on('data', () => silence.refresh());
for (const event of ['end', 'error', 'close']) pulse.on(event, gone);
"""

_FRAME = """
const call = JSON.parse(process.argv[1]);
const { Worker } = require('node:worker_threads');
const answered = new Int32Array(new SharedArrayBuffer(4));
new Worker(%(watch)s, { eval: true, workerData: { ...call.limits, answered } }).unref();
const say = (said) => {
  const line = '\\n' + call.mark + JSON.stringify(said) + '\\n';
  Atomics.store(answered, 0, 1);
  process.stdout.write(line, () => process.exit(0));
};
const asked = async (args) => {
%(script)s
};
asked(call.args).then(
  (answer) => say({ answer }),
  (error) => say({ error: { text: String(error?.message ?? error), code: String(error?.code ?? '') } }),
).catch((error) => say({ error: { text: 'the answer is no JSON: ' + error.message, code: '' } }));
"""


def call(
    platform: Platform,
    script: str,
    *,
    timeout_seconds: float,
    args: Sequence[Any] = (),
    guard: Guard | None = None,
    silence_seconds: float = SILENCE_SECONDS,
    instance: str | None = None,
    clock: Clock | None = None,
) -> Any:
    """What `script` returns, as JSON: the body of an async function in which `args` is the array given here.

    `args` are seen by all who list processes: no secrets. Each of `guard`'s checks comes at least every quarter of
    `silence_seconds`. Raises MessengerCallFailed when the call threw, died, hung or gave no answer (it may have done its
    work all the same), MessengerUnfit when the messenger has no such module or node, LeaseLost as `guard` does, and what
    `platform.exec` raises.
    """
    clock = clock or SystemClock()
    mark = f"g3zkp-answer-{secrets.token_hex(8)} "
    limits = {"deadlineMs": round(timeout_seconds * 1000), "silenceMs": round(silence_seconds * 1000)}
    frame = _FRAME % {"script": script, "watch": json.dumps(_WATCH)}
    argv = ["node", "-e", frame, "--", json.dumps({"mark": mark, "limits": limits, "args": list(args)})]
    began = clock.monotonic()
    is_over = threading.Event()
    with _ended_by(is_over):
        pulse = _beats(guard or Unguarded(), is_over, every_seconds=silence_seconds / 4)
        stream = platform.exec(MESSENGER, argv, stdin=pulse, instance=instance, may_leave_input=True)
        with _closed_after(stream, timeout_seconds + _GRACE_SECONDS) as limit:
            try:
                said = _tail(stream, mark.encode(), is_over)
            except (PlatformError, OSError, ValueError) as error:
                # OSError and ValueError: what reading from a stream that was closed meanwhile comes to.
                if limit.is_over or clock.monotonic() - began >= timeout_seconds:
                    raise _hung(timeout_seconds) from error
                raise _ended(error) from error
    return _answer(said, mark)


# -- the caller's side of the limits ---------------------------------------------------------------------------------------


@contextmanager
def _ended_by(is_over: threading.Event) -> Iterator[None]:
    try:
        yield
    finally:
        is_over.set()


def _beats(guard: Guard, is_over: threading.Event, *, every_seconds: float) -> Iterator[bytes]:
    """An input that beats until the call is over, as long as the guard holds."""
    while True:
        guard.ensure_held()
        yield b"\n"
        yield b""  # now, and not when there is more
        if is_over.wait(every_seconds):
            return


@dataclass(slots=True)
class _Limit:
    is_over: bool = False


@contextmanager
def _closed_after(stream: ExecStream, seconds: float) -> Iterator[_Limit]:
    """Closes the stream after that time, for a connection that hangs: the process sees to its own deadline."""
    limit = _Limit()

    def close() -> None:
        limit.is_over = True
        stream.close()

    timer = threading.Timer(seconds, close)
    timer.daemon = True
    timer.start()
    try:
        yield limit
    finally:
        timer.cancel()
        stream.close()


def _tail(stream: ExecStream, mark: bytes, is_over: threading.Event) -> bytes:
    """The end of what was said, where the answer is; in bounded memory. With the answer the call is over: where it runs
    behind a shell that passes the pulse on, that one would wait for the next beat."""
    kept = bytearray()
    for piece in stream:
        kept += piece
        del kept[:-_KEPT_BYTES]
        if not is_over.is_set() and b"\n" in kept[kept.find(mark) if mark in kept else len(kept) :]:
            is_over.set()
    return bytes(kept)


# -- what came of it ---------------------------------------------------------------------------------------------------------


def _hung(timeout_seconds: float) -> MessengerCallFailed:
    return MessengerCallFailed(
        f"the messenger's module did not answer within {timeout_seconds:g} s and was ended; see what holds it up (a lock, "
        "the disk), or raise the time limit"
    )


def _ended(error: Exception) -> Exception:
    if not isinstance(error, ExecFailed):
        return error
    if error.exit_code in _NOT_RUN:
        return MessengerUnfit(f"node cannot be run in the messenger; see its image: {error}")
    return MessengerCallFailed(f"the messenger's module died before it answered; it is tried again: {error}")


def _answer(said: bytes, mark: str) -> Any:
    lines = [line for line in said.split(b"\n") if line.startswith(mark.encode())]
    if len(lines) != 1:
        raise MessengerCallFailed(
            f"the messenger's module ended and gave {len(lines) or 'no'} answers where one was due: its promise never "
            "settled, or it ended the process; see the messenger's version"
        )
    try:
        found = json.loads(lines[0][len(mark) :])
    except ValueError as error:
        raise MessengerCallFailed("the messenger's answer was garbled by what its module printed into it") from error
    if "error" in found:
        raise _thrown(found["error"]["text"], found["error"]["code"])
    # What is undefined is not in JSON.
    return found.get("answer")


def _thrown(text: str, code: str) -> Exception:
    shown = " ".join(scrub_text(text).split())[:_SHOWN]
    if code == "MODULE_NOT_FOUND":
        return MessengerUnfit(f"the messenger has not the module that maintenance calls; see its version: {shown}")
    return MessengerCallFailed(f"the messenger's module refused: {shown}; see the messenger's log")
