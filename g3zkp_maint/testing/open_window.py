"""An open maintenance window, for tests of what needs one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from g3zkp_maint.bootstrap import Services
from g3zkp_maint.operations.windows import close_window, open_window
from g3zkp_maint.windows.kind import Kind
from g3zkp_maint.windows.proposal import Proposal
from g3zkp_maint.windows.window import Window


@contextmanager
def opened(services: Services, *, minutes: int = 120, ahead_minutes: int = 0) -> Iterator[Window]:
    """While the block runs, or planned for so much later; nobody is told."""
    start = services.clock.now().replace(second=0, microsecond=0) + timedelta(minutes=ahead_minutes)
    wish = Proposal(
        Kind.MAJOR, start, start + timedelta(minutes=minutes), "a test", emergency=True, reason="a test needs it"
    )
    window = open_window(services, wish)
    yield window
    close_window(services, window.id, why="the test is over", by="a test")
