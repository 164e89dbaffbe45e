"""Notices, whatever looks when: each once, none too late, and what people know last is what is true."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import fakeredis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from window_cases import DAY, HOUR, MINUTE, NONE_RECUR, SUNDAY, freeze, notice, once

from g3zkp_maint.bootstrap import Services
from g3zkp_maint.coordination.guard import Unguarded
from g3zkp_maint.coordination.journal import Step
from g3zkp_maint.coordination.notice_claims import NoticeClaims
from g3zkp_maint.coordination.occasion import Held
from g3zkp_maint.errors import NoticeNotSent
from g3zkp_maint.notices import Notice, Notices
from g3zkp_maint.operations import windows as operations
from g3zkp_maint.settings import Settings, Windows
from g3zkp_maint.windows.kind import TERMS, Kind
from g3zkp_maint.windows.window import Window

SETTINGS = Settings()


class Killed(BaseException):
    """As if by a signal: nothing catches it."""


@dataclass
class World:
    """One window of each example, services on an empty Redis, and what people got. `answers` says what the service does."""

    now: datetime
    settings: Windows = NONE_RECUR
    redis: fakeredis.FakeRedis = field(default_factory=lambda: fakeredis.FakeRedis(decode_responses=True))
    got: list[tuple[datetime, Notice]] = field(default_factory=list)
    answers: Callable[[], None] = lambda: None
    name: str = "recorder"

    def send(self, told: Notice) -> None:
        self.answers()
        self.got.append((self.now, told))

    def monotonic(self) -> float:
        return 0.0

    def services(self) -> Services:
        """Of a process that has just started."""
        made = Services(SETTINGS.model_copy(update={"windows": self.settings}), clock=_Clock(self))
        made.__dict__ |= {"redis": self.redis, "notices": Notices([self], NoticeClaims(self.redis, keep_days=90))}
        return made

    def look(self, at: datetime, *, dies: bool = False) -> None:
        def die() -> None:
            raise Killed

        self.now, self.answers = at, die if dies else lambda: None
        try:
            operations.tend(self.services(), Held(Unguarded(), _step, 1, at))
        except Killed:
            assert dies

    def put(self, window: Window) -> None:
        self.services().windows.change(lambda _: (window,))

    def titles(self) -> list[str]:
        return [told.title.partition(":")[0] for _, told in self.got]


@dataclass
class _Clock:
    world: World

    def now(self) -> datetime:
        return self.world.now

    def monotonic(self) -> float:
        return 0.0


@contextmanager
def _step(_: str) -> Iterator[Step]:
    yield Step()


KINDS = st.sampled_from(list(Kind))
LENGTH = {Kind.SECURITY: 20, Kind.MINOR: 30, Kind.MAJOR: 90, Kind.INFRASTRUCTURE: 180}
#: When somebody looks: counted from the start of the window, and whether he is killed before anything is sent.
LOOKS = st.lists(
    st.tuples(
        st.one_of(st.integers(-22 * 1440, 300), st.integers(-120, 240)).map(lambda minutes: minutes * MINUTE),
        st.booleans(),
    ),
    max_size=12,
).map(lambda looks: sorted(looks, key=lambda one: one[0]))


@settings(max_examples=50)
@given(KINDS, LOOKS)
def test_a_window_is_told_once_by_the_first_who_looks_between_its_notice_and_its_end(
    kind: Kind, looks: list[tuple[timedelta, bool]]
) -> None:
    window, world = once(kind, SUNDAY, LENGTH[kind]), World(SUNDAY - 30 * DAY)
    world.put(window)
    for after, dies in looks:
        world.look(SUNDAY + after, dies=dies)
    in_time = [SUNDAY + after for after, dies in looks if not dies and -notice(kind) <= after < window.length]
    assert [at for at, _ in world.got] == in_time[:1]


@settings(max_examples=50)
@given(KINDS, LOOKS, st.integers(-21 * 1440, 200).map(lambda minutes: minutes * MINUTE), st.booleans())
def test_who_was_told_of_a_window_is_told_once_that_it_does_not_take_place(
    kind: Kind, looks: list[tuple[timedelta, bool]], stopped_after: timedelta, by_freeze: bool
) -> None:
    window, world = once(kind, SUNDAY, LENGTH[kind]), World(SUNDAY - 30 * DAY)
    world.put(window)
    before = [after for after, _ in looks if after < stopped_after]
    for after in before:
        world.look(SUNDAY + after)
    world.now = SUNDAY + stopped_after
    is_over = world.now >= window.end
    if by_freeze:
        world.settings = Windows(recurring=(), freezes=(freeze(SUNDAY),))
    elif not is_over:
        operations.close_window(world.services(), window.id, why="not needed", by="op")
    later = [after for after, _ in looks if after >= stopped_after]
    for after in later:
        world.look(SUNDAY + after)
    was_told = any(-notice(kind) <= after < window.length for after in before)
    is_told = was_told and any(after < window.length for after in later)
    assert len(world.got) == was_told + is_told
    if is_told:
        assert "does not take place" in world.titles()[-1] or "has ended early" in world.titles()[-1]


CHANGES = st.lists(
    st.tuples(
        st.one_of(st.integers(-22 * 1440, 400), st.integers(-60, 120)).map(lambda minutes: minutes * MINUTE),
        st.sampled_from(("look", "look", "look", "die", "move", "freeze", "thaw", "close")),
        st.integers(-60, 60),
    ),
    max_size=16,
).map(lambda changes: sorted(changes, key=lambda one: one[0]))


@settings(max_examples=60)
@given(KINDS, CHANGES)
def test_after_each_look_people_know_what_is_true(kind: Kind, changes: list[tuple[timedelta, str, int]]) -> None:
    window, world = once(kind, SUNDAY, LENGTH[kind]), World(SUNDAY - 30 * DAY)
    world.put(window)
    for after, what, minutes in changes:
        world.now = SUNDAY + after
        current = world.services().windows.windows()[window.id]
        if what in {"look", "die"}:
            world.look(world.now, dies=what == "die")
        elif what == "move" and current.start > world.now:
            start = max(current.start + minutes * MINUTE, world.now + MINUTE)
            world.put(current.replaced(world.now, start=start, end=start + current.length))
        elif what == "close" and current.stop is None and current.end > world.now:
            operations.close_window(world.services(), window.id, why="not needed", by="op")
        elif what in {"freeze", "thaw"}:
            frozen = tuple(freeze(SUNDAY + day * DAY) for day in (-1, 0, 1))
            world.settings = Windows(recurring=(), freezes=frozen if what == "freeze" else ())
        if what == "look":
            _assert_known(world, window.id)
    keys = [told.key for _, told in world.got]
    assert len(keys) == len(set(keys))


def _assert_known(world: World, id: str) -> None:
    services, now = world.services(), world.now
    found = next((one for one in operations.planned(services) if one.window.id == id), None)
    told = services.windows.told().get(id)
    if found is None:
        assert all(at < now for at, _ in world.got), "nothing is told of a window that is over"
        return
    is_on = found.takes_place and now < found.window.until
    if told is None:
        assert not is_on or now < found.window.notice_due
        return
    if now < told.until:
        assert world.got[-1][1].key == told.key, "what was written down was sent"
    if is_on and found.window.notice_due <= now:
        assert (told.state != "off", told.start, told.end) == (True, found.window.start, found.window.end)
    if not is_on and now < told.end:
        assert told.state == "off"


# -- what it says --------------------------------------------------------------------------------------------------------


def _only(world: World) -> Notice:
    ((_, told),) = world.got
    return told


def test_a_notice_says_what_when_how_long_and_what_will_be_noticed() -> None:
    world = World(SUNDAY - 48 * HOUR, Windows())
    world.look(world.now)
    told = _only(world)
    assert told.title == "Maintenance: Sun 29 Nov 2026, 03:00 to 03:30 UTC"
    assert told.body.splitlines() == [
        "What: minor updates and the rotation of keys",
        "When: Sun 29 Nov 2026, 03:00 to 03:30 UTC",
        "How long: 30 min",
        f"What you will notice: {TERMS[Kind.MINOR].impact}",
    ]
    assert (told.key, told.severity, told.at) == ("window:weekly-20261129T0300:1", "info", world.now)


@pytest.mark.parametrize("minutes", [0, 1])
def test_a_notice_comes_at_its_time_and_no_minute_before(minutes: int) -> None:
    world = World(SUNDAY - 48 * HOUR - minutes * MINUTE, Windows())
    world.look(world.now)
    assert len(world.got) == 1 - minutes


@pytest.mark.parametrize(
    ("ahead", "said"),
    [
        (5 * HOUR, "This notice is late: it was due Fri 27 Nov 2026, 03:00 UTC, 48 h ahead; it begins in 5 h."),
        (-10 * MINUTE, "This notice is late: it was due Fri 27 Nov 2026, 03:00 UTC, 48 h ahead; it has begun."),
    ],
)
def test_a_late_notice_says_that_it_is_late(ahead: timedelta, said: str) -> None:
    world = World(SUNDAY - ahead, Windows())
    world.look(world.now)
    assert _only(world).body.splitlines()[-1] == said
    world.look(SUNDAY + 29 * MINUTE)
    assert len(world.got) == 1


def test_a_window_that_changes_is_told_with_the_time_it_had() -> None:
    world, window = World(SUNDAY - 40 * HOUR), once(Kind.MINOR, SUNDAY, 30)
    world.put(window)
    world.look(world.now)
    world.put(window.replaced(world.now, start=SUNDAY + HOUR, end=SUNDAY + 90 * MINUTE))
    world.look(world.now + HOUR)
    assert world.titles() == ["Maintenance", "Maintenance has been changed"]
    assert "Until now it was to be: Sun 29 Nov 2026, 03:00 to 03:30 UTC" in world.got[-1][1].body


def test_a_window_that_becomes_a_part_of_a_longer_one_is_told_with_the_time_of_that() -> None:
    world = World(SUNDAY - 40 * HOUR, Windows())
    world.look(world.now)
    major = once(Kind.MAJOR, SUNDAY - HOUR, 120)
    world.put(major)
    world.look(world.now)
    assert world.titles() == ["Maintenance", "Maintenance is now a part of a longer one", "Maintenance"]
    assert f"a part of the major window {major.id}, Sun 29 Nov 2026, 02:00 to 04:00 UTC" in world.got[1][1].body


def test_an_emergency_is_told_at_once_with_its_reason() -> None:
    world = World(SUNDAY - 10 * DAY)
    world.put(once(Kind.SECURITY, SUNDAY, 30, emergency=True, reason="a key has leaked"))
    world.look(world.now)
    told = _only(world)
    assert told.title.startswith("Emergency maintenance: Sun 29 Nov 2026")
    assert "Why without the usual notice: a key has leaked" in told.body
    assert told.severity == "warning"


def test_nothing_is_sent_again_once_it_may_be_forgotten_who_had_it() -> None:
    world = World(SUNDAY - 40 * DAY)
    world.put(once(Kind.SECURITY, SUNDAY, 30, emergency=True, reason="a key has leaked"))
    world.look(world.now)
    for key in world.redis.keys("g3zkp:notice:*"):
        world.redis.delete(key)
    world.look(SUNDAY - 15 * DAY)
    assert len(world.got) == 1


def test_what_is_over_for_three_months_is_forgotten() -> None:
    world, window = World(SUNDAY), once(Kind.MINOR, SUNDAY, 30)
    world.put(window)
    world.look(SUNDAY)
    for days, is_known in ((90, True), (91, False)):
        world.look(SUNDAY + days * DAY)
        ledger = world.services().windows
        assert (window.id in ledger.windows(), window.id in ledger.told()) == (is_known, is_known)


def test_a_service_that_was_away_gets_it_when_it_is_back_and_nobody_gets_it_twice() -> None:
    world, other = World(SUNDAY - 48 * HOUR, Windows()), World(SUNDAY - 48 * HOUR, name="other")

    def refuse() -> None:
        raise NoticeNotSent("away")

    def services() -> Services:
        made = world.services()
        made.__dict__["notices"] = Notices([world, other], NoticeClaims(world.redis, keep_days=90))
        return made

    other.answers = refuse
    with pytest.raises(NoticeNotSent, match="away"):
        operations.tend(services(), Held(Unguarded(), _step, 1, world.now))
    other.answers = lambda: None
    for _ in range(2):
        operations.tend(services(), Held(Unguarded(), _step, 1, world.now))
    assert (len(world.got), len(other.got)) == (1, 1)
