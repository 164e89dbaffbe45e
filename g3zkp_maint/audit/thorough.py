"""Where the monthly audit's own facts come from: the store, the journal, the cluster by a dry run, scanners. Reads only."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from g3zkp_maint.audit import scanners
from g3zkp_maint.audit.declared import containers
from g3zkp_maint.audit.facts import Object
from g3zkp_maint.audit.gathering import Seen
from g3zkp_maint.audit.scanners import IMAGE_SCANNERS, ImageScanner
from g3zkp_maint.audit.unused import secrets_named
from g3zkp_maint.audit.whole import JournalChain, NamedSecret, RestorableObject, VerifiedBackup, Vulnerability
from g3zkp_maint.backup.manifest import Archive, Index, Manifest, Outcome
from g3zkp_maint.backup.object_restore import preview, read_objects
from g3zkp_maint.backup.repository import Repository
from g3zkp_maint.backup.verify import VerifyMode, check_stored, needed
from g3zkp_maint.coordination.journal import Journal
from g3zkp_maint.errors import (
    ArchiveCorrupt,
    ExecFailed,
    MaintenanceError,
    ManifestInvalid,
    ObjectMissing,
    ScannerFailed,
    UnknownBackup,
)
from g3zkp_maint.platforms.base import MESSENGER, Platform
from g3zkp_maint.progress import NoProgress

_BY_MACHINES = frozenset({"kubernetes.io/service-account-token", "helm.sh/release.v1", "bootstrap.kubernetes.io/token"})
#: npm says by 1 that it found something. Its first argument is how long an answer may take, in milliseconds.
_NPM_AUDIT = (
    "command -v npm >/dev/null || exit 127; "
    "npm audit --json --fetch-timeout=$1 --fetch-retries=0 --no-update-notifier; [ $? -le 1 ]"
)


def verified(repository: Repository, mode: VerifyMode, *, most_bytes: int) -> Seen:
    """Every backup there is, the newest first. With `full` each stored object is read once, whoever needs it, up to
    `most_bytes` in all; what is not read is looked at as by `quick`, and told. Raises StoreUnavailable,
    KeyMaterialError."""
    objects = _Objects(repository, most_bytes if mode is VerifyMode.FULL else 0)
    names = [str(one) for one in reversed(repository.names())]
    found = tuple(_verified(repository, name, objects) for name in names)
    if not objects.unread:
        return Seen(found)
    why = (
        f"audit.verify_bytes={most_bytes} are read, the newest backups first"
        if mode is VerifyMode.FULL
        else f"audit.verify is {mode}"
    )
    what = f"the bytes of {objects.unread} stored objects"
    return Seen(
        found, ((what, f"{why}: of these sizes were compared, and backup.reread reads them in its turn", True),)
    )


@dataclass(slots=True)
class _Objects:
    """What is wrong with stored objects, each looked at once; `left` bytes may still be read, `unread` objects were not."""

    repository: Repository
    left: int
    unread: int = 0
    known: dict[tuple[str, int, str], str] = field(default_factory=dict)

    def problem(self, one: Archive | Index) -> str:
        """'' for none."""
        same = (one.key, one.size, one.sha256)
        if same not in self.known:
            self.known[same] = self._seen(one)
        return self.known[same]

    def _seen(self, one: Archive | Index) -> str:
        try:
            self.repository.head(one)
            if one.size > self.left:
                self.unread += 1
            else:
                self.left -= one.size
                check_stored(self.repository, one, NoProgress())
        except (ArchiveCorrupt, ObjectMissing) as error:
            return str(error)
        return ""


def _verified(repository: Repository, name: str, objects: _Objects) -> VerifiedBackup:
    try:
        needs = needed(repository.manifest(name))
        return VerifiedBackup(name, tuple(problem for one in needs if (problem := objects.problem(one))))
    except ManifestInvalid as error:
        return VerifiedBackup(name, (f"its manifest must not be believed: {error}",))
    except UnknownBackup:  # deleted since it was listed
        return VerifiedBackup(name, ())


def journal_chain(journal: Journal) -> Seen:
    """Raises CoordinationUnavailable."""
    told = journal.verify()
    return Seen(JournalChain(told.records, "" if told.is_whole else told.reason or "the chain is broken"))


def restorable(repository: Repository, platform: Platform, components: Sequence[str]) -> Seen:
    """The objects of the newest whole backup that has some, each tried on the server without effect. Their texts, Secrets
    among them, stay in this process. Raises KeyMaterialError without a recovery identity, and what the platform raises."""
    for one in repository.manifests():
        if not isinstance(one, Manifest) or one.outcome != Outcome.OK:
            continue
        has = [component.name for component in one.components if component.name in components]
        if has:
            wanted = [document for name in has for document in read_objects(repository, one, name)]
            told = preview(platform, wanted, every=True)
            return Seen(tuple(RestorableObject(one.name, each.object, str(each.outcome), each.reason) for each in told))
    return Seen((), (("objects of a backup", "no whole backup has any", True),))


def secret_names(platform: Platform, namespace: str) -> Seen:
    """Of those that people made, and which of them any object that is not a Secret names; their contents are dropped at
    once. Raises PlatformDenied."""
    found: set[str] = set()
    taken: set[str] = set()
    for one in platform.objects():
        if one["kind"] != "Secret":
            taken.update(secrets_named(one))
        elif one.get("type") not in _BY_MACHINES:
            found.add(str(one["metadata"]["name"]))
    return Seen(tuple(NamedSecret(f"Secret/{namespace}/{name}", name in taken) for name in sorted(found)))


def vulnerabilities(objects: Iterable[Object] | None, platform: Platform | None, *, seconds: float) -> Seen:
    """By whatever scanner is installed here; `platform` None: npm in the messenger is not asked. `seconds` for each."""
    found: list[Vulnerability] = []
    lacks: list[tuple[str, str, bool]] = []

    def add(what: str, scanned: Callable[[], tuple[Vulnerability, ...]]) -> None:
        try:
            found.extend(scanned())
        except MaintenanceError as error:
            lacks.append((what, str(error), False))

    scanner = next((one for one in IMAGE_SCANNERS if shutil.which(one.program)), None)
    images = sorted({str(one.spec.get("image", "")) for one in containers(objects)} - {""})
    if scanner is None:
        lacks.append(("vulnerabilities of images", "neither trivy nor grype is installed here", True))
    else:
        for image in images:
            add(f"vulnerabilities of image {image}", lambda image=image: _image(scanner, image, seconds))  # type: ignore[misc]
    if shutil.which("pip-audit"):
        add("vulnerabilities of our own packages", lambda: _ourselves(seconds))
    else:
        lacks.append(("vulnerabilities of our own packages", "pip-audit is not installed here", True))
    if platform is None:
        lacks.append(("vulnerabilities of npm packages", "audit.look_into_npm is off", True))
    else:
        add("vulnerabilities of npm packages", lambda: _npm(platform, seconds))
    return Seen(tuple(found), tuple(lacks))


def _image(scanner: ImageScanner, image: str, seconds: float) -> tuple[Vulnerability, ...]:
    return scanner.read(_output([*scanner.argv, "--", image], seconds), f"Image/{image}")


def _ourselves(seconds: float) -> tuple[Vulnerability, ...]:
    # Its exit code 1 says that it found something. Left to itself it looks at the interpreter that it was installed with.
    command = ["pip-audit", "--format", "json", "--progress-spinner", "off"]
    text = _output(command, seconds, well=(0, 1), PIPAPI_PYTHON_LOCATION=sys.executable)
    return scanners.read_pip(text, "Package/g3zkp-maint")


def _npm(platform: Platform, seconds: float) -> tuple[Vulnerability, ...]:
    command = ["sh", "-c", _NPM_AUDIT, "sh", str(round(seconds * 1000))]
    try:
        text = platform.exec(MESSENGER, command).read_all(64 << 20).decode(errors="replace")
    except ExecFailed as error:
        raise ScannerFailed("the messenger has no npm to ask") from error
    return scanners.read_npm(text, f"Package/{MESSENGER}")


def _output(argv: Sequence[str], seconds: float, *, well: Iterable[int] = (0,), **environment: str) -> str:
    """What the program writes, with `environment` added to ours. Its own messages are not told: they may quote what it was given."""
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            timeout=seconds,
            check=False,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            env={**os.environ, **environment},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ScannerFailed(f"{argv[0]} did not end within {seconds:g} s, or could not be started") from error
    if done.returncode not in well:
        raise ScannerFailed(f"{argv[0]} ended with {done.returncode}; run it by hand: {' '.join(argv)}")
    return done.stdout
