"""Every error of the product, in one place.

Each message says what failed, on what, and what to do. `code` is stable: logs, metrics and the runbook refer to it.
The only question that a retry policy asks is whether an error is a `TemporaryError`. No message may hold a secret.
"""

from __future__ import annotations

from typing import ClassVar


class MaintenanceError(Exception):
    """The base of all of them. Raised itself never."""

    code: ClassVar[str] = "maintenance"


class TemporaryError(MaintenanceError):
    """Raised when the same call may succeed later. `retry_after_seconds` is the least time to wait before it."""

    code: ClassVar[str] = "temporary"

    def __init__(self, message: str, *, retry_after_seconds: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class PermanentError(MaintenanceError):
    """Raised when the same call would fail again until somebody changes something."""

    code: ClassVar[str] = "permanent"


class SettingsError(PermanentError):
    """Raised when a setting is missing or wrong; names the field and the value (a secret's value never)."""

    code: ClassVar[str] = "settings"


class BadInput(PermanentError):
    """Raised when a caller's argument makes no sense: a wrong type, name, time or path."""

    code: ClassVar[str] = "bad-input"


# -- coordination ------------------------------------------------------------------------------------------------------


class CoordinationUnavailable(TemporaryError):
    """Raised when Redis cannot be reached or does not answer in time."""

    code: ClassVar[str] = "coordination-unavailable"


class LeaseBusy(TemporaryError):
    """Raised when another holds a lease that excludes the one asked for. `resource` is what it holds and `holder` who it
    is, '' where that is not known."""

    code: ClassVar[str] = "lease-busy"

    def __init__(self, message: str, *, retry_after_seconds: float = 5.0, resource: str = "", holder: str = "") -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)
        self.resource = resource
        self.holder = holder


class LeaseLost(MaintenanceError):
    """Raised at the first irreversible step after a lease expired or was taken over. The work must stop there."""

    code: ClassVar[str] = "lease-lost"


class RunBusy(TemporaryError):
    """Raised when another worker is at the same run (same task, same slot) and its lease is alive."""

    code: ClassVar[str] = "run-busy"


class RunExhausted(PermanentError):
    """Raised when a run has used up its attempts; the message tells how the last one ended."""

    code: ClassVar[str] = "run-exhausted"


# -- stores ------------------------------------------------------------------------------------------------------------


class StoreError(MaintenanceError):
    """Raised when a store fails in a way that is none of the ones below."""

    code: ClassVar[str] = "store"


class StoreUnavailable(StoreError, TemporaryError):
    """Raised when a store cannot be reached or fails in a way that may pass."""

    code: ClassVar[str] = "store-unavailable"


class StoreFull(StoreError, PermanentError):
    """Raised when a store has no room left."""

    code: ClassVar[str] = "store-full"


class ObjectMissing(StoreError, PermanentError):
    """Raised when a key is not in the store."""

    code: ClassVar[str] = "object-missing"


class ObjectExists(StoreError, PermanentError):
    """Raised by `put(if_absent=True)` when the key is taken."""

    code: ClassVar[str] = "object-exists"


# -- backups -----------------------------------------------------------------------------------------------------------


class BackupError(MaintenanceError):
    """The base of what can go wrong with a backup."""

    code: ClassVar[str] = "backup"


class UnknownBackup(BackupError, PermanentError):
    """Raised when no backup of that name has a manifest in the store."""

    code: ClassVar[str] = "unknown-backup"


class ManifestInvalid(BackupError, PermanentError):
    """Raised when a manifest's signature, digest, version or shape is wrong: it must not be believed."""

    code: ClassVar[str] = "manifest-invalid"


class ArchiveCorrupt(BackupError, PermanentError):
    """Raised when an archive is short, changed, or cannot be decrypted or decompressed."""

    code: ClassVar[str] = "archive-corrupt"


class SourceError(BackupError, PermanentError):
    """Raised when what is to be backed up cannot be read: a missing path, a failed dump, a failed pre-command."""

    code: ClassVar[str] = "source"


class DrillFailed(BackupError, PermanentError):
    """Raised when a drill shows that a backup would not restore as it was, or cannot be carried out."""

    code: ClassVar[str] = "drill-failed"


class RestoreError(BackupError, PermanentError):
    """Raised when a restore stops; says what state the messenger is in and the one command that goes on."""

    code: ClassVar[str] = "restore"


class RestoreInterrupted(BackupError, TemporaryError):
    """Raised when a restore stops for a cause that may pass; the same restore goes on where it was."""

    code: ClassVar[str] = "restore-interrupted"


class ConfirmationRequired(RestoreError):
    """Raised when a restore is asked for without its confirmation, or with the wrong one."""

    code: ClassVar[str] = "confirmation-required"


class OutsideWindow(PermanentError):
    """Raised when a disruptive task may not start: no maintenance window is open that holds it, nor is force with a reason
    given."""

    code: ClassVar[str] = "outside-window"


class HeldBack(TemporaryError):
    """Raised when a disruptive task may not start yet: its window opens soon, or alerts are firing."""

    code: ClassVar[str] = "held-back"


