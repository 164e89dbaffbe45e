"""What Flower shows: on a volume that outlives the pod in production, and anywhere on one that it may write to."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from rendered_parts import Overlays, name_of, named, place_of

from g3zkp_maint.testing.rendered import Object, of_kind


def kept(objects: list[Object]) -> dict[str, Any]:
    """The volume that its `--db` lies in."""
    _, template, container = named(objects, "flower")
    (db,) = [PurePosixPath(one.removeprefix("--db=")) for one in container["command"] if one.startswith("--db=")]
    assert "--persistent=true" in container["command"]
    (mount,) = [one for one in container["volumeMounts"] if one["mountPath"] == str(db.parent)]
    assert not mount.get("readOnly")
    (found,) = [one for one in template["spec"]["volumes"] if one["name"] == mount["name"]]
    return {key: value for key, value in found.items() if key != "name"}


def test_in_production_it_outlives_the_pod_on_a_claim_that_one_pod_has_at_a_time(overlays: Overlays) -> None:
    objects = overlays["production"]
    (claim,) = of_kind(objects, "PersistentVolumeClaim")
    flower, _, _ = named(objects, "flower")
    assert kept(objects) == {"persistentVolumeClaim": {"claimName": name_of(claim)}}
    assert place_of(claim) == place_of(flower)
    assert (claim["spec"]["accessModes"], flower["spec"]["strategy"]) == (["ReadWriteOnce"], {"type": "Recreate"})


def test_elsewhere_it_goes_with_the_pod(overlays: Overlays) -> None:
    assert kept(overlays["dev"]).keys() == {"emptyDir"}
