"""Flower as an operator sees it: Debian's Chromium looks at its pages, and reads what is on them."""

from __future__ import annotations

import html
import socket
from collections.abc import Callable, Iterator

import pytest
from monitored_site import Site
from playwright.sync_api import Page, expect, sync_playwright

from g3zkp_maint.testing.running_stack import wait_for
from workers.app import QUEUES

pytestmark = pytest.mark.integration

STEPS = ("backup.archive", "backup.seal", "backup.verify_sealed", "backup.run")


@pytest.fixture(scope="module")
def page(site: Site, require_program: Callable[[str], str]) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=require_program("chromium"))
        page = browser.new_page(base_url=site.addresses["flower"], viewport={"width": 1600, "height": 1000})
        page.set_default_timeout(20_000)
        yield page
        browser.close()


def test_a_backup_is_seen_under_its_name_with_its_steps(site: Site, page: Page) -> None:
    page.goto("/tasks")
    page.locator("input[type=search]").fill(site.backup["name"])
    rows = page.locator("#tasks-table tbody tr")
    for step in STEPS:
        expect(rows.filter(has_text=step).filter(has_text="SUCCESS").first).to_be_visible()
    assert rows.filter(has_text="backup.archive").filter(has_text="ipfs.000").count() == 1, "each shard by its name"
    expect(page.get_by_text("relay")).to_have_count(0)

    rows.filter(has_text="backup.run").get_by_role("link", name="-").click()
    expect(page.get_by_text("'stored_bytes'")).to_be_visible()
    expect(page.locator("body")).to_contain_text(site.backup["name"])


def test_no_page_shows_a_secret(site: Site, page: Page) -> None:
    secrets = site.secrets()
    assert len(secrets) > 5
    tasks = page.request.post("/tasks/datatable", form=_all_tasks()).json()["data"]
    assert {"crypto.rotate_keys", "backup.run"} <= {task["name"] for task in tasks}
    pages = ["/workers", "/tasks", "/broker", "/api/tasks", "/metrics", *(f"/task/{task['uuid']}" for task in tasks)]
    shown = {path: page.request.get(path).text() for path in pages}
    for queue in QUEUES:
        look_at_worker(page, queue)
        shown[queue] = page.content()
    shown["datatable"] = str(tasks)
    assert [path for path, text in shown.items() if any(secret in html.unescape(text) for secret in secrets)] == []


def test_nothing_is_offered_that_changes_something(page: Page) -> None:
    look_at_worker(page, "backup")
    for control in ("#worker-group", "#worker-shutdown", "#worker-pool-grow"):
        expect(page.locator(control)).to_have_count(0)


def look_at_worker(page: Page, queue: str) -> None:
    """At its whole configuration. Flower gives a worker a second to tell of itself, and has no page of one that is late."""

    def is_shown() -> bool:
        page.goto(f"/worker/{queue}@{socket.gethostname()}")
        return page.get_by_text("broker_url", exact=True).count() == 1

    wait_for(is_shown, 30, page.content)


def _all_tasks() -> dict[str, str | float | bool]:
    column = {"order[0][column]": "0", "order[0][dir]": "asc", "columns[0][data]": "received"}
    return {"draw": "1", "start": "0", "length": "1000", **column}
