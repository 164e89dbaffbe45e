"""One stack for all tests of this folder, with Prometheus and Alertmanager at it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from monitored_site import Site, asked

from g3zkp_maint.stack import inquiry
from g3zkp_maint.testing.prometheus import impatient, running_alertmanager, running_prometheus
from g3zkp_maint.testing.running_stack import running_stack, wait_for
from g3zkp_maint.testing.webhook import running_webhook

RULES = Path(__file__).parents[3] / "monitoring" / "rules" / "g3zkp.yml"
#: The rules' own times are minutes, and tested as such by promtool; here it is told whether an alert arrives at all.
ALERTS_WAIT_SECONDS = 2
#: Facts of the store are a few seconds old, and a worker that is silent for four of its beats is not counted.
QUICK = {"G3ZKP_METRICS__REFRESH_SECONDS": "2", "G3ZKP_METRICS__PRESENT_SECONDS": "16"}

FAILURES = "g3zkp_maint_run_failures_total"
#: A run that fails.
FAILURE = """
from workers.backup import verify
verify.delay("g3zkp_full_20200101_000000", "quick").get(timeout=60, propagate=False)
"""
#: A rotation, a look at the messenger and a backup.
WORK = """
import json
from workers.backup import run
from workers.crypto import rotate_keys
from workers.observe import health
rotate_keys.delay(["signing"], force=True, reason="a test").get(timeout=90)
health.delay().get(timeout=90)
print(json.dumps(run.delay("full").get(timeout=90)))
"""


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory, require_program: Callable[[str], str]) -> Iterator[Site]:
    prometheus, alertmanager = require_program("prometheus"), require_program("prometheus-alertmanager")
    folder = tmp_path_factory.mktemp("monitored")
    rules = impatient(RULES.read_text(encoding="utf-8"), seconds=ALERTS_WAIT_SECONDS)
    with running_stack(folder / "state", environment=QUICK) as stack, running_webhook() as webhook:
        backup = json.loads(asked(stack, FAILURE + WORK))
        addresses = inquiry.addresses(stack.layout)
        targets = {
            "g3zkp-maint": re.sub(r"^http://|/metrics$", "", addresses["metrics"]),
            "g3zkp-messenger": addresses["messenger"].removeprefix("http://"),
        }
        with (
            running_alertmanager(
                alertmanager, folder / "alertmanager", webhook=f"http://127.0.0.1:{webhook.port}/alerts"
            ) as address,
            running_prometheus(
                prometheus, folder / "prometheus", targets=targets, rules=rules, alertmanager=address
            ) as found,
        ):
            wait_for(lambda: bool(found.query(FAILURES)), 20, lambda: "the exporter is not scraped")
            # Once more: the rate of a counter is known when it has grown.
            asked(stack, FAILURE)
            yield Site(stack, backup, found, webhook)
