"""A run of checks: what is unseen is told, waived findings are borne, runs are compared."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest
from audit_cases import BLIND, NOW, entry, facts, folder

from g3zkp_maint.audit import memory
from g3zkp_maint.audit.comparison import compare
from g3zkp_maint.audit.facts import Facts, Unseen
from g3zkp_maint.audit.finding import Finding, Severity
from g3zkp_maint.audit.gathering import PARTS, Seen, Source, gather
from g3zkp_maint.audit.registry import RULES, SCAN
from g3zkp_maint.audit.report import Report
from g3zkp_maint.audit.scan import look
from g3zkp_maint.audit.waivers import Waiver, read, weigh
from g3zkp_maint.coordination.checkpoint import MemoryCheckpoint
from g3zkp_maint.errors import PlatformDenied, SettingsError
from g3zkp_maint.notices.base import Severity as Urgency

TODAY = NOW.date()
KNOWN = {one.id for one in RULES}


def finding(
    object: str = "Pod/g3zkp/a/app", severity: Severity = Severity.HIGH, check: str = "workload-root"
) -> Finding:
    return Finding(check, severity, object, "seen", "mend it")


def report(
    *findings: Finding, before: memory.Memory | None = None, sure: tuple[str, ...] = ("workload-root",)
) -> Report:
    comparison = compare(before.findings, findings, sure=sure, since=before.at) if before else None
    return Report(NOW, findings, (), sure, sure, (), (), comparison, None)


def after(one: Report, told: frozenset[str] = frozenset()) -> memory.Memory:
    """What the next run recalls of it."""
    checkpoint = MemoryCheckpoint()
    memory.keep(checkpoint, one, told)
    found = memory.recall(checkpoint)
    assert found is not None
    return found


# -- what is unseen ----------------------------------------------------------------------------------------------------


def test_a_check_without_its_facts_is_skipped_with_the_reason() -> None:
    looked = look(SCAN, facts(unseen=(BLIND,)))
    skipped = {one.check: one.why for one in looked.skipped}
    assert skipped["keys-file-mode"] == "no exec"
    assert skipped.keys() == {check.id for check in SCAN}
    assert looked.ran == looked.sure == ("scan-blind",)


def test_what_was_to_be_seen_and_was_not_is_a_finding_and_what_is_left_out_is_none() -> None:
    meant = Unseen("objects", "the cluster", "there is none", is_meant=True)
    looked = look(SCAN, facts(unseen=(BLIND, meant)))
    assert [(one.check, one.object) for one in looked.findings] == [("scan-blind", "the messenger's key files")]


def test_a_check_that_could_not_see_all_is_not_sure_that_nothing_is_there() -> None:
    lack = Unseen("redis", "Redis messenger-0", "is down", is_meant=False)
    left_out = Unseen("keys", "some of it", "is off", is_meant=True)
    looked = look(SCAN, facts(redis=(), keys=(), unseen=(lack, left_out)))
    assert {"redis-public", "key-overdue"} <= set(looked.ran)
    assert set(looked.sure) == {"scan-blind", "key-overdue", "key-unknown"}


def test_a_source_that_fails_costs_its_part_alone() -> None:
    def denied() -> Seen:
        raise PlatformDenied("may not create pods/exec")

    sources: dict[str, Source] = dict.fromkeys(PARTS, "is off")
    sources |= {"files": denied, "redis": lambda: Seen((), (("Redis b", "is down", False),))}
    found = gather(Facts(NOW, ("g3zkp",)), sources)
    assert (found.files, found.redis, found.keys) == (None, (), None)
    assert found.why_unseen("files") == "may not create pods/exec"
    assert [(one.what, one.is_meant) for one in found.unseen if not one.is_meant] == [
        (PARTS["files"], False),
        ("Redis b", False),
    ]
    assert [one.id for one in SCAN if not all(getattr(found, part) is None for part in one.needs)] == [
        "redis-no-password",
        "redis-public",
    ]


# -- waivers -----------------------------------------------------------------------------------------------------------


def waiver(object: str = "Pod/g3zkp/a/app", until: date = TODAY, check: str = "workload-root") -> Waiver:
    return Waiver(check=check, object=object, until=until, reason="TICKET-1")


def test_a_waiver_bears_that_check_of_that_object_to_the_end_of_its_day() -> None:
    other = finding("Pod/g3zkp/b/app")
    weighed = weigh([finding(), other], [waiver()], known=KNOWN, sure=["workload-root"], at=NOW.replace(hour=23))
    assert weighed.findings == (other,)
    assert [(one.finding, one.waiver.reason) for one in weighed.waived] == [(finding(), "TICKET-1")]


def test_a_waiver_past_its_day_counts_no_more_and_is_found() -> None:
    weighed = weigh([finding()], [waiver()], known=KNOWN, sure=["workload-root"], at=NOW + timedelta(days=1))
    assert [one.check for one in weighed.findings] == ["workload-root", "waiver-expired"]
    assert weighed.waived == ()


def test_a_waiver_of_nothing_is_found_unless_its_check_could_see_nothing() -> None:
    assert [one.check for one in weigh([], [waiver()], known=KNOWN, sure=["workload-root"], at=NOW).findings] == [
        "waiver-unmatched"
    ]
    assert weigh([], [waiver()], known=KNOWN, sure=[], at=NOW).findings == ()


def test_a_waiver_whose_check_there_is_none_is_found(tmp_path: Path) -> None:
    weighed = weigh([finding()], [waiver(check="workload-rot")], known=KNOWN, sure=["workload-root"], at=NOW)
    assert [one.key for one in weighed.findings] == [
        finding().key,
        ("waiver-unmatched", "Waiver/workload-rot/Pod/g3zkp/a/app"),
    ]


def test_waivers_are_read_from_toml(tmp_path: Path) -> None:
    file = tmp_path / "waivers.toml"
    file.write_text(
        '[[waiver]]\ncheck = "workload-root"\nobject = "Pod/g3zkp/a/app"\nuntil = 2026-03-02\nreason = "TICKET-1"\n'
    )
    assert read(file) == (waiver(),)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[[waiver]]\ncheck = "a"\nobject = "b"\nuntil = 2026-03-02\n', "reason"),
        ('[[waiver]]\ncheck = "a"\nobject = "b"\nuntil = 2026-03-02\nreason = " "\n', "reason"),
        ('[[waiver]]\ncheck = "a"\nobject = "b"\nuntil = "soon"\nreason = "c"\n', "until"),
        ('[[waivers]]\ncheck = "a"\n', "waivers"),
        ("[[waiver]", "cannot be read"),
        ('[[waiver]]\ncheck = "a"\nobject = "b"\nuntil = 2026-03-02\nreason = "c"\n' * 2, "two for a of b"),
    ],
)
def test_a_file_of_waivers_that_makes_no_sense_is_refused(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "waivers.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=told):
        read(file)
    with pytest.raises(SettingsError, match="cannot be read"):
        read(tmp_path / "none.toml")


# -- runs --------------------------------------------------------------------------------------------------------------


def test_findings_are_new_standing_and_gone() -> None:
    stays, goes, comes = finding("a"), finding("b"), finding("c")
    found = compare([stays, goes], [stays, comes], sure=["workload-root"], since=NOW)
    assert (found.new, found.standing, found.gone) == ((comes,), (stays,), (goes,))


def test_a_finding_that_got_worse_is_new_and_one_that_got_better_stands() -> None:
    low, high = finding(severity=Severity.LOW), finding(severity=Severity.HIGH)
    assert compare([low], [high], sure=["workload-root"], since=NOW).new == (high,)
    assert compare([high], [low], sure=["workload-root"], since=NOW).standing == (low,)


def test_what_a_check_found_that_is_blind_now_is_not_gone_and_is_remembered() -> None:
    before = after(report(finding()))
    blind = report(before=before, sure=())
    assert blind.comparison is not None
    assert (blind.comparison.standing, blind.comparison.gone) == ((finding(),), ())
    assert after(blind).findings == (finding(),)


def test_only_what_is_critical_or_high_and_unknown_is_told_and_once() -> None:
    first = report(finding("a"), finding("b", Severity.CRITICAL), finding("c", Severity.MEDIUM))
    due = memory.to_tell(first, None)
    assert [one.object for one in due] == ["a", "b"]
    known = after(first, frozenset(one.digest for one in due))
    again = report(*first.findings, finding("d"), before=known)
    assert [one.object for one in memory.to_tell(again, known)] == ["d"]
    assert memory.still_told(again, known) == known.told


def test_one_that_is_gone_and_comes_again_is_told_again() -> None:
    known = after(report(finding()), frozenset([finding().digest]))
    gone = report(before=known)
    assert memory.still_told(gone, known) == frozenset()
    assert memory.to_tell(report(finding()), after(gone)) == (finding(),)


def test_a_notice_counts_names_and_is_one_for_each_run() -> None:
    found = [finding(f"Pod/g3zkp/p{number}/app") for number in range(25)] + [finding("x", Severity.CRITICAL)]
    told = memory.notice(found, slot="20260302T0400Z", at=NOW)
    assert (told.key, told.title) == ("security-scan:20260302T0400Z", "Security scan: 1 critical and 25 high new")
    assert told.severity is Urgency.FAILURE
    assert "and 6 more" in told.body
    assert memory.notice(found[:1], slot="a", at=NOW).severity is Urgency.WARNING


def test_what_another_version_kept_is_as_nothing() -> None:
    checkpoint = MemoryCheckpoint()
    assert memory.recall(checkpoint) is None
    for kept in ({"at": "then"}, {"at": NOW.isoformat(), "findings": [{"check": "a"}], "told": []}, "text", 7):
        checkpoint.save(memory=kept)
        assert memory.recall(checkpoint) is None


def test_only_a_critical_finding_that_counts_fails() -> None:
    critical = look([one for one in SCAN if one.id == "keys-file-mode"], folder(entry(mode=0o644))).findings
    assert not report(*critical).passed
    assert report(finding()).passed
    weighed = weigh(
        critical, [waiver("/data/keys/identity-1.json", check="keys-file-mode")], known=KNOWN, sure=(), at=NOW
    )
    assert report(*weighed.findings).passed
