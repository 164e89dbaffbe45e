from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3zkp_maint.cleanup.outcome import Done, obstacle, summary
from g3zkp_maint.cleanup.plan import KINDS, Backed, CleanupPlan, CleanupRequest, StepName, plan, require_allowed
from g3zkp_maint.errors import BadInput, CleanupFailed, CleanupRefused
from g3zkp_maint.settings import Cleanup

NOW = datetime(2026, 3, 2, 3, tzinfo=UTC)
FRESH = Backed("g3zkp_full_20260302_020000", NOW - timedelta(hours=1))


def planned(*, newest: Backed | None = FRESH, settings: Cleanup | None = None, **asked: Any) -> CleanupPlan:
    return plan(settings or Cleanup(), CleanupRequest.parse(asked), begun=NOW, now=NOW, newest=newest)


def test_the_cutoffs_are_those_of_the_protocols_in_milliseconds() -> None:
    day = 86_400_000
    now = int(NOW.timestamp()) * 1000
    assert planned().cutoffs_ms == {"messages": now - 30 * day, "proofs": now - 7 * day, "sessions": now - day}
    assert planned().refusals == ()


def test_cutoffs_count_from_when_the_run_began_however_late_a_step_is() -> None:
    late = plan(Cleanup(), CleanupRequest(), begun=NOW, now=NOW + timedelta(hours=5), newest=FRESH)
    assert late.cutoffs_ms == planned().cutoffs_ms


@given(st.floats(min_value=0.01, max_value=36500), st.integers(min_value=0, max_value=36500))
def test_a_cutoff_is_never_negative_nor_after_the_run_began(days: float, since_1990: int) -> None:
    begun = datetime(1990, 1, 1, tzinfo=UTC) + timedelta(days=since_1990)
    found = plan(Cleanup(), CleanupRequest(messages_days=days), begun=begun, now=begun, newest=None)
    assert 0 <= found.cutoffs_ms["messages"] <= begun.timestamp() * 1000


def test_a_plan_is_the_same_after_it_was_kept() -> None:
    found = planned(force=True, reason="court", messages_days=0.5)
    assert CleanupPlan.model_validate(found.as_dict()) == found


FORCED = {"force": True, "reason": "order of the court"}


@pytest.mark.parametrize(
    ("asked", "age_hours", "refused"),
    [
        ({}, 1, None),
        ({}, 35.9, None),
        ({}, 36.1, "more than 36 h ago"),
        (FORCED, 36.1, "more than 36 h ago"),  # force is for the floors alone
        ({}, None, "no valid and complete backup"),
        (FORCED, None, "no valid and complete backup"),
        ({"messages_days": 1}, 1, None),
        ({"messages_days": 0.9}, 1, "messages would be kept for 21.6 h only, less than the floor of 24 h"),
        ({"messages_days": 0.9, "force": True}, 1, "that needs a reason"),
        ({"messages_days": 0.9, "force": True, "reason": "  "}, 1, "that needs a reason"),
        ({"messages_days": 0.9, "reason": "no force"}, 1, "needs force and a reason"),
        ({"messages_days": 0.9, **FORCED}, 1, None),
        ({"proofs_days": 0.5}, 1, "proofs would be kept for 12 h only"),
        ({"sessions_hours": 0.5}, 1, "sessions would be kept for 0.5 h only"),
        ({"sessions_hours": 1}, 1, None),
        # The backup saw the data 30 hours ago: what came after it is in none.
        ({"messages_days": 1}, 30, "messages made after it would be deleted unsaved"),
        ({"proofs_days": 0.5, **FORCED}, 13, "proofs made after it would be deleted unsaved"),
    ],
)
def test_the_guards(asked: dict[str, Any], age_hours: float | None, refused: str | None) -> None:
    newest = None if age_hours is None else Backed("g3zkp_full_x", NOW - timedelta(hours=age_hours))
    found = planned(newest=newest, **asked)
    if refused is None:
        require_allowed(found)
        return
    with pytest.raises(CleanupRefused, match=refused):
        require_allowed(found)


def test_all_that_speaks_against_it_is_told_at_once() -> None:
    with pytest.raises(CleanupRefused, match=r"messages would .*proofs would .*no valid"):
        require_allowed(planned(newest=None, messages_days=0.1, proofs_days=0.1))


@pytest.mark.parametrize("asked", [{"messages_days": 0}, {"sessions_hours": -1}, {"proofs_days": "soon"}, {"days": 3}])
def test_a_time_that_is_none_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=next(iter(asked))):
        CleanupRequest.parse(asked)


def test_housekeeping_is_a_step_only_where_it_is_asked_for() -> None:
    assert StepName.HOUSEKEEPING not in planned().steps
    assert planned(settings=Cleanup(housekeeping_days=7)).steps[-1] is StepName.HOUSEKEEPING


# -- what came of it -------------------------------------------------------------------------------------------------------


def done(**outcomes: str) -> dict[StepName, Done]:
    found = {}
    for step in planned().steps:
        outcome = outcomes.get(step, "ok")
        found[step] = Done.model_validate({"step": step, "outcome": outcome, "why": "" if outcome == "ok" else "dead"})
    return found


@pytest.mark.parametrize(
    ("step", "failed", "runs"),
    [
        (StepName.PROOFS, StepName.MESSAGES, False),
        (StepName.SESSIONS, StepName.MESSAGES, True),
        (StepName.SESSIONS, StepName.PROOFS, True),
        (StepName.COMPACT, StepName.MESSAGES, True),
        (StepName.COMPACT, StepName.SESSIONS, True),
        (StepName.HOUSEKEEPING, StepName.COMPACT, True),
    ],
)
def test_a_step_runs_after_a_failure_only_where_that_is_safe(step: StepName, failed: StepName, runs: bool) -> None:
    assert (obstacle(step, done(**{failed: "failed"})) is None) == runs


def test_a_run_with_a_step_that_failed_is_partial_and_says_which() -> None:
    result = summary(planned(), done(messages="failed", proofs="skipped"))
    assert result["outcome"] == "partial"
    assert result["problems"] == ["messages: dead", "proofs: dead"]


def test_a_run_without_any_deletion_has_failed_though_it_compacted() -> None:
    with pytest.raises(CleanupFailed, match="sessions: dead"):
        summary(planned(), done(**dict.fromkeys(KINDS, "failed")))


def test_a_run_where_all_went_well_is_ok() -> None:
    assert summary(planned(), done())["outcome"] == "ok"
