"""How commands fail: one line, a stable code, an exit code that scripts can act on."""

from __future__ import annotations

import json
import sys
import types

import pytest
import typer
from typer.testing import CliRunner, Result

from g3zkp_maint import cli, errors


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch):
    """`fails(error, *args)`: the result of a command of the real program that raises `error`."""

    def run(error: BaseException, *args: str) -> Result:
        def boom(as_json: bool = typer.Option(False, "--json"), name: str = typer.Argument("x")) -> None:
            raise error

        module = types.ModuleType("g3zkp_maint.cli.boom")
        module.boom = boom
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(cli.COMMANDS, "boom", cli.Command("g3zkp_maint.cli.boom:boom", "Fails."))
        return CliRunner().invoke(cli.app, [*args], prog_name="g3zkp-maint")

    return run


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.BadInput("no such day"), 2),
        (errors.SettingsError("store.kind is wrong"), 2),
        (errors.LeaseBusy("data is held by w1"), 75),
        (errors.StoreUnavailable("the store is away"), 75),
        (errors.UnknownBackup("no backup of that name"), 1),
        (errors.LeaseLost("the lease on data is lost"), 1),
    ],
    ids=lambda value: getattr(value, "code", None) if isinstance(value, Exception) else None,
)
def test_the_exit_code_tells_whether_to_try_again(fails, error: errors.MaintenanceError, code: int) -> None:
    result = fails(error, "boom")
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"error: {error}")
    assert result.stderr.endswith(f"[{error.code}]\n")


def test_a_temporary_error_says_when_to_try_again(fails) -> None:
    result = fails(errors.LeaseBusy("data is held", retry_after_seconds=30), "boom")
    assert result.stderr == "error: data is held (try again in 30 s) [lease-busy]\n"


def test_with_json_the_error_is_json(fails) -> None:
    result = fails(errors.LeaseBusy("data is held", retry_after_seconds=30), "boom", "--json")
    assert json.loads(result.stderr) == {"error": "data is held", "code": "lease-busy", "retry_after_seconds": 30}
    assert result.exit_code == 75


@pytest.mark.parametrize("args", [(), ("--json",), ("--debug",)], ids=["plain", "json", "debug"])
def test_credentials_in_an_error_are_masked(fails, args: tuple[str, ...]) -> None:
    result = fails(errors.StoreUnavailable("redis://:hush@host/0 is away"), "boom", *args)
    assert "redis://***@host/0 is away" in result.stderr
    assert "hush" not in result.stderr


@pytest.mark.parametrize("args", [("--debug", "boom"), ("boom", "--debug")], ids=["before", "after"])
def test_debug_shows_the_traceback_wherever_it_stands(fails, args: tuple[str, ...]) -> None:
    result = fails(errors.UnknownBackup("no backup of that name"), *args)
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1] == "error: no backup of that name [unknown-backup]"


def test_after_a_double_dash_debug_is_an_argument(fails) -> None:
    assert "Traceback" not in fails(errors.BadInput("no"), "boom", "--", "--debug").stderr


def test_a_fault_of_the_program_is_not_dressed_up(fails) -> None:
    assert isinstance(fails(ZeroDivisionError(), "boom").exception, ZeroDivisionError)


def test_an_interrupt_ends_with_130(fails) -> None:
    assert fails(KeyboardInterrupt(), "boom").exit_code == 130


def test_an_exit_code_of_a_command_is_kept(fails) -> None:
    assert fails(typer.Exit(3), "boom").exit_code == 3


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["calender"], "Did you mean 'calendar'?"),
        (["config", "show", "--jsn"], "No such option: --jsn"),
        (["config", "show", "surplus"], "surplus"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(args: list[str], said: str) -> None:
    result = CliRunner().invoke(cli.app, args, prog_name="g3zkp-maint")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert said in result.stderr
    assert "--help) [usage]" in result.stderr
