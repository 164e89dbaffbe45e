"""What an irreversible step asks before it is done: is the work still allowed to go on?

Domain code is handed a Guard and knows nothing of Redis. It calls `ensure_held()` before each irreversible step (a file
deleted, an object written) and `verify()` before each batch of them, and lets LeaseLost pass: the work ends there.
"""

from __future__ import annotations

from typing import Protocol


class Guard(Protocol):
    """The right to go on, as a lease gives it."""

    @property
    def token(self) -> int:
        """The fencing token: a later holder's is always higher. Written with whatever the step leaves behind."""
        ...

    def ensure_held(self) -> None:
        """Costs nothing: a look at the local clock. Raises LeaseLost once the lease is lost, or may be."""
        ...

    def verify(self) -> None:
        """Asks Redis. Raises LeaseLost when another has taken over, also when that happened a moment ago."""
        ...


class Unguarded:
    """Lets everything pass: for dry runs, and for work that nobody else can be at."""

    token = 0

    def ensure_held(self) -> None:
        return

    def verify(self) -> None:
        return


class AllOf:
    """Several guards as one; its token is the first one's. A task holds its run and the resources it works on."""

    def __init__(self, first: Guard, *others: Guard) -> None:
        self._guards = (first, *others)

    @property
    def token(self) -> int:
        return self._guards[0].token

    def ensure_held(self) -> None:
        for guard in self._guards:
            guard.ensure_held()

    def verify(self) -> None:
        for guard in self._guards:
            guard.verify()
