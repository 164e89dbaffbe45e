"""What the API server's audit log tells, in lines as kube-apiserver writes them."""

from __future__ import annotations

import gzip
import json
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from audit_cases import NOW

from g3zkp_maint.audit.audit_log import MOST, read
from g3zkp_maint.audit.sources import accesses
from g3zkp_maint.errors import BadInput

SINCE = NOW - timedelta(hours=25)


def line(user: str = "mallory", **changes: Any) -> bytes:
    event = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": "1",
        "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/g3zkp/pods/web-1/exec",
        "verb": "create",
        "user": {"username": user, "groups": ["system:authenticated"]},
        "sourceIPs": ["192.0.2.1"],
        "objectRef": {"resource": "pods", "namespace": "g3zkp", "name": "web-1", "subresource": "exec"},
        "responseStatus": {"code": 101},
        "stageTimestamp": "2026-03-02T03:30:00.123456Z",
    } | changes
    return json.dumps(event).encode() + b"\n"


SECRETS = {"resource": "secrets", "namespace": "g3zkp", "name": "g3zkp-keys"}


def test_calls_of_one_sort_are_counted_together_and_stages_of_a_call_once() -> None:
    lines = [
        line(stage="ResponseStarted"),
        line(),
        line(auditID="2", objectRef={**SECRETS}, verb="get"),
        line(auditID="3"),
    ]
    found = read(lines, since=SINCE, namespaces=["g3zkp"])
    assert [(one.subject, one.verb, one.resource, one.names, one.count, one.refused) for one in found.accesses] == [
        ("mallory", "create", "pods/exec", ("web-1",), 2, 0),
        ("mallory", "get", "secrets", ("g3zkp-keys",), 1, 0),
    ]


def test_a_command_that_still_runs_is_seen() -> None:
    assert len(read([line(stage="ResponseStarted")], since=SINCE, namespaces=["g3zkp"]).accesses) == 1


def test_what_is_refused_is_counted_and_who_acts_as_another_is_named_as_both() -> None:
    found = read(
        [line(responseStatus={"code": 403}, impersonatedUser={"username": "system:admin"})],
        since=SINCE,
        namespaces=["g3zkp"],
    )
    (one,) = found.accesses
    assert (one.subject, one.count, one.refused) == ("mallory as system:admin", 1, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"objectRef": {**SECRETS, "namespace": "elsewhere"}},
        {"objectRef": {"resource": "pods", "namespace": "g3zkp", "name": "web-1", "subresource": "log"}},
        {"objectRef": None},
        {"stage": "RequestReceived"},
        {"stageTimestamp": "2026-02-28T00:00:00Z"},
    ],
)
def test_what_is_nobodys_concern_is_left_out(changes: dict[str, Any]) -> None:
    found = read([line(**changes)], since=SINCE, namespaces=["g3zkp"])
    assert (found.accesses, found.unreadable) == ((), 0)


def test_a_list_of_all_namespaces_secrets_is_seen() -> None:
    found = read([line(objectRef={"resource": "secrets"}, verb="list")], since=SINCE, namespaces=["g3zkp"])
    assert [(one.namespace, one.verb) for one in found.accesses] == [("", "list")]


def test_lines_of_anything_else_are_counted_and_stop_nothing() -> None:
    found = read(
        [b"{", b"[]\n", b'"x"\n', b'{"stageTimestamp": 7}\n', b"\xff\n", line()], since=SINCE, namespaces=["g3zkp"]
    )
    assert (found.lines, found.unreadable, len(found.accesses)) == (6, 5, 1)


def test_of_a_long_log_the_end_is_read_and_that_is_told(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    file.write_bytes(line("early") + line("late"))
    seen = accesses(file, since=SINCE, most_bytes=len(line("late")) + 10, namespaces=("g3zkp",))
    assert [one.subject for one in seen.value] == ["late"]
    assert [what for what, _, _ in seen.lacks] == ["the beginning of the audit log"]


def rotated(folder: Path, name: str, content: bytes, *, written: datetime) -> None:
    file = folder / name
    file.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    os.utime(file, (written.timestamp(), written.timestamp()))


def read_back(folder: Path, *, most_bytes: int = 1 << 20) -> tuple[set[str], list[str]]:
    seen = accesses(folder / "audit.log", since=SINCE, most_bytes=most_bytes, namespaces=("g3zkp",))
    assert not any(is_meant for _, _, is_meant in seen.lacks)
    return {one.subject for one in seen.value}, [what for what, _, _ in seen.lacks]


@pytest.mark.parametrize(
    "names",
    [("audit-2026-03-02T03-00-00.123.log", "audit-2026-03-02T02-00-00.000.log.gz"), ("audit.log.1", "audit.log.2.gz")],
)
def test_files_that_the_log_was_rotated_into_are_read_back_to_the_time_asked_for(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    (tmp_path / "audit.log").write_bytes(line("now"))
    assert read_back(tmp_path) == ({"now"}, ["the beginning of the audit log"])
    for name in names:
        rotated(tmp_path, name, line(name), written=NOW)
    assert read_back(tmp_path) == ({"now", *names}, ["the beginning of the audit log"])
    rotated(tmp_path, "audit.log.3", line("before"), written=SINCE - timedelta(hours=1))
    rotated(tmp_path, "audit.log.swp", line("nothing of it"), written=NOW)
    assert read_back(tmp_path) == ({"now", *names}, [])
    assert read_back(tmp_path, most_bytes=len(line("now")) + 5) == ({"now"}, ["the beginning of the audit log"])


def test_a_log_that_reaches_back_by_itself_lacks_nothing_and_one_that_is_damaged_does(tmp_path: Path) -> None:
    (tmp_path / "audit.log").write_bytes(line("early", stageTimestamp="2026-02-28T00:00:00Z") + line("now"))
    assert read_back(tmp_path) == ({"now"}, [])
    rotated(tmp_path, "audit.log.1.gz", b"", written=NOW)
    (tmp_path / "audit.log.1.gz").write_bytes(gzip.compress(line("lost"))[:-4])
    os.utime(tmp_path / "audit.log.1.gz", (NOW.timestamp(),) * 2)
    assert read_back(tmp_path) == ({"now"}, ["audit.log.1.gz of the audit log"])


def test_calls_of_more_kinds_than_are_told_apart_are_told(tmp_path: Path) -> None:
    lines = [line("early", stageTimestamp="2026-02-28T00:00:00Z"), *(line(f"user-{one}") for one in range(MOST + 2))]
    (tmp_path / "audit.log").write_bytes(b"".join(lines))
    found, lacks = read_back(tmp_path, most_bytes=1 << 30)
    assert (len(found), lacks) == (MOST, ["calls in the audit log"])


def test_a_log_that_nobody_writes_any_more_is_told(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    for content in (b"", line(stageTimestamp="2026-01-01T00:00:00Z")):
        file.write_bytes(content)
        seen = accesses(file, since=SINCE, most_bytes=1000, namespaces=("g3zkp",))
        assert [(what, is_meant) for what, _, is_meant in seen.lacks] == [("the audit log of late", False)]
    with pytest.raises(BadInput, match=r"audit\.log"):
        accesses(tmp_path / "none", since=SINCE, most_bytes=1000, namespaces=("g3zkp",))
