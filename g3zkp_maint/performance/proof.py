"""How long proofs take, as the messenger's own metrics tell."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.parser import text_string_to_metric_families

from g3zkp_maint.lack import Lack
from g3zkp_maint.performance.figure import Figure, Unit

METRIC = "g3zkp_proof_generation_seconds"
NAME = "proof"


def measured(texts: Iterable[str]) -> Figure | Lack:
    """From the `/metrics` of each instance: the slowest instance's last proof where it is a gauge, its mean where it is a
    histogram or a summary."""
    seconds = [found for text in texts for found in _seconds(text)]
    if not seconds:
        return Lack(NAME, f"no instance tells {METRIC}: none has made a proof since it started")
    return Figure(NAME, max(seconds), Unit.SECONDS)


def _seconds(text: str) -> Iterable[float]:
    try:
        families = [one for one in text_string_to_metric_families(text) if one.name == METRIC]
    except ValueError:  # what this instance says is no such text
        return
    for family in families:
        by_name = {sample.name: sample.value for sample in family.samples}
        count = by_name.get(f"{METRIC}_count")
        value = by_name.get(METRIC, 0.0) if count is None else by_name.get(f"{METRIC}_sum", 0.0) / max(count, 1)
        if value > 0:
            yield value
