from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest

from g3zkp_maint.reports.compose import compose
from g3zkp_maint.reports.facts import (
    CertificatesSeen,
    Day,
    Failure,
    Findings,
    FindingSeen,
    Speed,
    SpeedFigure,
    SpeedRun,
    WeekFacts,
    WindowHeld,
)
from g3zkp_maint.reports.page import cell, page, percent, span
from g3zkp_maint.reports.week import Week
from g3zkp_maint.testing.maintenance_weeks import sources

WEEK = Week(2026, 47)
TROUBLED = compose(sources(WEEK, weeks=3, is_troubled=True))
WELL = compose(sources(WEEK, weeks=1))
EVIL = "<script>alert(1)</script>'\"><img src=x onerror=alert(2)>"
_VOID = {"meta", "br", "link", "img", "input", "hr"}


class Read(HTMLParser):
    """What a page has; fails where its tags are not nested."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def evil_facts() -> WeekFacts:
    """With text of others wherever a report has room for it."""
    at = datetime(2026, 11, 20, tzinfo=UTC)
    failure = Failure(task=EVIL, code=EVIL, count=2, last_at=at, slot=EVIL, run="r", attempts=2, meaning=EVIL)
    window = WindowHeld(id=EVIL, kind=EVIL, start=at, end=at, what=EVIL, state=EVIL)
    seen = FindingSeen(severity="high", check=EVIL, count=1, remedy=EVIL)
    return TROUBLED.model_copy(
        update={
            "namespace": EVIL,
            "failures": (failure,),
            "windows": (window,),
            "findings": Findings(at=at, counts={EVIL: 1}, shown=(seen,)),
            "speed": Speed(
                at=at,
                figures=(SpeedFigure(name=EVIL, now=EVIL, before=EVIL, change=0.5, is_worse=True),),
                runs=tuple(SpeedRun(at=at - timedelta(weeks=week), health_ms=3, ready_ms=None) for week in (1, 0)),
            ),
            "certificates": CertificatesSeen(count=2, first_end=at),
            "unknown": (EVIL,),
            "trend": tuple(
                point.model_copy(update={"durations": {EVIL: point.durations["backup.run"]}})
                for point in TROUBLED.trend
            ),
        }
    )


@pytest.mark.parametrize("facts", [WELL, TROUBLED, evil_facts()], ids=["well", "troubled", "evil"])
def test_a_page_is_nested_loads_nothing_and_runs_nothing(facts: WeekFacts) -> None:
    read = Read(page(facts))
    names = {tag for tag, _ in read.tags}
    assert not names & {"script", "link", "img", "iframe", "object", "embed", "form", "base", "audio", "video"}
    for tag, attributes in read.tags:
        assert not [name for name in attributes if name.startswith("on") or name in {"style", "src", "srcset"}]
        assert (attributes.get("href") or "#").startswith("#"), tag
    assert "http" not in re.sub(r'http-equiv="', "", page(facts))


def test_text_of_others_is_shown_and_does_nothing() -> None:
    read = Read(page(evil_facts()))
    assert sum(EVIL in text for text in read.text) >= 12
    assert "<script" not in page(evil_facts())


def test_no_text_of_an_error_is_in_the_store_as_it_may_name_files() -> None:
    told = compose(sources(WEEK, weeks=1, is_troubled=True))
    assert "12 MiB left" not in page(told) + told.model_dump_json()
    assert "A store has no room left" in page(told)


def test_the_policy_names_the_sheet_that_is_there_and_nothing_else() -> None:
    text = page(WELL)
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = [one["content"] for one in Read(text).all("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def test_whoever_cannot_see_it_can_read_it() -> None:
    read = Read(page(TROUBLED))
    assert read.all("html") == [{"lang": "en"}]
    assert len(read.all("h1")) == len(read.all("main")) == 1
    ids = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = {str(attributes.get("aria-labelledby")) for attributes in read.all("section")}
    assert named <= set(ids)
    assert {str(one["href"])[1:] for one in read.all("a")} <= set(ids)
    assert all(one.get("scope") for one in read.all("th"))
    charts = [one for one in read.all("svg") if one.get("class") in {"chart", "meter"}]
    assert len(charts) >= 6
    assert all(one.get("role") == "img" and one.get("aria-label") for one in charts)
    # Each chart's figures are in a table beside it.
    assert len(read.all("figure")) == sum("Figures" in text for text in read.text)


def test_no_mark_is_told_by_its_colour_alone() -> None:
    text = page(TROUBLED)
    for sign, word in (
        ("✓", "ran and is whole"),
        ("✗", "failed"),
        ("!", "missed"),
        ("◐", "ended partial"),
        ("→", "gave way"),
    ):
        assert re.search(rf'aria-hidden="true">{re.escape(sign)}</span><span class="away">{word}', text), word
    assert ">Act</span>" in text


def test_sections_appear_when_there_is_something_to_say() -> None:
    text = page(WELL)
    assert 'id="windows"' not in text
    assert 'id="findings"' not in text
    assert 'id="speed"' not in text
    assert "certificates seen" not in text
    assert "Nothing was missed, and nothing failed." in text
    assert "2 certificates seen" in page(evil_facts())
    for anchor in ("windows", "findings", "speed"):
        assert f'id="{anchor}"' in page(evil_facts())
        assert f'href="#{anchor}"' in page(evil_facts())


def test_what_could_not_be_asked_is_said_and_not_made_up() -> None:
    bare = replace(sources(WEEK, weeks=1), objects=None, store=None, evidence=None, keys=None, records=[], begins=None)
    read = Read(page(compose(bare)))
    told = " ".join(read.text)
    assert told.count("The store could not be asked.") == 2
    assert "The messenger's Secret could not be asked." in told
    assert "The journal holds no look at it from this week." in told


def test_the_same_facts_give_the_same_bytes() -> None:
    assert page(TROUBLED) == page(WeekFacts.model_validate_json(TROUBLED.model_dump_json()))


@pytest.mark.parametrize(
    ("share", "shown"),
    [(1.0, "100 %"), (0.999999, "99.99 %"), (0.9945, "99.45 %"), (0.5, "50 %"), (0.0, "0 %"), (None, "not known")],
)
def test_what_is_not_whole_never_looks_whole(share: float | None, shown: str) -> None:
    assert percent(share) == shown


@pytest.mark.parametrize(
    ("start", "shown"),
    [
        ((2026, 11, 16), "16 to 22 November 2026"),
        ((2026, 11, 30), "30 November to 6 December 2026"),
        ((2026, 12, 28), "28 December 2026 to 3 January 2027"),
    ],
)
def test_a_week_is_named_by_its_first_and_last_day(start: tuple[int, int, int], shown: str) -> None:
    first = datetime(*start, tzinfo=UTC)
    assert span(first, first + timedelta(days=7)) == shown


def test_a_day_of_many_slots_shows_how_many_ran_and_the_worst_of_them() -> None:
    found = cell(Day(day=WEEK.start, marks={"ok": 286, "missed": 1, "failed": 1}))
    assert found is not None
    assert (found.sign, found.css) == ("286/288", "bad")
    assert found.text == "1 failed; 1 missed; 286 ran and is whole"
    assert cell(Day(day=WEEK.start)) is None
