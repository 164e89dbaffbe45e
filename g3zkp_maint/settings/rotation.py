"""How the messenger's keys are rotated."""

from __future__ import annotations

from pathlib import PurePosixPath

from pydantic import Field, model_validator

from g3zkp_maint.settings.group import Group, Hours, Seconds


class Rotation(Group):
    """Rotation of the messenger's keys, in the Secret `messenger.keys_secret`. A rollout may take
    `platform.rollout_seconds`."""

    identity_hours: Hours = Field(24, gt=0, description="an identity key is due when it is older than this")
    signing_hours: Hours = Field(24, gt=0, description="as `identity_hours`, for signing keys")
    encryption_hours: Hours = Field(24, gt=0, description="as `identity_hours`, for encryption keys")
    session_hours: Hours = Field(24, gt=0, description="as `identity_hours`, for session keys")
    overlap_hours: Hours = Field(
        24, description="how long `<type>-key-previous` is kept beside the new key; removed by the first run after that"
    )
    answer_seconds: Seconds = Field(
        30, description="how long the messenger may take to make all new keys, and to tell which it uses"
    )
    keys_path: PurePosixPath | None = Field(
        None, description="where the messenger has the Secret mounted; unset: as its own G3ZKP_KEYS_DIR says"
    )

    @model_validator(mode="after")
    def _overlap_fits(self) -> Rotation:
        shortest = min(self.identity_hours, self.signing_hours, self.encryption_hours, self.session_hours)
        if self.overlap_hours > shortest:
            raise ValueError(
                f"overlap_hours={self.overlap_hours:g} is longer than the shortest interval, {shortest:g} h: the next "
                "rotation would remove a previous key that is still to be kept"
            )
        return self