class WindowChanged(TemporaryError):
    """Raised when another has changed a maintenance window since it was read."""

    code: ClassVar[str] = "window-changed"


class AlertmanagerUnavailable(TemporaryError):
    """Raised when Alertmanager does not answer, or refuses."""

    code: ClassVar[str] = "alertmanager-unavailable"


class KeyMaterialError(PermanentError):
    """Raised when a key file is missing, malformed or readable by others; never shows its content."""

    code: ClassVar[str] = "key-material"


class KeyGenerationFailed(PermanentError):
    """Raised when the messenger made no key that can be used. The Secret is as it was."""

    code: ClassVar[str] = "key-generation"


class RotationFailed(PermanentError):
    """Raised when new keys did not come into use; says which keys the Secret and the pods have now."""

    code: ClassVar[str] = "rotation-failed"


class CleanupRefused(PermanentError):
    """Raised before anything is deleted: a retention below its floor, or a backup that is missing or too old."""

    code: ClassVar[str] = "cleanup-refused"


class CleanupFailed(PermanentError):
    """Raised when none of a cleanup's deletions succeeded, each after all its tries."""

    code: ClassVar[str] = "cleanup-failed"


class NoticeNotSent(TemporaryError):
    """Raised when a service did not take a notice; the others have it."""

    code: ClassVar[str] = "notice-not-sent"


class LoadFailed(TemporaryError):
    """Raised when the messenger does not bear the benchmark's load, or is to have none now."""

    code: ClassVar[str] = "load-failed"


class ScannerFailed(TemporaryError):
    """Raised when a scanner for vulnerabilities ends with an error, or tells nothing that can be read."""

    code: ClassVar[str] = "scanner-failed"


class RegistryUnavailable(TemporaryError):
    """Raised when a registry of packages or images cannot be asked, or is not named."""

    code: ClassVar[str] = "registry-unavailable"


class CertificateUnreadable(PermanentError):
    """Raised when there is no certificate where one should be, or none that can be read."""

    code: ClassVar[str] = "certificate-unreadable"


class RenewalFailed(TemporaryError):
    """Raised when cert-manager was asked for a new certificate and made none in time."""

    code: ClassVar[str] = "renewal-failed"


# -- platforms ---------------------------------------------------------------------------------------------------------


class PlatformError(MaintenanceError):
    """The base of what can go wrong where the messenger runs."""

    code: ClassVar[str] = "platform"


class PlatformUnavailable(PlatformError, TemporaryError):
    """Raised when the platform cannot be reached, or has no ready instance of a workload."""

    code: ClassVar[str] = "platform-unavailable"


class PlatformDenied(PlatformError, PermanentError):
    """Raised when the platform does not know who asks, or the asker lacks a right; names the right."""

    code: ClassVar[str] = "platform-denied"


class UnknownWorkload(PlatformError, PermanentError):
    """Raised when a workload or secret is not there."""

    code: ClassVar[str] = "unknown-workload"


class Conflict(PlatformError, TemporaryError):
    """Raised when an object was changed by another since it was read (resourceVersion)."""

    code: ClassVar[str] = "conflict"


class ObjectRefused(PlatformError, PermanentError):
    """Raised when an object cannot be applied as it stands; names the object, and fields, and no value of it."""

    code: ClassVar[str] = "object-refused"


class ExecFailed(PlatformError, PermanentError):
    """Raised when a command in a workload ends with another exit code than 0, or with 0 before it has read its input; holds
    the code and the tail of stderr."""

    code: ClassVar[str] = "exec-failed"

    def __init__(self, message: str, *, exit_code: int = -1, stderr_tail: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.stderr_tail = stderr_tail


class StreamBroken(PlatformError, TemporaryError):
    """Raised when an exec stream ends without the exit status of its command: what was read is not whole."""

    code: ClassVar[str] = "stream-broken"


class DeadlineExceeded(PlatformError, TemporaryError):
    """Raised when something awaited did not come in time: pods gone, a rollout, Redis after a start."""

    code: ClassVar[str] = "deadline-exceeded"


class MessengerCallFailed(PlatformError, TemporaryError):
    """Raised when a call of the messenger's modules threw, died, hung or gave no answer that makes sense."""

    code: ClassVar[str] = "messenger-call"


class MessengerUnfit(PlatformError, PermanentError):
    """Raised when the messenger lacks what maintenance calls: node, or a module."""

    code: ClassVar[str] = "messenger-unfit"


# -- the product's own processes ---------------------------------------------------------------------------------------


class NotThere(TemporaryError):
    """Raised when a worker or a dispatcher does not say that it is there."""

    code: ClassVar[str] = "not-there"


# -- the embedded stack ------------------------------------------------------------------------------------------------


class StackRunning(PermanentError):
    """Raised when a stack already runs on the same state folder."""

    code: ClassVar[str] = "stack-running"


class PortTaken(PermanentError):
    """Raised when a port that was asked for is in use, or none is free."""

    code: ClassVar[str] = "port-taken"


class ProgramMissing(PermanentError):
    """Raised when a program that the stack runs is not to be had on this machine."""

    code: ClassVar[str] = "program-missing"
