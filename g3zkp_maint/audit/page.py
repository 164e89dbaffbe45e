"""A report as one HTML page that needs nothing else: no script, no file beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from g3zkp_maint.audit.finding import Severity
from g3zkp_maint.audit.report import Report

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1c1e21;
  background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% } th { text-align: left; border-bottom: 2px solid #8886 }
td, th { padding: .35rem .6rem; vertical-align: top; overflow-wrap: anywhere } td { border-bottom: 1px solid #8883 }
.critical, .failed { color: #b00020; font-weight: 600 } .high { color: #a34700; font-weight: 600 } .passed { color: #0a6b2e }
@media (prefers-color-scheme: dark) { body { background: #16181b; color: #e3e5e8 } .critical, .failed { color: #ff6b81 }
  .high { color: #ffa552 } .passed { color: #5fd48a } }
"""


def page(report: Report, severity: Severity = Severity.LOW, *, whole: bool = False) -> str:
    """The page; findings that are as bad as `severity`, or worse. `whole`: of the audit, else of the scan."""
    title = "Security audit" if whole else "Security scan"
    shown = report.at_least(severity)
    verdict = "passed" if report.passed else "failed"
    counts = ", ".join(f"{count} {one}" for one, count in report.counts.items())
    parts = [
        f"<h1>{title} <span class='{verdict}'>{verdict}</span></h1>",
        f"<p>{report.at:%Y-%m-%d %H:%M} UTC. {counts}; {len(report.waived)} waived; {len(report.ran)} checks.</p>",
        _compared(report),
        _table(
            "Findings",
            ("severity", "check", "object", "evidence", "remedy", "state"),
            [(one.severity, one.check, one.object, one.evidence, one.remedy, report.state_of(one)) for one in shown],
        ),
        _table(
            "Gone",
            ("severity", "check", "object"),
            [(one.severity, one.check, one.object) for one in (report.comparison.gone if report.comparison else ())],
        ),
        _table(
            "Waived",
            ("check", "object", "until", "reason"),
            [(one.finding.check, one.finding.object, one.waiver.until, one.waiver.reason) for one in report.waived],
        ),
        _table("Not looked at", ("what", "why"), [(one.what, one.why) for one in report.unseen]),
        _table("Checks that could tell nothing", ("check", "why"), [(one.check, one.why) for one in report.skipped]),
        _table(
            "Who can read the messenger's keys",
            ("subject", "by", "expected"),
            [(one.subject, "; ".join(one.ways), "yes" if one.is_expected else "no") for one in report.readers or ()],
        ),
    ]
    head = f"<meta charset='utf-8'><title>{title} {report.at:%Y-%m-%d}</title><style>{_STYLE}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body>{''.join(parts)}</body></html>\n"


def _compared(report: Report) -> str:
    if report.comparison is None:
        return "<p>There is no earlier run to compare with.</p>"
    one = report.comparison
    return f"<p>Since {one.since:%Y-%m-%d %H:%M} UTC: {len(one.new)} new, {len(one.standing)} standing, {len(one.gone)} gone.</p>"


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Nothing where there are no rows."""
    body = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in rows)
    if not body:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    return f"<h2>{escape(title)}</h2><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: object) -> str:
    kind = f" class='{value}'" if isinstance(value, Severity) else ""
    return f"<td{kind}>{escape(str(value))}</td>"
