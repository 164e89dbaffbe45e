"""`g3zkp-maint config`: the settings in force, where each comes from, and what is wrong with them."""

from __future__ import annotations

import os
import re
from typing import Any

import typer
from pydantic import BaseModel, SecretStr

from g3zkp_maint import setting_names as names
from g3zkp_maint.cli.output import AsJson, print_json, print_table, say
from g3zkp_maint.scrubbing import MASK
from g3zkp_maint.settings import Settings, load, read_file

_EPILOG = """\
\b
Examples:
  g3zkp-maint config show                  every setting and where it comes from
  g3zkp-maint config show --json | jq      the same for machines
  G3ZKP_STORE__KIND=tape g3zkp-maint config check     exits with 2
"""

config_app = typer.Typer(no_args_is_help=True, epilog=_EPILOG, help="The settings in force, and what is wrong.")


@config_app.command()
def show(as_json: AsJson = False) -> None:
    """Every setting with its value (a secret masked), and whether default, file or which variable set it."""
    rows = _rows(load())
    if as_json:
        print_json({name: {"value": value, "from": source} for name, value, source in rows})
    else:
        print_table(("setting", "value", "from"), [(name, _text(value), source) for name, value, source in rows])


@config_app.command()
def check(as_json: AsJson = False) -> None:
    """Says what is wrong, by field and value, and exits with 2; misspelt G3ZKP_… variables count as wrong."""
    load()
    if as_json:
        print_json({"ok": True})
    else:
        say("settings are right")


def _rows(settings: Settings) -> list[tuple[str, Any, str]]:
    path = os.environ.get("G3ZKP_CONFIG")
    file = read_file(path) if path is not None else {}
    return [
        (leaf.name, _plain(names.value_at(settings, leaf.path)), names.origin(leaf, os.environ, file))
        for leaf in names.leaves(Settings)
    ]


def _plain(value: Any) -> Any:
    """`value` for JSON, a secret masked."""
    if isinstance(value, SecretStr):
        return _where(value.get_secret_value())
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_defaults=True)
    return value


def _where(url: str) -> str:
    """A URL's host, port and database, its credentials masked; nothing of one that is not plainly of that form."""
    found = re.fullmatch(r"(rediss?://)([^/?#]*@)?([\w.-]+(?::\d+)?(?:/\d*)?)", url)
    return f"{found[1]}{MASK + '@' if found[2] else ''}{found[3]}" if found else MASK


def _name(item: Any) -> str:
    """Of an entry of a list: its name, or what stands in its place."""
    return str(item.get("name") or item.get("why")) if isinstance(item, dict) else str(item)


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return ", ".join(map(_name, value))
    return str(value).lower() if isinstance(value, bool) else value
