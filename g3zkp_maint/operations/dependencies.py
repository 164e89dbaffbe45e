"""Newer versions of what the messenger and its maintenance are made of: a plan, and who is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from importlib import metadata
from typing import Any

import httpx
from packaging.requirements import Requirement

from g3zkp_maint.audit.declared import containers, of_kind
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.coordination.checkpoint import RedisCheckpoint
from g3zkp_maint.coordination.occasion import Held
from g3zkp_maint.dependencies import lock
from g3zkp_maint.dependencies.image import Used, used
from g3zkp_maint.dependencies.plan import DependencyPlan, Step, plan, step
from g3zkp_maint.dependencies.registries import Registries
from g3zkp_maint.dependencies.telling import notice
from g3zkp_maint.dependencies.version import Change, newest, newest_tag
from g3zkp_maint.errors import ExecFailed, MaintenanceError, RegistryUnavailable
from g3zkp_maint.lack import Lack
from g3zkp_maint.operations.windows import planned
from g3zkp_maint.platforms.base import MESSENGER
from g3zkp_maint.windows.kind import Kind

TASK = "observe.check_dependencies"
_OURSELVES = "g3zkp-maint"
_KEEP_DAYS = 800
#: npm says by 1 that something is older, and by an `error` in its answer that it could not ask.
_OUTDATED = (
    "command -v npm >/dev/null || exit 127; "
    "npm outdated --json --fetch-timeout=$1 --fetch-retries=0 --no-update-notifier; [ $? -le 1 ]"
)
_NO_REGISTRY = "no registry was asked (--no-registry)"


def check(services: Services, slot: str, held: Held) -> dict[str, Any]:
    """The monthly one: journaled, kept, and told where there is anything newer. Nothing is changed; what could not be
    asked is in the result, and fails no run."""
    with held.step("look") as one:
        found = look(services)
        one.note(steps=len(found.steps), lacks=len(found.lacks))
    held.guard.verify()
    RedisCheckpoint(services.redis, TASK, keep_days=_KEEP_DAYS).save(plan=found.as_dict())
    if found.steps:
        with suppress(MaintenanceError), held.step("notice") as one:
            done = services.notices.send_once(notice(found, slot=slot))
            one.note(sent=len(done.sent), already=len(done.already))
    return {"outcome": "ok", **found.as_dict()}


def look(services: Services, *, registry: bool = True) -> DependencyPlan:
    """Here and now. Without `registry` none is asked, and everything that would have been is a lack. Raises
    CoordinationUnavailable."""
    chosen = services.settings.dependencies
    found = _Found()
    with httpx.Client(timeout=chosen.answer_seconds) as client:
        registries = Registries(client, chosen.image_registries) if registry else None
        found.add("npm", "npm packages of the messenger", lambda: _npm(services, registries, found))
        found.add("image", "images", lambda: _images(services, registries, found))
        found.add("python", "Python packages of the maintenance", lambda: _python(services, registries, found))
    return plan(found.steps, found.lacks, found.looked_at, _starts(services), at=services.clock.now())


@dataclass(slots=True)
class _Found:
    steps: list[Step] = field(default_factory=list)
    lacks: list[Lack] = field(default_factory=list)
    looked_at: dict[str, int | None] = field(default_factory=dict)

    def add(self, kind: str, what: str, steps: Callable[[], Iterable[Step]]) -> None:
        self.looked_at.setdefault(kind, 0)
        try:
            self.steps += steps()
        except MaintenanceError as error:
            self.lacks.append(Lack(what, str(error)))

    def count(self, kind: str) -> None:
        self.looked_at[kind] = (self.looked_at[kind] or 0) + 1

    def compared(self, kind: str, name: str, current: str, offered: Callable[[], list[str]]) -> Iterator[Step]:
        """The step to the newest of what is offered, where there is one. One that cannot be asked for costs itself."""
        try:
            newer = newest(current, offered())
        except RegistryUnavailable as error:
            self.lacks.append(Lack(f"{kind} {name}", str(error)))
            return
        self.count(kind)
        if newer:
            yield step(kind, name, current, newer)


def _starts(services: Services) -> dict[Kind, datetime]:
    """The next planned window of each type."""
    found: dict[Kind, datetime] = {}
    now = services.clock.now()
    for one in planned(services):
        if one.takes_place and one.window.start > now:
            found.setdefault(Kind(one.window.kind), one.window.start)
    return found


# -- npm -------------------------------------------------------------------------------------------------------------------


def _npm(services: Services, registries: Registries | None, found: _Found) -> Iterator[Step]:
    chosen = services.settings.dependencies
    if registries is None:
        raise RegistryUnavailable(_NO_REGISTRY)
    if chosen.npm_lock is not None:
        if chosen.npm_registry is None:
            raise RegistryUnavailable("dependencies.npm_registry names none")
        address = chosen.npm_registry
        for name, current in lock.direct(chosen.npm_lock).items():
            yield from found.compared("npm", name, current, lambda name=name: [registries.npm_latest(address, name)])  # type: ignore[misc]
    elif chosen.look_into_messenger:
        yield from _outdated(services, found)
    else:
        raise RegistryUnavailable("dependencies.look_into_messenger is off, and dependencies.npm_lock names no file")


def _outdated(services: Services, found: _Found) -> Iterator[Step]:
    milliseconds = str(round(services.settings.dependencies.npm_seconds * 1000))
    try:
        said = services.platform.exec(MESSENGER, ["sh", "-c", _OUTDATED, "sh", milliseconds]).read_all()
        packages = json.loads(said or "{}")
    except ExecFailed as error:
        raise RegistryUnavailable(
            "the messenger has no npm to ask; name its lock file in dependencies.npm_lock"
        ) from error
    except ValueError as error:
        raise RegistryUnavailable("npm in the messenger answered no JSON") from error
    if isinstance(packages.get("error"), dict) and "summary" in packages["error"]:
        raise RegistryUnavailable("npm in the messenger could not ask; see what `npm outdated` says there")
    # It names what is older alone: of how many packages is not known.
    found.looked_at["npm"] = None
    for name, told in packages.items():
        # A list where it is there in several places, which may be of several versions.
        places = told if isinstance(told, list) else [told]
        versions = {(one["current"], one["latest"]) for one in places if "current" in one and "latest" in one}
        for current, latest in sorted(versions):
            if newest(current, [latest]):
                yield step("npm", name, current, latest)


# -- images ----------------------------------------------------------------------------------------------------------------


def _images(services: Services, registries: Registries | None, found: _Found) -> Iterator[Step]:
    if services.settings.platform.kind != "kubernetes":
        raise RegistryUnavailable("the messenger runs in no cluster (platform.kind=local): there are none")
    seen = services.inspection.look()
    found.lacks += [Lack(f"images of {what}", why) for what, why in seen.refused if _has_images(what)]
    declared = [(str(one.workload), str(one.spec.get("image", ""))) for one in containers(seen.objects)]
    for one in used(declared, of_kind(seen.objects, "Pod")):
        if registries is None:
            found.lacks.append(Lack(f"image {one.image.shown}", _NO_REGISTRY))
            continue
        try:
            yield from _of_image(one, registries)
            found.count("image")
        except RegistryUnavailable as error:
            found.lacks.append(Lack(f"image {one.image.shown}", str(error)))


def _has_images(what: str) -> bool:
    return what.startswith(("deployments", "statefulsets", "daemonsets", "jobs", "cronjobs", "pods"))


def _of_image(one: Used, registries: Registries) -> Iterator[Step]:
    """A newer tag; and the same tag, where another image stands behind it by now."""
    image, where = one.image, ", ".join(one.users)
    if not image.tag:
        raise RegistryUnavailable("it is named by its digest alone, which has no newer one")
    newer = newest_tag(image.tag, registries.tags(image))
    if newer:
        yield step("image", image.shown, image.tag, newer, where=where)
    offered = registries.digests(image)
    running = {image.digest} if image.digest else set(one.running)
    former = sorted(running - offered) if offered else []
    if former:
        now = f"{image.tag} (another image)"
        yield Step("image", image.shown, f"{image.tag} ({_short(former[0])})", now, Change.PATCH, where)


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]


# -- ourselves -------------------------------------------------------------------------------------------------------------


def _python(services: Services, registries: Registries | None, found: _Found) -> Iterator[Step]:
    index = services.settings.dependencies.python_index
    if registries is None:
        raise RegistryUnavailable(_NO_REGISTRY)
    if index is None:
        raise RegistryUnavailable("dependencies.python_index names none")
    for name, current in _own_packages().items():
        yield from found.compared("python", name, current, lambda name=name: registries.python_versions(index, name))  # type: ignore[misc]


def _own_packages() -> dict[str, str]:
    """Version by name, of what this product names itself."""
    wanted = [Requirement(text) for text in metadata.requires(_OURSELVES) or ()]
    return {
        one.name: metadata.version(one.name)
        for one in wanted
        if one.marker is None or one.marker.evaluate({"extra": ""})
    }
