"""What the maintenance protocols promise of windows, once more and by hand; and settings that make no sense."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from g3zkp_maint.errors import SettingsError
from g3zkp_maint.settings import load
from g3zkp_maint.windows.kind import TERMS, Kind
from g3zkp_maint.windows.plan import plan_windows


@pytest.mark.parametrize(
    ("kind", "shortest", "longest", "notice", "cadence"),
    [
        (Kind.SECURITY, 15, 30, timedelta(hours=24), "as needed"),
        (Kind.MINOR, 30, 30, timedelta(hours=48), "weekly"),
        (Kind.MAJOR, 60, 120, timedelta(weeks=1), "monthly"),
        (Kind.INFRASTRUCTURE, 120, 240, timedelta(weeks=2), "quarterly"),
    ],
)
def test_types_are_those_of_the_protocols(
    kind: Kind, shortest: int, longest: int, notice: timedelta, cadence: str
) -> None:
    terms = TERMS[kind]
    assert (terms.shortest, terms.longest) == (timedelta(minutes=shortest), timedelta(minutes=longest))
    assert (terms.notice, terms.cadence) == (notice, cadence)


def test_by_default_the_rotation_of_keys_has_a_window_at_its_time() -> None:
    slot = datetime.fromisoformat("2026-11-29T03:00Z")
    (found,) = [one for one in plan_windows(load().windows, {}, slot) if one.is_open(slot)]
    assert found.is_open(slot + timedelta(minutes=29))
    assert not found.is_open(slot - timedelta(seconds=1))
    assert not found.is_open(slot + timedelta(minutes=30))


WEEKLY = '{"name": "w", "kind": "minor", "every": "week", "weekday": "sunday", "at": "03:00", "minutes": 30}'


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("RECURRING", f"[{WEEKLY}, {WEEKLY}]", "named twice: w"),
        ("RECURRING", f"[{WEEKLY.replace('30', '45')}]", "a minor window lasts 30 to 30 minutes"),
        ("RECURRING", f"[{WEEKLY.replace('week', 'month', 1)}]", "every month goes with day"),
        ("RECURRING", f"[{WEEKLY.replace('03:00', '03:00:10')}]", "must be HH:MM"),
        ("RECURRING", f"[{WEEKLY.replace('minor', 'tiny')}]", "kind"),
        ("FREEZES", '[{"first": "2026-12-24", "last": "2026-12-20", "why": "feast"}]', "is before first"),
        ("HOLDING_ALERTS", '["a|b"]', "should match"),
        ("ALERTMANAGER_URL", "alerts:9093", "must start with http"),
    ],
)
def test_windows_that_make_no_sense_are_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"G3ZKP_WINDOWS__{variable}", value)
    with pytest.raises(SettingsError, match=said):
        load()


def test_the_url_of_alertmanager_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("G3ZKP_WINDOWS__ALERTMANAGER_URL", "user:hush@host")
    with pytest.raises(SettingsError) as refused:
        load()
    assert "hush" not in str(refused.value)
    monkeypatch.setenv("G3ZKP_WINDOWS__ALERTMANAGER_URL", "http://user:hush@host")
    assert "hush" not in repr(load())
