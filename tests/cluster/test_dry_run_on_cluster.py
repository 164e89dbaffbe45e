"""Every overlay of k8s/ as an API server takes it: a dry run on the server, which validates and admits, and keeps nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from g3zkp_maint.testing import messenger_manifests as manifests
from g3zkp_maint.testing.cluster_site import LABELS
from g3zkp_maint.testing.kubectl import Kubectl, KubectlFailed
from g3zkp_maint.testing.rendered import (
    Object,
    for_old_cluster,
    moved,
    of_kind,
    optional_components,
    render,
    render_with,
)

pytestmark = pytest.mark.cluster

K8S = Path(__file__).parents[2] / "k8s"
#: Their definitions would have to be there first. Not on a test's cluster: an API server of 1.20 that was built with a newer
#: Go than its own dies of the first definition, and a current one shall be given none that is not ours.
_OF_OTHERS = ("ScaledObject", "TriggerAuthentication", "PodMonitor", "PrometheusRule")


@dataclass(frozen=True)
class Places:
    """Two empty namespaces: an object is not even looked at in one that is not there."""

    kubectl: Kubectl
    names: dict[str, str]

    def dry_run(self, objects: list[Object]) -> list[str]:
        """What kubectl says of each object."""
        if "policy/v1" not in self.kubectl("api-versions").decode().split():
            objects = for_old_cluster(objects)
        ours = [one for one in moved(objects, self.names) if one["kind"] not in _OF_OTHERS]
        return self.kubectl.apply(ours, "--dry-run=server", "--validate=strict").splitlines()


@pytest.fixture(scope="module")
def places(kubeconfig: Path, namespace: str) -> Iterator[Places]:
    names = {"g3zkp": f"{namespace}-dry", "g3zkp-maint": f"{namespace}-dry-maint"}
    found = Places(Kubectl(kubeconfig, ""), names)
    found.kubectl.apply(manifests.namespace(name, LABELS) for name in names.values())
    yield found
    found.kubectl("delete", "namespace", *names.values(), "--wait=false")


def _rendered(name: str, scratch: Path) -> list[Object]:
    """`production+components` has all of them: what each changes by itself is looked at in tests/unit/k8s."""
    overlay, _, added = name.partition("+")
    return render_with(K8S, overlay, optional_components(K8S), scratch) if added else render(K8S / "overlays" / overlay)


@pytest.mark.parametrize("name", ["dev", "production", "production+components"])
def test_the_server_takes_every_object_and_keeps_none(places: Places, tmp_path: Path, name: str) -> None:
    objects = _rendered(name, tmp_path)
    said = places.dry_run(objects)
    assert len(said) == len(objects) - len(of_kind(objects, *_OF_OTHERS))
    assert not [line for line in said if not line.endswith(("created (server dry run)", "configured (server dry run)"))]
    for place in places.names.values():
        assert places.kubectl.get("deployments,cronjobs,roles,networkpolicies", "-n", place)["items"] == []


def _misspelt(container: Any) -> None:
    container["readinesProbe"] = container.pop("readinessProbe")


def _impossible(container: Any) -> None:
    container["resources"]["requests"]["memory"] = "64Gi"


@pytest.mark.parametrize(
    ("spoil", "said"), [(_misspelt, "readinesProbe"), (_impossible, "must be less than or equal to memory limit")]
)
def test_what_is_wrong_is_refused(places: Places, spoil: Callable[[Any], None], said: str) -> None:
    objects = copy.deepcopy(render(K8S / "overlays" / "production"))
    (beat,) = [one for one in of_kind(objects, "Deployment") if one["metadata"]["name"] == "beat"]
    spoil(beat["spec"]["template"]["spec"]["containers"][0])
    with pytest.raises(KubectlFailed, match=said):
        places.dry_run(objects)
