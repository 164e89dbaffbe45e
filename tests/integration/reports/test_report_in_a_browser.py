"""The report as people see it: Chromium lays it out for a desk and for a phone, in light and in dark."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from g3zkp_maint.reports.compose import compose
from g3zkp_maint.reports.facts import Failure
from g3zkp_maint.reports.page import page as rendered
from g3zkp_maint.reports.week import Week
from g3zkp_maint.testing.maintenance_weeks import sources

pytestmark = pytest.mark.integration

WEEK = Week(2026, 47)
#: As long as anything in a report may be, without a blank to break at.
LONG = "a-name-that-nobody-thought-of-when-the-page-was-made/" * 6

#: Right edges of what sticks out of the page, except inside what scrolls by itself.
STICKS_OUT = """() => [...document.querySelectorAll('body *')]
    .filter(one => !one.closest('.scroll') && !one.closest('.away') && !one.closest('.skip'))
    .filter(one => one.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .map(one => one.tagName + '.' + one.className)"""

#: Texts that can be read too badly: WCAG asks for 4.5 to 1.
PALE = """() => {
    const shades = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255)
        .map(part => part <= .03928 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4);
    const light = colour => { const [r, g, b] = shades(colour); return .2126 * r + .7152 * g + .0722 * b };
    const ground = one => { const own = getComputedStyle(one).backgroundColor;
        return own === 'rgba(0, 0, 0, 0)' && one.parentElement ? ground(one.parentElement) : own };
    const found = [];
    for (const one of document.querySelectorAll('body *')) {
        if (![...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim())) continue;
        if (one.closest('title, .away, .skip')) continue;
        const style = getComputedStyle(one);
        const [low, high] = [light(one.closest('svg') ? style.fill : style.color), light(ground(one))].sort((a, b) => a - b);
        const contrast = (high + .05) / (low + .05);
        if (contrast < 4.5) found.push(one.textContent.trim().slice(0, 40) + ' ' + contrast.toFixed(2));
    }
    return found;
}"""

#: Labels of a chart that lie over one another, or outside of it.
OVERLAP = """() => [...document.querySelectorAll('svg.chart')].flatMap(chart => {
    const frame = chart.getBoundingClientRect();
    const boxes = [...chart.querySelectorAll('text')].map(one => one.getBoundingClientRect());
    const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
    const out = boxes.filter(box => box.left < frame.left - 1 || box.right > frame.right + 1);
    const met = boxes.filter((box, at) => boxes.slice(at + 1).some(other => meet(box, other)));
    return [...out, ...met].map(() => chart.getAttribute('aria-label'));
})"""


@pytest.fixture(scope="module")
def browser(require_program: Callable[[str], str]) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=require_program("chromium"))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A week in trouble, with a text in it that is too long for any column."""
    facts = compose(sources(WEEK, weeks=12, is_troubled=True))
    long = Failure(
        task="observe.health",
        code=LONG[:60],
        count=1,
        last_at=facts.start,
        slot=LONG,
        run="r",
        attempts=3,
        meaning=LONG,
    )
    made = tmp_path_factory.mktemp("report") / "week.html"
    made.write_text(rendered(facts.model_copy(update={"failures": (*facts.failures, long), "unknown": (LONG,)})))
    return made


@pytest.fixture(
    params=[(390, "light"), (390, "dark"), (1200, "light"), (1200, "dark")], ids=lambda it: f"{it[0]}-{it[1]}"
)
def shown(browser: Browser, file: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Page, list[Any]]]:
    """The page, and what the browser complained of or wanted to load."""
    width: int = request.param[0]
    scheme: Literal["light", "dark"] = request.param[1]
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    noticed: list[Any] = []
    page.on("console", lambda message: noticed.append(message.text))
    page.on("request", lambda wanted: noticed.append(wanted.url) if wanted.url != file.as_uri() else None)
    page.goto(file.as_uri())
    yield page, noticed
    page.close()


def test_it_is_readable_at_any_width_in_light_and_dark(shown: tuple[Page, list[Any]]) -> None:
    page, noticed = shown
    for fold in page.locator("summary").all():
        fold.click()
    assert page.evaluate(STICKS_OUT) == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert page.evaluate(PALE) == []
    assert page.evaluate(OVERLAP) == []
    assert noticed == [], "it loads nothing, and its own policy refuses nothing of it"


def test_its_ground_is_that_of_the_scheme(shown: tuple[Page, list[Any]]) -> None:
    page, _ = shown
    is_dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(14, 17, 22)" if is_dark else "rgb(244, 246, 249)")
