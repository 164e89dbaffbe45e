from __future__ import annotations

import io
import json
import logging
from datetime import datetime, timedelta
from typing import Any

import pytest
import structlog

from g3zkp_maint import logs

SECRET = "correct-horse"


@pytest.fixture
def stream() -> io.StringIO:
    stream = io.StringIO()
    logs.configure(level="info", json_lines=True, stream=stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_line_with_a_utc_time_and_the_context(stream: io.StringIO) -> None:
    structlog.contextvars.bind_contextvars(task_name="backup.run")
    structlog.get_logger("g3zkp_maint.backup").info("backup_sealed", files=3)
    (line,) = lines(stream)
    time = datetime.fromisoformat(line.pop("timestamp"))
    assert time.utcoffset() == timedelta(0)
    assert line == {
        "event": "backup_sealed",
        "files": 3,
        "task_name": "backup.run",
        "level": "info",
        "logger": "g3zkp_maint.backup",
    }


def test_what_celery_logs_is_json_as_well(stream: io.StringIO) -> None:
    logging.getLogger("celery.worker").warning("lost %s", "a connection", extra={"hostname": "w1"})
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["hostname"]) == ("lost a connection", "warning", "w1")


def test_a_traceback_stays_on_its_line(stream: io.StringIO) -> None:
    try:
        int("no")
    except ValueError:
        structlog.get_logger().exception("fell")
    (line,) = lines(stream)
    assert "ValueError: invalid literal" in line["exception"]


def test_what_is_below_the_level_is_not_written(stream: io.StringIO) -> None:
    structlog.get_logger().debug("quiet")
    logging.getLogger("kombu").debug("quiet")
    assert stream.getvalue() == ""


def test_a_value_that_is_no_json_does_not_lose_the_line(stream: io.StringIO) -> None:
    structlog.get_logger().info("read", path=b"\xff")
    assert lines(stream)[0]["path"] == r"b'\xff'"


@pytest.mark.parametrize(
    "event",
    [
        {"password": SECRET},
        {"redis_passwd": SECRET},
        {"api_key": SECRET},
        {"confirmation_token": SECRET},
        {"client_secret": {"value": SECRET}},
        {"url": f"redis://:{SECRET}@host/0"},
        {"url": f"redis://user:p@{SECRET}@host/0"},
        {"nested": {"list": [{"deep": f"https://u:{SECRET}@host"}]}},
        {"pem": f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----"},
        {"identity": "AGE-SECRET-KEY-1" + SECRET.upper().replace("-", "")},
    ],
)
@pytest.mark.parametrize("json_lines", [True, False])
def test_no_secret_reaches_the_log(event: dict[str, Any], json_lines: bool) -> None:
    stream = io.StringIO()
    logs.configure(json_lines=json_lines, stream=stream)
    structlog.get_logger().info("happened", **event)
    assert "happened" in stream.getvalue()
    assert SECRET not in stream.getvalue()
    assert "CORRECTHORSE" not in stream.getvalue()


def test_no_secret_reaches_the_log_by_a_traceback_or_by_stdlib(stream: io.StringIO) -> None:
    logging.getLogger("kombu").error("cannot reach %s", f"redis://:{SECRET}@host/0")
    try:
        int(f"redis://:{SECRET}@host/0")
    except ValueError:
        structlog.get_logger().exception("fell")
    assert len(lines(stream)) == 2
    assert SECRET not in stream.getvalue()


def test_a_fencing_token_is_a_number_and_is_shown(stream: io.StringIO) -> None:
    structlog.get_logger().info("taken", token=7)
    assert lines(stream)[0]["token"] == 7
