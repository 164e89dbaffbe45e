"""The last word of a command in a pod: on stdout, behind all that it wrote, so that nothing can be missing before it.

The status of protocol v5 is made by the API server. Where its connection to the node breaks in mid-stream, it makes one of
success (`default: errorChan <- nil` in client-go's tools/remotecommand/errorstream.go, up to 0.36 at least).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

#: In shell: `$mark`, `$code`, and `$rest`, which is "all" or "left".
SAY_ENDING = r"""printf '\301%s %s %s\n' "$mark" "$code" "$rest"; exit "$code" """
# No text in UTF-8 has it, so of text nothing is ever held back.
_FIRST = b"\xc1"
_LONGEST_REST = len(b" 255 left\n")


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended, and whether input was left."""

    exit_code: int
    has_left_input: bool


class Ending:
    """Sorts it out of stdout. `mark` is a word that no command writes."""

    def __init__(self, mark: bytes) -> None:
        self._begin = _FIRST + mark
        self._longest = len(self._begin) + _LONGEST_REST
        self._whole = re.compile(rb"%b (\d{1,3}) (all|left)\n" % re.escape(self._begin))
        self._held = b""

    def sift(self, piece: bytes) -> bytes:
        """What of stdout is certainly the command's own; the rest is held until more has come."""
        known = self._held + piece if self._held else piece
        at = known.find(_FIRST, max(0, len(known) - self._longest))
        while at >= 0 and not self._begin.startswith(known[at : at + len(self._begin)]):
            at = known.find(_FIRST, at + 1)
        if at < 0:
            at = len(known)
        self._held = known[at:]
        return known[:at]

    @property
    def holds_a_part(self) -> bool:
        """Whether bytes are held that may as well be the command's own."""
        return bool(self._held) and self.said() is None

    def release(self) -> bytes:
        """What `sift` has held, and is not the whole of the ending."""
        released = self._held if self.holds_a_part else b""
        self._held = self._held[len(released) :]
        return released

    def said(self) -> Ended | None:
        found = self._whole.fullmatch(self._held)
        return None if found is None else Ended(int(found[1]), found[2] == b"left")
