"""The names of the settings: every leaf of the tree, its variable, and which variables mean nothing.

A misspelt variable would else be ignored in silence, and the default used in its place. Kubernetes puts variables of
its own into every pod (`G3ZKP_MESSENGER_SERVICE_HOST` for a Service `g3zkp-messenger`): those are no mistakes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

PREFIX = "G3ZKP_"

#: Variables with the prefix that are no settings: where the file is; the messenger's folders; the marks by which the
#: embedded stack knows its own processes again.
OTHERS = frozenset({"G3ZKP_CONFIG", "G3ZKP_DATA", "G3ZKP_KEYS_DIR", "G3ZKP_STACK_ROOT", "G3ZKP_STACK_RUN"})

#: What Kubernetes and Docker set for a Service or link: https://kubernetes.io/docs/concepts/services-networking/service/
_SERVICE_LINK = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)")


@dataclass(frozen=True, slots=True)
class Leaf:
    """One setting: its place in the tree, what it is for, its default as it is written in TOML's terms."""

    path: tuple[str, ...]
    field: FieldInfo

    @property
    def name(self) -> str:
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        return PREFIX + "__".join(self.path).upper()

    @property
    def secret(self) -> bool:
        return "SecretStr" in str(self.field.annotation)


@dataclass(frozen=True, slots=True)
class Unknown:
    """A variable with the prefix that no setting reads. Its value may be a secret and is not kept."""

    variable: str
    suggestion: str | None

    def __str__(self) -> str:
        hint = f"did you mean {self.suggestion}?" if self.suggestion else "unset it"
        return f"{self.variable}: no setting has this name; {hint}"


def leaves(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Every setting below `model`, in the order of the code."""
    for name, field in model.model_fields.items():
        group = _group(field)
        if group is None:
            yield Leaf((*above, name), field)
        else:
            yield from leaves(group, (*above, name))


def leaf_at(model: type[BaseModel], location: Sequence[int | str]) -> Leaf | None:
    """The setting that `location` (as pydantic reports it) is or lies in; None for a group and for no setting."""
    for leaf in leaves(model):
        if tuple(location[: len(leaf.path)]) == leaf.path:
            return leaf
    return None


def unknown_variables(model: type[BaseModel], environ: Mapping[str, str]) -> list[Unknown]:
    """What stands in `environ` with the prefix and is read by nothing, ordered by name."""
    known = [leaf.variable for leaf in leaves(model)]
    groups = {PREFIX + name.upper() for name in model.model_fields}
    readable = {*known, *groups, *OTHERS}
    strange = sorted(
        name
        for name in environ
        if name.upper().startswith(PREFIX) and name.upper() not in readable and not _SERVICE_LINK.fullmatch(name)
    )
    return [Unknown(name, _closest(name.upper(), known)) for name in strange]


def value_at(tree: Any, path: Sequence[str]) -> Any:
    """What stands at `path` in nested mappings or models; None where a part is missing."""
    for part in path:
        tree = tree.get(part) if isinstance(tree, Mapping) else getattr(tree, part, None)
    return tree


def origin(leaf: Leaf, environ: Mapping[str, str], file: Mapping[str, object]) -> str:
    """Where the value of `leaf` comes from: the variable's name, `file` or `default`."""
    upper = {name.upper(): name for name in environ}
    for depth in range(len(leaf.path), 0, -1):
        variable = upper.get(PREFIX + "__".join(leaf.path[:depth]).upper())
        if variable is not None and _holds(environ[variable], leaf.path[depth:]):
            return variable
    return "default" if value_at(file, leaf.path) is None else "file"


def _holds(value: str, below: Sequence[str]) -> bool:
    """Whether a variable's value gives the setting at `below`: a group's variable is JSON and may lack it."""
    return not below or value_at(json.loads(value), below) is not None


def _group(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _closest(variable: str, known: Sequence[str]) -> str | None:
    # Separators are what is most often wrong (`G3ZKP_LOG_LEVEL`), so they count for nothing here.
    bare = {name.replace("_", ""): name for name in known}
    found = get_close_matches(variable.replace("_", ""), bare, n=1, cutoff=0.75)
    return bare[found[0]] if found else None
