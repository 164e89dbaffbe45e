"""What the exporter tells of windows."""

from __future__ import annotations

from window_cases import DAY, HOUR, MINUTE, SUNDAY, freeze, once, plan

from g3zkp_maint.metrics.facts import Facts
from g3zkp_maint.metrics.samples import Known, samples
from g3zkp_maint.settings import Windows
from g3zkp_maint.windows.kind import Kind

Values = dict[tuple[str, str], float]


def told(found: Facts, now: object) -> Values:
    known = Known(None, None, found, {}, (), {}, now)  # type: ignore[arg-type]
    return {(one.name.removeprefix("g3zkp_maint_"), *one.labels): one.value for one in samples(known)}  # type: ignore[misc]


def test_each_type_tells_whether_one_is_open_and_when_the_next_begins() -> None:
    major = once(Kind.MAJOR, SUNDAY + DAY, 60)
    read = Facts(windows=plan(SUNDAY - HOUR, major, settings=Windows()))
    before, inside = told(read, SUNDAY - HOUR), told(read, SUNDAY + MINUTE)
    assert [before["window_open", kind] for kind in Kind] == [0, 0, 0, 0]
    assert [inside["window_open", kind] for kind in Kind] == [0, 1, 0, 0]
    starts = {kind: inside["window_next_timestamp_seconds", kind] for kind in Kind}
    assert starts[Kind.MINOR] == (SUNDAY + 7 * DAY).timestamp()
    assert (starts[Kind.MAJOR], starts[Kind.SECURITY]) == (major.start.timestamp(), 0)
    assert before["window_next_timestamp_seconds", Kind.MINOR] == SUNDAY.timestamp()


def test_a_frozen_window_is_neither_open_nor_next() -> None:
    read = Facts(windows=plan(SUNDAY - HOUR, settings=Windows(freezes=(freeze(SUNDAY),))))
    inside = told(read, SUNDAY + MINUTE)
    assert inside["window_open", Kind.MINOR] == 0
    assert inside["window_next_timestamp_seconds", Kind.MINOR] == (SUNDAY + 7 * DAY).timestamp()


def test_where_windows_could_not_be_read_nothing_is_made_up() -> None:
    assert not any(name.startswith("window_") for name, *_ in told(Facts(), SUNDAY))
