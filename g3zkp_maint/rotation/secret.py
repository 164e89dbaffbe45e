"""The messenger's Secret, read and changed: each change on condition that nothing that rotation reads was changed since.

Others may write the Secret too, a label, a value of their own. Such a write makes a conditional patch fail without
reason; then it is read again and tried again, as long as what concerns us is as it was.
"""

from __future__ import annotations

from g3zkp_maint.errors import Conflict
from g3zkp_maint.platforms.base import Platform, SecretData
from g3zkp_maint.rotation.patch import Patch, concerns

_TRIES = 5


class KeysSecret:
    """`name` is the Secret's."""

    def __init__(self, platform: Platform, name: str) -> None:
        self._platform = platform
        self._name = name

    def read(self) -> SecretData:
        """Raises UnknownWorkload, PlatformError."""
        return self._platform.read_secret(self._name)

    def patch(self, before: SecretData, patch: Patch) -> SecretData:
        """Applies it to the Secret as it was read in `before`. Raises Conflict where another has changed what it is
        about; then nothing was changed here. A patch whose answer was lost counts once it is seen to be there."""
        for _ in range(_TRIES):
            try:
                return self._platform.patch_secret(
                    self._name,
                    resource_version=before.resource_version,
                    data=patch.data,
                    annotations=patch.annotations,
                )
            except Conflict:
                now = self.read()
                if patch.is_applied(now):
                    return now
                if concerns(now) != concerns(before):
                    raise
                before = now
        raise Conflict(
            f"secret {self._name} was changed by others {_TRIES} times over; find out who writes it all the time"
        )
