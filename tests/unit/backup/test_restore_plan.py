"""The plan of a restore and its confirmation."""

from __future__ import annotations

from pathlib import Path

import pytest

from g3zkp_maint.backup.manifest import Component, Manifest
from g3zkp_maint.backup.restore_plan import plan_restore, require_confirmation
from g3zkp_maint.errors import BadInput, ConfirmationRequired
from g3zkp_maint.testing.backup_site import BackupSite


@pytest.fixture
def manifest(site: BackupSite) -> Manifest:
    (site.tree / "block").write_bytes(b"content")
    made = site.back_up()
    more = (Component(name="redis", kind="redis"), Component(name="k8s", kind="kubernetes"))
    stored = site.repository.manifest(made.name)
    return stored.model_copy(update={"components": (*stored.components, *more)})


def test_the_plan_says_what_is_read_and_what_comes_of_it(manifest: Manifest) -> None:
    plan = plan_restore(manifest, components=["ipfs"])
    assert (plan.entries, plan.bytes, plan.objects) == (2, 7, 2)
    assert plan.read_bytes == manifest.archives[0].size + manifest.components[0].index.size  # type: ignore[union-attr]
    assert plan.steps == ("check", "safety", "stop", "files", "start", "health")


def test_all_that_can_be_restored_is_chosen_by_default(manifest: Manifest, tmp_path: Path) -> None:
    assert plan_restore(manifest).components == ("ipfs", "redis")
    assert plan_restore(manifest).steps == ("check", "safety", "stop", "files", "redis", "start", "health")
    elsewhere = plan_restore(manifest, to=tmp_path)
    assert (elsewhere.components, elsewhere.steps) == (("ipfs",), ("check", "files"))


def test_without_safety_there_is_no_such_step(manifest: Manifest) -> None:
    assert "safety" not in plan_restore(manifest, safety=False).steps


def test_the_token_is_bound_to_the_backup_and_the_target(site: BackupSite, manifest: Manifest, tmp_path: Path) -> None:
    other = site.repository.manifest(site.back_up().name)
    plans = [plan_restore(one, to=to) for one in (manifest, other) for to in (None, tmp_path, tmp_path / "b")]
    assert len({plan.token for plan in plans}) == len(plans)
    for plan in plans:
        require_confirmation(plan, plan.token)
        for token in ({p.token for p in plans} - {plan.token}) | {None, "", plan.token[:-1], f"{plan.token}0"}:
            with pytest.raises(ConfirmationRequired, match=plan.token):
                require_confirmation(plan, token)


def test_an_unknown_component_is_refused(manifest: Manifest) -> None:
    with pytest.raises(BadInput, match="has no component 'mail'"):
        plan_restore(manifest, components=["mail"])


@pytest.mark.parametrize("component", ["redis", "k8s"])
def test_what_goes_into_something_that_runs_goes_into_no_folder(
    manifest: Manifest, tmp_path: Path, component: str
) -> None:
    with pytest.raises(BadInput, match=f"backup extract {manifest.name} {component}"):
        plan_restore(manifest, components=[component], to=tmp_path)


def test_the_clusters_objects_come_before_the_data_and_alone_they_stop_nothing(manifest: Manifest) -> None:
    alone = plan_restore(manifest, components=["k8s"])
    assert alone.steps == ("check", "safety", "objects", "health")
    whole = plan_restore(manifest, components=["ipfs", "redis", "k8s"])
    assert whole.steps == ("check", "safety", "stop", "objects", "files", "redis", "start", "health")
    assert len({alone.token, whole.token, plan_restore(manifest).token}) == 3
