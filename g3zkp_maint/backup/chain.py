"""The chain of manifests: each names the newest backup before it, with the SHA-256 of that one's manifest. Pure.

So a backup that was removed, or replaced by another one that a trusted key signed as well, shows in the next one. What
cannot show is a removal of the newest: nothing points to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from g3zkp_maint.backup.manifest import Previous


@dataclass(frozen=True, slots=True)
class Link:
    """A backup that is in the store: `digest` is the SHA-256 (hex) of its manifest as it is there now. `previous` is
    None for the first of all, and for one whose manifest must not be believed."""

    name: str
    digest: str
    previous: Previous | None


@dataclass(frozen=True, slots=True)
class Break:
    """Where backup `name` points to a `previous` that is not there, or not as it was."""

    name: str
    previous: str
    is_removed: bool

    def __str__(self) -> str:
        what = "is no longer in the store" if self.is_removed else "was replaced or changed since"
        return f"{self.name} was made after {self.previous}, which {what}"


def breaks(links: Iterable[Link], pruned: Iterable[Link] = ()) -> tuple[Break, ...]:
    """Every place where the chain does not hold, in the order of `links`.

    `pruned` are those that retention took away, as the ledger (ledger.py) has them: they are no break, and what they
    point to is looked for in their stead.
    """
    known = {link.name: link for link in links}
    known |= {link.name: link for link in pruned if link.name not in known}
    digests = {link.name: link.digest for link in known.values()}
    return tuple(
        Break(link.name, link.previous.name, is_removed=link.previous.name not in digests)
        for link in known.values()
        if link.previous is not None and digests.get(link.previous.name) != link.previous.sha256
    )
