"""docs/settings.md, written from the settings themselves: `make docs`. A test fails when the page is not current."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic_core import PydanticUndefined

from g3zkp_maint import settings as tree
from g3zkp_maint.setting_names import Leaf, leaves, value_at

_INTRO = """\
# Settings

<!-- Written by `make docs` from g3zkp_maint/settings/. Do not edit here. -->

Each setting is an environment variable, or a key of a TOML file that `G3ZKP_CONFIG` names. A variable wins over the
file, the file over the default. A group or a list may be given as one variable in JSON
(`G3ZKP_BACKUP__COMPONENTS='[…]'`).

`g3zkp-maint config show` prints what is in force and where each value comes from; `g3zkp-maint config check` says what
is wrong, by field and value, and exits with 2. A `G3ZKP_…` variable that no setting reads is an error: it is a
misspelling.
"""


def render() -> str:
    """The whole page, as Markdown."""
    groups = [(path, list(items)) for path, items in groupby(leaves(tree.Settings), key=lambda leaf: leaf.path[:-1])]
    sections = [_section(path, items) for path, items in groups]
    example = "\n\n".join(_toml(path, items) for path, items in groups)
    return "\n".join((_INTRO, *sections, "## A config.toml with every default", "", "```toml", example, "```", ""))


def _section(path: tuple[str, ...], items: Sequence[Leaf]) -> str:
    model = _model(path)
    head = f"## `{'.'.join(path)}`\n\n{inspect.getdoc(model)}\n\n| variable | default | what it is |\n|---|---|---|\n"
    rows = [f"| `{leaf.variable}` | {_shown(_default(leaf))} | {leaf.field.description} |\n" for leaf in items]
    return head + "".join((*rows, *_component(items)))


def _component(items: Iterable[Leaf]) -> Iterator[str]:
    """What an entry of `backup.components` holds, below the table where it stands."""
    if any(leaf.name == "backup.components" for leaf in items):
        yield "\nA component holds:\n\n| key | what it is |\n|---|---|\n"
        yield from (f"| `{name}` | {field.description} |\n" for name, field in tree.Component.model_fields.items())


def _model(path: tuple[str, ...]) -> type[BaseModel]:
    model: type[BaseModel] = type(value_at(tree.Settings.model_construct(), path))
    return model


def _default(leaf: Leaf) -> Any:
    value = leaf.field.get_default(call_default_factory=True, validated_data={})
    return None if value is PydanticUndefined else _plain(value)


def _plain(value: Any) -> Any:
    """`value` in TOML's terms. A default that stands in the code is no secret."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, BaseModel):
        return {k: _plain(v) for k, v in value.model_dump(exclude_defaults=True, mode="json").items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _shown(default: Any) -> str:
    if default is None:
        return "unset"
    if isinstance(default, list):
        return ", ".join(f"`{item['name'] if isinstance(item, dict) else item}`" for item in default)
    return f"`{_literal(default)}`"


def _toml(path: tuple[str, ...], items: Iterable[Leaf]) -> str:
    lines, tables = [f"[{'.'.join(path)}]"], list[str]()
    for leaf in items:
        default = _default(leaf)
        if _is_tables(default):
            tables.extend(_tables(leaf.name, default))
        else:
            lines.append(f"# {leaf.path[-1]} = …" if default is None else f"{leaf.path[-1]} = {_literal(default)}")
    return "\n".join((*lines, *tables))


def _tables(name: str, items: Iterable[dict[str, Any]]) -> Iterator[str]:
    for item in items:
        yield ""
        yield f"[[{name}]]"
        yield from (f"{key} = {_literal(value)}" for key, value in item.items())


def _is_tables(default: Any) -> bool:
    return isinstance(default, list) and all(isinstance(item, dict) for item in default)


def _literal(value: Any) -> str:
    """Strings, numbers and booleans are written in TOML as in JSON."""
    return f"{value:g}" if isinstance(value, float) and value.is_integer() else json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    print(render(), end="")
