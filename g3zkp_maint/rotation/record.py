"""How far a rotation came, as an annotation of the Secret: written in the same patch as what it tells of.

It travels with the keys: whoever goes on, from whatever machine, and with a Redis that is new, finds it. No key
material is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, ValidationError

from g3zkp_maint.errors import RotationFailed
from g3zkp_maint.rotation.entries import RECORD, KeyType

_WHY_LENGTH = 300


class Phase(StrEnum):
    """See carry_out.py."""

    BEGUN = "begun"
    STAGED = "staged"
    UNDOING = "undoing"
    ROTATED = "rotated"
    UNDONE = "undone"


class Change(BaseModel):
    """One key that was replaced: by which, and which it was (None: not known). `had_key` False: there was none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: KeyType
    key_id: str
    former_id: str | None = None
    had_key: bool = True


class Record(BaseModel):
    """`run` is the slot of the run that began it; `at` when this phase was reached, in seconds since 1970; `why` it was
    taken back."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = 1
    run: str
    phase: Phase
    at: int
    changes: tuple[Change, ...] = ()
    why: str = ""

    @property
    def is_unfinished(self) -> bool:
        """New keys are in the Secret, or are just being taken back: somebody has to go on."""
        return self.phase in {Phase.STAGED, Phase.UNDOING}

    @property
    def types(self) -> tuple[KeyType, ...]:
        return tuple(change.type for change in self.changes)

    def moved(self, phase: Phase, *, at: int, why: str = "") -> Record:
        return self.model_copy(update={"phase": phase, "at": at, "why": why[:_WHY_LENGTH] or self.why})

    def text(self) -> str:
        return self.model_dump_json()


def read_record(annotations: Mapping[str, str]) -> Record | None:
    """None where no rotation ever was. Raises RotationFailed for a record that cannot be understood: a rotation may be
    half done, and only a person can tell."""
    text = annotations.get(RECORD)
    if text is None:
        return None
    try:
        return Record.model_validate_json(text)
    except ValidationError:
        raise RotationFailed(
            f"annotation {RECORD} of the Secret cannot be understood, so nobody knows whether a rotation is half done; "
            "compare the <type>-key values with what the pods use, then remove the annotation"
        ) from None
