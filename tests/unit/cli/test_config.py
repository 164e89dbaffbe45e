from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from g3zkp_maint import cli


def invoke(*args: str, **env: str):
    return CliRunner(env=env).invoke(cli.app, ["config", *args], prog_name="g3zkp-maint")


def test_show_tells_value_and_origin() -> None:
    result = invoke("show", "--json", G3ZKP_STORE__KIND="s3")
    shown = json.loads(result.stdout)
    assert shown["store.kind"] == {"value": "s3", "from": "G3ZKP_STORE__KIND"}
    assert shown["platform.namespace"] == {"value": "g3zkp", "from": "default"}


def test_show_is_aligned_lines_where_no_terminal_is() -> None:
    lines = invoke("show").stdout.splitlines()
    assert lines[0].split() == ["SETTING", "VALUE", "FROM"]
    assert {line.index("default") for line in lines[1:]} == {lines[0].index("FROM")}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://user:hush@host:1/2", "redis://***@host:1/2"),
        ("redis://:hu/sh@host/0", "***"),
        ("redis://host/0?password=hush", "***"),
        ("redis://user:12/3hush@host", "***"),
    ],
)
@pytest.mark.parametrize("args", [(), ("--json",)], ids=["plain", "json"])
def test_show_masks_credentials(url: str, shown: str, args: tuple[str, ...]) -> None:
    result = invoke("show", *args, G3ZKP_REDIS__URL=url)
    assert shown in result.stdout
    assert "hush" not in result.output
    assert "/sh@" not in result.output


def test_check_says_so_when_all_is_right() -> None:
    result = invoke("check")
    assert (result.exit_code, result.stdout) == (0, "settings are right\n")


def test_check_names_field_and_value_and_exits_with_2() -> None:
    result = invoke("check", G3ZKP_STORE__KIND="tape")
    assert result.exit_code == 2
    assert "store.kind: Input should be 'directory' or 's3' (got 'tape')" in result.stderr


def test_check_finds_a_misspelt_variable() -> None:
    result = invoke("check", G3ZKP_LOG_LEVEL="debug")
    assert result.exit_code == 2
    assert "did you mean G3ZKP_LOG__LEVEL?" in result.stderr


def test_check_speaks_json() -> None:
    assert json.loads(invoke("check", "--json").stdout) == {"ok": True}
    wrong = invoke("check", "--json", G3ZKP_STORE__KIND="tape")
    assert json.loads(wrong.stderr)["code"] == "settings"
