"""What a server says over the connection of a command, whatever the protocol."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from hypothesis import strategies as st

from g3zkp_maint.errors import StreamBroken
from g3zkp_maint.testing.exec_peer import SUCCESS, ExecPeer
from g3zkp_maint.testing.exec_server import Behaviour

Serve = Callable[..., Any]
WHOLE = bytes(range(256)) * 5
SUCCEEDED = json.dumps(SUCCESS).encode()


def says(frames: bytes, *, reset: bool = False) -> Behaviour:
    """A server that sends these bytes and hangs up, as soon as the client has seen them or at once."""

    def behave(peer: ExecPeer) -> None:
        peer.raw(frames)
        if reset:
            peer.reset()

    return behave


def says_in_segments(segments: Sequence[bytes]) -> Behaviour:
    def behave(peer: ExecPeer) -> None:
        for segment in segments:
            peer.raw(segment)

    return behave


def cut_up(data: st.DataObject, content: bytes) -> list[bytes]:
    at = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=5)))
    return [content[begin:end] for begin, end in zip([0, *at], [*at, len(content)], strict=True)]


def check_cut_at_any_byte(site: Any, conversation: Sequence[bytes], after_status: int, *, reset: bool) -> None:
    """What is read is WHOLE or an error: in every header, in every kind of payload and at its edges. The last
    `after_status` frames come after the status."""
    sent, ends = b"".join(conversation), list(accumulate(map(len, conversation)))
    with_status = ends[-1 - after_status]
    for cut in sorted({at for end in [0, *ends] for at in range(end - 8, end + 12) if 0 <= at < len(sent)}):
        site.server.behaviour = says(sent[:cut], reset=reset)
        seen: list[bytes] = []
        try:
            seen.extend(site.exec("tar"))
        except StreamBroken:
            assert reset or cut < with_status
            continue
        assert cut >= with_status
        assert b"".join(seen) == WHOLE
