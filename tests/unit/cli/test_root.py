from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest
from typer.testing import CliRunner

from g3zkp_maint import __version__, cli


def invoke(*args: str):
    return CliRunner().invoke(cli.app, [*args], prog_name="g3zkp-maint")


def test_version_is_the_packages() -> None:
    assert invoke("--version").stdout == f"g3zkp-maint {__version__}\n"


@pytest.mark.parametrize("args", [[], ["--help"]], ids=["nothing", "--help"])
def test_help_lists_every_command_with_examples(args: list[str]) -> None:
    result = invoke(*args)
    assert result.exit_code == 0
    for name, command in cli.COMMANDS.items():
        assert name in result.stdout
        assert command.help in result.stdout
    assert "  g3zkp-maint runs --since 24h --failed   what went wrong since yesterday\n" in result.stdout


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_is_there_and_has_help(name: str) -> None:
    module = cli.COMMANDS[name].target.partition(":")[0]
    assert find_spec(module), f"{module} is missing"
    result = invoke(name, "--help")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(f"Usage: g3zkp-maint {name}")


def test_help_imports_no_command_and_nothing_heavy() -> None:
    asked = "import sys; from g3zkp_maint import cli\ntry: cli.app(['--help'])\nexcept SystemExit: pass\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout.split()
    modules = {command.target.partition(":")[0] for command in cli.COMMANDS.values()}
    assert "g3zkp_maint.cli" in loaded
    assert modules.isdisjoint(loaded)
    assert {"celery", "redis", "pydantic", "rich", "g3zkp_maint.settings"}.isdisjoint(loaded)
