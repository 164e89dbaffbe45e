"""Each notice once by each service, whoever sends it and however often.

Before it is sent, the notice is claimed in Redis; after, the claim becomes a mark that stays. Killed in between, the claim
runs out and the notice goes out again with the next attempt: twice now and then is better than never. Whoever thinks
otherwise of a notice asks for `at_most_once`: then it is marked before it is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from g3zkp_maint.coordination.notice_claims import Claim, NoticeClaims
from g3zkp_maint.errors import MaintenanceError, NoticeNotSent
from g3zkp_maint.notices.base import Notice, Notifier


@dataclass(frozen=True, slots=True)
class Delivery:
    """By which services a notice went out now, and by which it had gone out before."""

    sent: tuple[str, ...] = ()
    already: tuple[str, ...] = ()


class Notices:
    """Sends by all of `notifiers`."""

    def __init__(self, notifiers: Sequence[Notifier], claims: NoticeClaims) -> None:
        self._notifiers = tuple(notifiers)
        self._claims = claims

    def send_once(self, notice: Notice, *, at_most_once: bool = False) -> Delivery:
        """Sends it by each service by which it has not gone out yet. To be repeated until it returns.

        One service that fails keeps no other from it. Raises NoticeNotSent where one failed, or where another process is
        just sending it (it may die yet); CoordinationUnavailable.
        """
        sent: list[str] = []
        already: list[str] = []
        failures: list[str] = []
        for notifier in self._notifiers:
            try:
                done = self._send(notifier, notice, at_most_once=at_most_once)
            except MaintenanceError as error:
                failures.append(str(error))
                continue
            (sent if done else already).append(notifier.name)
        _require_none(failures)
        return Delivery(tuple(sent), tuple(already))

    def _send(self, notifier: Notifier, notice: Notice, *, at_most_once: bool) -> bool:
        claim = self._claims.claim(notice.key, notifier.name)
        if claim is Claim.MARKED:
            return False
        if claim is Claim.TAKEN:
            raise NoticeNotSent(
                f"notice {notice.key} is just being sent by {notifier.name}; if whoever does it dies, it is sent again",
                retry_after_seconds=self._claims.seconds,
            )
        if at_most_once:
            self._claims.mark(notice.key, notifier.name)
        try:
            notifier.send(notice)
        except BaseException:
            self._claims.release(notice.key, notifier.name)
            raise
        self._claims.mark(notice.key, notifier.name)
        return True


def _require_none(failures: Iterable[str]) -> None:
    told = list(failures)
    if told:
        raise NoticeNotSent("; ".join(told))
