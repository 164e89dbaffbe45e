"""Alertmanager by its API v2: which alerts fire, and the silences of maintenance windows.

An alert that nobody but us has silenced counts as firing: our silence says that a window disturbs, not that all is well.
What another has silenced he has seen. The URL may hold a password, and is shown nowhere.

Several installations may share one Alertmanager. Their alerts differ by the label `namespace`, and windows of the same name
open in each: only alerts and silences of our own namespace are looked at or touched.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, TypeVar

import httpx
from pydantic import AwareDatetime, BaseModel, SecretStr, TypeAdapter

from g3zkp_maint.errors import AlertmanagerUnavailable
from g3zkp_maint.windows.silence import CREATOR, Silence, window_of

_SECONDS = 10.0
_Answer = TypeVar("_Answer")


class _AlertStatus(BaseModel):
    silencedBy: list[str]  # noqa: N815 -- the API's names


class _Alert(BaseModel):
    labels: dict[str, str]
    status: _AlertStatus


class _SilenceStatus(BaseModel):
    state: str


class _Matcher(BaseModel):
    name: str
    value: str
    isRegex: bool  # noqa: N815
    isEqual: bool = True  # noqa: N815


class _Silence(BaseModel):
    id: str
    matchers: list[_Matcher]
    comment: str
    createdBy: str  # noqa: N815
    startsAt: AwareDatetime  # noqa: N815
    endsAt: AwareDatetime  # noqa: N815
    status: _SilenceStatus


class _Made(BaseModel):
    silenceID: str  # noqa: N815


_ALERTS, _SILENCES, _MADE = TypeAdapter(list[_Alert]), TypeAdapter(list[_Silence]), TypeAdapter(_Made)


class Alertmanager:
    """All methods raise AlertmanagerUnavailable."""

    def __init__(self, url: SecretStr, *, namespace: str, silenced: Sequence[str]) -> None:
        """`namespace` is that label of our alerts, '' where they carry none; `silenced` are the names of the alerts that a
        window silences."""
        self._url = url
        self._ours = _Matcher(name="namespace", value=namespace, isRegex=False)
        self._silenced = tuple(silenced)

    def firing(self, names: Collection[str]) -> tuple[str, ...]:
        """Which of these alerts fire, by name."""
        if not names:
            return ()
        filters = [f'alertname=~"{_any_of(names)}"', f'namespace="{self._ours.value}"']
        asked = {"filter": filters, "silenced": "true", "inhibited": "true", "active": "true"}
        alerts = self._ask(_ALERTS, "GET", "alerts", params=asked)
        ours = {one.id for one in self.silences()}
        found = {one.labels.get("alertname", "") for one in alerts if set(one.status.silencedBy) <= ours}
        return tuple(sorted(found & set(names)))

    def silences(self) -> tuple[Silence, ...]:
        """Ours, save those that are over."""
        return tuple(
            Silence(one.id, window_of(one.comment), one.startsAt, one.endsAt)
            for one in self._ask(_SILENCES, "GET", "silences")
            if one.createdBy == CREATOR
            and self._ours in one.matchers
            and window_of(one.comment)
            and one.status.state != "expired"
        )

    def put(self, silence: Silence) -> str:
        """Makes it, or changes the one of its id; returns the id that it has now."""
        names = _Matcher(name="alertname", value=_any_of(self._silenced), isRegex=True)
        document = {
            "matchers": [one.model_dump() for one in (names, self._ours)],
            "startsAt": silence.start.isoformat(),
            "endsAt": silence.end.isoformat(),
            "createdBy": CREATOR,
            "comment": silence.comment,
        }
        changed = {"id": silence.id} if silence.id else {}
        return self._ask(_MADE, "POST", "silences", json=document | changed).silenceID

    def lift(self, silence: Silence) -> None:
        """Ends it now. One that another has just ended is refused: the next look does not see it."""
        self._send("DELETE", f"silence/{silence.id}")

    def _ask(self, form: TypeAdapter[_Answer], method: str, path: str, **what: Any) -> _Answer:
        answer = self._send(method, path, **what)
        try:
            return form.validate_json(answer.content)
        except ValueError:
            raise _unavailable(method, path, "what answered is no Alertmanager") from None

    def _send(self, method: str, path: str, **what: Any) -> httpx.Response:
        try:
            url = httpx.URL(self._url.get_secret_value())
            # Apart from the address, which httpx logs.
            auth = (url.username, url.password) if url.username else None
            address = f"{str(url.copy_with(userinfo=b'')).rstrip('/')}/api/v2/{path}"
            answer = httpx.request(method, address, auth=auth, timeout=_SECONDS, trust_env=False, **what)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # No cause is chained to it: httpx's own text can hold the whole URL.
            raise _unavailable(method, path, type(error).__name__) from None
        if not answer.is_success:
            raise _unavailable(method, path, f"it answered {answer.status_code}")
        return answer


def _any_of(names: Collection[str]) -> str:
    return "|".join(sorted(names))


def _unavailable(method: str, path: str, why: str) -> AlertmanagerUnavailable:
    return AlertmanagerUnavailable(
        f"Alertmanager: {method} {path} failed: {why}; is windows.alertmanager_url right, and can it be reached from here?"
    )
