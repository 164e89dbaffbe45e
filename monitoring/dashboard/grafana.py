"""Questions as Grafana's JSON, on standard output. `make dashboards` keeps it in g3zkp-maint.json; a test asks that it is current."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from string import ascii_uppercase

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import BigValueGraphMode, GraphThresholdsStyleMode, VizOrientation
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
)

from monitoring.dashboard.limits import Limit, limits
from monitoring.dashboard.question import Question
from monitoring.dashboard.questions import ROWS

Panel = stat.Panel | timeseries.Panel | bargauge.Panel

_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_LAST = common.ReduceDataOptions().calcs(["lastNotNull"])
#: Of Grafana's 24 columns, and its lines.
_WIDTH = {"stat": 6, "series": 12, "bars": 12}
_HEIGHT = {"stat": 5, "series": 8, "bars": 10}


def as_json() -> str:
    """The dashboard, with a line's end."""
    known = limits()
    made = (
        dashboard.Dashboard("G3ZKP maintenance")
        .uid("g3zkp-maint")
        .description("The maintenance of a G3ZKP messenger, and the messenger: one panel a question.")
        .tags(["g3zkp"])
        .time("now-24h", "now")
        .timezone("utc")
        .refresh("1m")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .with_variable(
            dashboard.QueryVariable("namespace")
            .label("Namespace")
            .datasource(_SOURCE)
            .query("label_values(g3zkp_maint_build_info, namespace)")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .include_all(True)
            .all_value(".*")
        )
    )
    number = 0
    for row in ROWS:
        number += 1
        made.with_row(dashboard.Row(row.title).id(number))
        for question in row.questions:
            number += 1
            made.with_panel(_panel(question, _limit(question, known)).id(number))
    return str(JSONEncoder(sort_keys=True, indent=2).encode(made.build())) + "\n"


def _limit(question: Question, known: Mapping[str, Limit]) -> Limit | None:
    if question.alert:
        return known[question.alert]
    return None if question.limit is None else Limit(question.limit)


def _panel(question: Question, limit: Limit | None) -> Panel:
    panel = _bare(question, has_limit=limit is not None)
    panel = (
        panel.title(question.title)
        .description(question.description)
        .datasource(_SOURCE)
        .unit(question.unit)
        .span(_WIDTH[question.shape])
        .height(_HEIGHT[question.shape])
        .thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(_steps(limit)))
    )
    for letter, query in zip(ascii_uppercase, question.queries, strict=False):
        target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(letter)
        panel.with_target(target.range() if question.shape == "series" else target.instant())
    return panel


def _bare(question: Question, *, has_limit: bool) -> Panel:
    if question.shape == "stat":
        return stat.Panel().graph_mode(BigValueGraphMode.NONE).no_value("-").reduce_options(_LAST)
    if question.shape == "bars":
        return bargauge.Panel().orientation(VizOrientation.HORIZONTAL).min(0).reduce_options(_LAST)
    style = GraphThresholdsStyleMode.LINE if has_limit else GraphThresholdsStyleMode.OFF
    return timeseries.Panel().min(0).fill_opacity(10).thresholds_style(common.GraphThresholdsStyleConfig().mode(style))


def _steps(limit: Limit | None) -> list[Threshold]:
    if limit is None:
        return [Threshold(color="green", value=None)]
    below, above = ("red", "green") if limit.is_low else ("green", "red")
    return [Threshold(color=below, value=None), Threshold(color=above, value=limit.value)]


if __name__ == "__main__":
    sys.stdout.write(as_json())
