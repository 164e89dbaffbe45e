"""The last word of a command in a pod: on stdout, behind all that it wrote, so that nothing can be missing before it.

The status of protocol v5 is made by the API server. Where its connection to the node breaks in mid-stream, it makes one of
success (`default: errorChan <- nil` in client-go's tools/remotecommand/errorstream.go, up to 0.36 at least).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

#: In shell: `$mark`, `$code`, and `$rest`, which is "all" or "left". A command may leave its stdout so that a full pipe is
#: not waited for: then this is no success.
SAY_ENDING = r"""printf '\301%s %s %s\n' "$mark" "$code" "$rest" || exit 74; exit "$code" """
# No text in UTF-8 has it, so of text nothing is ever held back.
_FIRST = b"\xc1"
_REST = re.compile(rb" (\d{1,3}) (all|left)\n")
_LONGEST_REST = len(b" 255 left\n")
#: So many bytes as these are not there by chance.
_CHANCE = 4


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended: its exit code, whether input was left, and whether more came of stdout behind this word: of a process
    that the command has left behind, and then nobody knows whether that was all."""

    exit_code: int
    has_left_input: bool
    went_on: bool


class Ending:
    """Sorts it out of stdout. `mark` is a word that no command writes."""

    def __init__(self, mark: bytes) -> None:
        self._begin = _FIRST + mark
        self._held = b""
        self._rest: bytes | None = None

    def sift(self, piece: bytes) -> bytes:
        """What of stdout is certainly the command's own; the rest is held until more has come."""
        if self._rest is not None:
            self._rest += piece[: _LONGEST_REST + 1 - len(self._rest)]
            return b""
        known = self._held + piece if self._held else piece
        at = known.find(self._begin)
        if at < 0:
            at = self._begins_at(known)
            self._held = known[at:]
            return known[:at]
        self._held = b""
        self._rest = known[at + len(self._begin) :][: _LONGEST_REST + 1]
        return known[:at]

    def _begins_at(self, known: bytes) -> int:
        """Where a part of its beginning stands at the end of `known`."""
        at = known.rfind(_FIRST, max(0, len(known) - len(self._begin)))
        return at if at >= 0 and self._begin.startswith(known[at:]) else len(known)

    @property
    def may_be_output(self) -> bool:
        """Whether bytes are held that may as well be the command's own."""
        return 0 < len(self._held) <= _CHANCE

    def release(self) -> bytes:
        """What is held, to be called where `may_be_output`."""
        released, self._held = self._held, b""
        return released

    def said(self) -> Ended | None:
        """None where it has not come, or not the whole of it."""
        found = _REST.match(self._rest or b"")
        if self._rest is None or found is None:
            return None
        return Ended(int(found[1]), found[2] == b"left", len(self._rest) > found.end())
