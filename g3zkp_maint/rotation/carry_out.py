"""A rotation, step by step: what each leaves behind, and who goes on after a kill.

The record (record.py) stands in the Secret, and is changed by the same patch as the keys:

                      ┌────────────── generation failed: the record is as before
    (none, rotated, undone) ──begin──▶ begun ──stage──▶ staged ──commit──▶ rotated
                                                          │ no rollout, no proof, no health
                                                          ▼
                                                        undoing ──settle──▶ undone

- `begin` shows that the Secret may be patched before a key is made. Killed in `begun`: nothing to be taken up; the next
  run begins anew. A key that was made in that moment, and never reached the Secret, stays in the messenger's folder and
  is named by nobody.
- `stage` puts all new keys beside the old ones, in one patch. From here on somebody has to go on, and whoever comes
  next does: the same run, given out again, or any other. No key is made then.
- One rolling restart. Which one it is, a checkpoint knows, so that it is waited for and not asked for twice. Killed
  between the restart and the checkpoint there is a second one, of pods that are new already.
- Each instance is asked for what it sees and uses (witness.py), then the messenger's health.
- `commit` sets `last-rotation-<type>`, and so only of keys that every instance uses.
- Where one of these fails, the former values come back by one patch, the rollout is undone, each instance is asked
  again, and the run fails and says so. What merely cannot be reached is no failure: the run is tried again later, and
  goes on where it was.

A run that was done (`rotated`, `undone`) is told by the record, also when its own record in Redis was never written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta

from g3zkp_maint.errors import (
    CoordinationUnavailable,
    DeadlineExceeded,
    LeaseLost,
    MaintenanceError,
    PlatformUnavailable,
    RotationFailed,
    StreamBroken,
)
from g3zkp_maint.health.check import check as check_health
from g3zkp_maint.platforms.base import MESSENGER, SecretData
from g3zkp_maint.rotation import patch as patches
from g3zkp_maint.rotation.entries import RECORD, KeyType, NewKey
from g3zkp_maint.rotation.generate import generate
from g3zkp_maint.rotation.plan import RotationPlan, plan_rotation
from g3zkp_maint.rotation.record import Phase, Record, read_record
from g3zkp_maint.rotation.rollout import Rollouts
from g3zkp_maint.rotation.secret import KeysSecret
from g3zkp_maint.rotation.site import Rotated, RotationSite, all_standings
from g3zkp_maint.rotation.witness import Doubt, Expected, doubts, former_expected, look, new_expected

#: What passes, and is tried again with the keys left as they are: nothing is known to be wrong with them.
_NOT_NOW = (PlatformUnavailable, CoordinationUnavailable, StreamBroken)
_POLL_SECONDS = 1.0


def rotate(site: RotationSite, *, types: Sequence[KeyType], force: bool) -> Rotated:
    """Rotates those of `types` that are due, with `force` all of them; before that it ends what an earlier run left.

    Raises KeyGenerationFailed, Conflict, OutsideWindow (what `site.allow` raises) with nothing changed; RotationFailed,
    which says what the Secret and the pods have; TemporaryError where it goes on by itself when it is tried again.
    """
    return _Rotation(site).carry_out(tuple(types), force=force)


class _Rotation:
    def __init__(self, site: RotationSite) -> None:
        self._site = site
        self._secret = KeysSecret(site.platform, site.secret)
        self._rollouts = Rollouts(
            site.platform,
            site.checkpoint,
            site.guard,
            forward_seconds=site.rollout_seconds,
            back_seconds=site.rollout_seconds + site.stop_seconds,
        )
        self._keys_path = str(site.settings.keys_path or "")

    def carry_out(self, types: tuple[KeyType, ...], *, force: bool) -> Rotated:
        secret = self._secret.read()
        record = read_record(secret.annotations)
        own = record if record is not None and record.run == self._site.run else self._ended_by_another()
        if own is not None and not self._begins_anew(own):
            return self._end(own)
        if record is None or not record.is_unfinished:
            return self._begin(secret, types, force=force)
        finished = self._finish_other(record)
        rest = tuple(one for one in types if one not in finished)
        return self._begin(self._secret.read(), rest, force=force, after=record)

    def _begins_anew(self, own: Record) -> bool:
        """One that was taken back and is at its first attempt was reset by an operator, who has mended the cause."""
        return own.phase is Phase.BEGUN or (own.phase is Phase.UNDONE and self._site.attempt == 1)

    # -- what was begun before -----------------------------------------------------------------------------------------

    def _end(self, record: Record) -> Rotated:
        """The own rotation of a run that was given out again, from where it is."""
        match record.phase:
            case Phase.STAGED:
                self._bring_into_use(record)
            case Phase.UNDOING:
                raise self._failed(record, self._put_back(record))
            case Phase.UNDONE:
                raise self._failed(record, "")
            case _:
                # Its journal may lack it: the process can have died between the patch and that.
                with self._site.step("commit") as step:
                    step.note(**_facts(record))
        return Rotated(self._site.run, record.changes)

    def _finish_other(self, record: Record) -> tuple[KeyType, ...]:
        """Another run's; returns the types that are rotated by that. Its own next attempt finds that it has ended."""
        if record.phase is Phase.STAGED:
            self._bring_into_use(record)
            self._site.checkpoint.save(ended=record.moved(Phase.ROTATED, at=self._now()).text())
            return record.types
        if stuck := self._put_back(record):
            raise self._failed(record, stuck)
        self._site.checkpoint.save(ended=record.moved(Phase.UNDONE, at=self._now()).text())
        return ()

    def _ended_by_another(self) -> Record | None:
        text = self._site.checkpoint.load().get("ended")
        record = None if text is None else Record.model_validate_json(text)
        return record if record is not None and record.run == self._site.run else None

    # -- the own one ---------------------------------------------------------------------------------------------------

    def _begin(
        self, secret: SecretData, types: tuple[KeyType, ...], *, force: bool, after: Record | None = None
    ) -> Rotated:
        plan = self._plan(secret, types, force=force)
        not_due = {item.type: item.why for item in plan.items if not item.is_due}
        done = Rotated(self._site.run, (), plan.retires, not_due, after.run if after else None)
        if not plan.due:
            self._retire(secret, plan)
            return done
        self._site.allow(plan)
        self._require_health("before the rotation; nothing was changed")
        record = self._stage(secret, plan)
        self._bring_into_use(record)
        return Rotated(done.run, record.changes, done.retired, done.not_due, done.finished)

    def _plan(self, secret: SecretData, types: tuple[KeyType, ...], *, force: bool) -> RotationPlan:
        now = self._site.clock.now()
        with self._site.step("plan") as step:
            plan = plan_rotation(all_standings(secret, self._site.settings, now), types=types, force=force, now=now)
            step.note(due=",".join(plan.due), retires=",".join(plan.retires))
            step.note(**{f"why_{item.type}": item.why for item in plan.items})
        return plan

    def _retire(self, secret: SecretData, plan: RotationPlan) -> None:
        if not plan.retires:
            return
        with self._site.step("retire") as step:
            self._site.guard.verify()
            self._secret.patch(secret, patches.retire(plan.retires))
            step.note(types=",".join(plan.retires))

    def _stage(self, before: SecretData, plan: RotationPlan) -> Record:
        """Makes the keys and puts them beside the old ones. On any error the Secret is as it was."""
        begun = Record(run=self._site.run, phase=Phase.BEGUN, at=self._now())
        with self._site.step("begin"):
            self._site.guard.verify()
            secret = self._secret.patch(before, patches.begin(begun))
        try:
            keys = self._generate(plan)
            with self._site.step("stage") as step:
                record = begun.model_copy(update={"phase": Phase.STAGED, "changes": patches.changes(secret, keys)})
                step.note(**_facts(record))
                self._site.guard.verify()
                self._secret.patch(secret, patches.stage(secret, record, keys, retires=plan.retires))
        except LeaseLost:
            raise
        except MaintenanceError:
            self._forget(secret, before)
            raise
        return record

    def _generate(self, plan: RotationPlan) -> tuple[NewKey, ...]:
        with self._site.step("generate"):
            self._site.guard.verify()
            return generate(
                self._site.platform,
                plan.due,
                in_use={item.type: item.key_id for item in plan.items},
                keys_path=self._keys_path,
                seconds=self._site.settings.answer_seconds,
                guard=self._site.guard,
            )

    def _forget(self, begun: SecretData, before: SecretData) -> None:
        """The record of before. Best effort: one that says `begun` is in nobody's way."""
        try:
            record = {RECORD: before.annotations.get(RECORD)}
            self._secret.patch(begun, patches.Patch(annotations=record))
        except MaintenanceError:
            return

    # -- from staged to rotated ----------------------------------------------------------------------------------------

    def _bring_into_use(self, record: Record) -> None:
        """Raises RotationFailed once the former keys are back, or where they could not be brought back."""
        try:
            self._require_ours(record)
            with self._site.step("restart"):
                self._rollouts.forward(record)
            with self._site.step("prove") as step:
                step.note(instances=self._prove(record, new_expected, files_too=True))
            with self._site.step("health"):
                self._require_health("with the new keys")
            self._commit(record)
        except (LeaseLost, *_NOT_NOW):
            raise
        except MaintenanceError as error:
            raise self._taken_back(record, error) from error

    def _require_ours(self, record: Record) -> SecretData:
        """What the pods will see is read and understood before they are restarted, and again before it counts."""
        secret = self._secret.read()
        lost = [change.type for change in record.changes if not patches.is_ours(secret, change)]
        if lost:
            raise RotationFailed(f"another writer has replaced the new keys in the Secret: {', '.join(lost)}")
        return secret

    def _commit(self, record: Record) -> None:
        with self._site.step("commit") as step:
            secret = self._require_ours(record)
            self._site.guard.verify()
            overlap = timedelta(hours=self._site.settings.overlap_hours)
            self._secret.patch(secret, patches.commit(secret, record, now=self._site.clock.now(), overlap=overlap))
            step.note(**_facts(record))

    def _require_health(self, when: str) -> None:
        report = check_health(self._site.platform.health_url())
        if not report.is_healthy:
            raise RotationFailed(f"the messenger is not healthy {when}: {'; '.join(report.problems)}")

    def _prove(
        self,
        record: Record,
        expected: Callable[[SecretData, Record], tuple[Expected, ...]],
        *,
        files_too: bool,
    ) -> int:
        """Asks every instance, again while only files are late; returns how many there are. Raises RotationFailed."""
        until = self._site.clock.monotonic() + self._site.rollout_seconds
        wanted = expected(self._secret.read(), record)
        while True:
            self._site.guard.ensure_held()
            names = [one.name for one in self._site.platform.instances(MESSENGER) if one.ready]
            found = [doubt for name in names for doubt in self._doubts(name, record, wanted, files_too=files_too)]
            if names and not found:
                return len(names)
            if not all(doubt.may_pass for doubt in found) or self._site.clock.monotonic() >= until:
                told = "; ".join(doubt.text for doubt in found) or f"{MESSENGER} has no ready instance"
                raise RotationFailed(f"the keys of the Secret are not in use: {told}")
            time.sleep(_POLL_SECONDS)

    def _doubts(self, instance: str, record: Record, wanted: tuple[Expected, ...], *, files_too: bool) -> list[Doubt]:
        try:
            seen = look(
                self._site.platform,
                instance,
                record,
                keys_path=self._keys_path,
                seconds=self._site.settings.answer_seconds,
                guard=self._site.guard,
            )
        except (PlatformUnavailable, StreamBroken, DeadlineExceeded) as error:
            # Gone since it was listed, or slow: the next look tells.
            return [Doubt(str(error), may_pass=True)]
        return doubts(seen, wanted, files_too=files_too)

    # -- and back ------------------------------------------------------------------------------------------------------

    def _taken_back(self, record: Record, error: MaintenanceError) -> RotationFailed:
        """Puts the former keys back and returns what is to be told."""
        why = str(error)
        with self._site.step("undo") as step:
            step.note(why=why, **_facts(record))
            self._site.guard.verify()
            secret = self._secret.read()
            now = read_record(secret.annotations)
            if now is None or (now.run, now.changes) != (record.run, record.changes):
                return RotationFailed(
                    f"the rotation of {', '.join(record.types)} failed: {why}. Another writer has taken its record out of "
                    "the Secret, so it was left as it is; see which keys the pods use, then start a rotation with force"
                )
            self._secret.patch(secret, patches.undo(secret, record, now=self._site.clock.now(), why=why))
        undoing = record.moved(Phase.UNDOING, at=self._now(), why=why)
        return self._failed(undoing, self._put_back(undoing))

    def _put_back(self, record: Record) -> str:
        """The pods of before, with the former keys; returns what stood against it, '' when all is as it was."""
        try:
            with self._site.step("restart-back"):
                self._rollouts.back(record)
            with self._site.step("prove-back") as step:
                step.note(instances=self._prove_former(record))
            with self._site.step("settle"):
                self._site.guard.verify()
                self._secret.patch(self._secret.read(), patches.settle(record, now=self._site.clock.now()))
        except (LeaseLost, *_NOT_NOW):
            raise
        except MaintenanceError as error:
            return str(error)
        return ""

    def _prove_former(self, record: Record) -> int:
        try:
            return self._prove(record, former_expected, files_too=False)
        except RotationFailed:
            # One of them was restarted while the new keys were in the Secret, and has loaded those.
            self._rollouts.again(record)
            return self._prove(record, former_expected, files_too=False)

    def _failed(self, record: Record, stuck: str) -> RotationFailed:
        begun = "" if record.run == self._site.run else f", begun by the run {record.run},"
        head = f"the rotation of {', '.join(record.types)}{begun} was taken back: {record.why}."
        if stuck:
            return RotationFailed(
                f"{head} The former keys are in the Secret again, but the pods are not known to be as before: {stuck}. "
                "The next rotation goes on with that: g3zkp-maint keys rotate"
            )
        return RotationFailed(
            f"{head} The former keys are in the Secret and in use again; find the cause, then start anew"
        )

    def _now(self) -> int:
        return patches.seconds(self._site.clock.now())


def _facts(record: Record) -> dict[str, str]:
    """For the journal: ids by type. history.py reads them."""
    facts = {f"{change.type}_key": change.key_id for change in record.changes}
    facts |= {f"{change.type}_former": change.former_id for change in record.changes if change.former_id}
    return {**facts, "begun_by": record.run}
