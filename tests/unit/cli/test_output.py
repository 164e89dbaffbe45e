from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest

from g3zkp_maint.cli import output


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ("plain ünïcode", "plain ünïcode"),
        ("\x1b[31mred\nline", r"\x1b[31mred\nline"),
        ("not-utf8-\udcff", r"not-utf8-\udcff"),
        (datetime(2026, 11, 29, 2, tzinfo=UTC), "2026-11-29 02:00:00Z"),
        (7, "7"),
    ],
)
def test_names_from_data_cannot_steer_the_terminal(value: object, text: str) -> None:
    assert output.printable(value) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB"), (3 << 40, "3.0 TiB")]
)
def test_bytes_for_people(count: int, text: str) -> None:
    assert output.human_bytes(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.25, "0.2s"), (75.3, "1m15s"), (7384, "2h03m")])
def test_seconds_for_people(seconds: float, text: str) -> None:
    assert output.human_seconds(seconds) == text


def test_a_table_in_a_pipe_is_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(("name", "size"), [("a", 5), ("long-name", 12345)], right={"size"})
    assert capsys.readouterr().out == "NAME        SIZE\na              5\nlong-name  12345\n"


def test_json_takes_times_and_paths(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json({"at": datetime(2026, 1, 1, tzinfo=UTC), "path": Path("x/y")})
    assert capsys.readouterr().out == '{\n  "at": "2026-01-01T00:00:00+00:00",\n  "path": "x/y"\n}\n'


class Hands:
    """A clock that the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_progress_in_a_pipe_writes_a_line_at_each_tenth() -> None:
    stream, clock = io.StringIO(), Hands()
    lines = output.Lines("backup", 1000, stream, clock)
    for _ in range(1000):
        lines.advance(1)
    assert len(stream.getvalue().splitlines()) == 10


def test_progress_in_a_pipe_writes_a_line_every_three_seconds_when_it_is_slow() -> None:
    stream, clock = io.StringIO(), Hands()
    lines = output.Lines("backup", 1 << 40, stream, clock)
    for _ in range(100):
        clock.now += 0.1
        lines.advance(1024, files=1)
    assert len(stream.getvalue().splitlines()) == 3


def test_the_last_line_of_progress_tells_all() -> None:
    stream, clock = io.StringIO(), Hands()
    lines = output.Lines("restore", 4096, stream, clock)
    clock.now = 2.0
    lines.advance(4096, files=3)
    lines.finish()
    assert stream.getvalue().splitlines()[-1] == "restore: 100 % 4.0 KiB, 3 files, 2.0s, 2.0 KiB/s"


def test_quiet_progress_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with output.progress("backup", 10, quiet=True) as progress:
        progress.advance(10)
        progress.step("seal")
    assert capsys.readouterr() == ("", "")
