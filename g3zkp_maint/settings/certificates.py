"""Which certificates are looked at beside those of the namespace, and when they are renewed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from g3zkp_maint.certificates.endpoint import Endpoint
from g3zkp_maint.errors import BadInput
from g3zkp_maint.settings.group import Group, Positive, Seconds


class Certificates(Group):
    """The monthly look at certificates."""

    endpoints: tuple[str, ...] = Field(
        (),
        description="servers to shake hands with: `host`, `host:port`, or `name=host:port` where the name is another",
    )
    ca_file: Path | None = Field(
        None, description="PEM file of the authorities that they are trusted by; none: the machine's"
    )
    answer_seconds: Seconds = Field(10, description="how long a handshake may take")
    renew_days: Positive = Field(
        30, description="a certificate that ends within this is renewed, where cert-manager can"
    )
    renew_seconds: Seconds = Field(300, description="how long cert-manager may take")
    notice_days: Annotated[tuple[int, int, int], Field()] = Field(
        (30, 14, 7), description="so many days before its end a certificate is a medium, a high, a critical finding"
    )

    @field_validator("endpoints")
    @classmethod
    def _can_be_asked(cls, endpoints: tuple[str, ...]) -> tuple[str, ...]:
        for one in endpoints:
            try:
                Endpoint.parse(one)
            except BadInput as error:
                raise ValueError(str(error)) from error
        return endpoints

    @model_validator(mode="after")
    def _days_fall(self) -> Certificates:
        medium, high, critical = self.notice_days
        if not medium > high > critical > 0:
            raise ValueError(f"certificates.notice_days={list(self.notice_days)} must fall, as 30, 14, 7 do")
        return self
