"""Certificates of a real namespace: seen in their Secrets and at the API server; one restart for a renewed one."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from g3zkp_maint.bootstrap import Services
from g3zkp_maint.coordination.occasion import Occasion
from g3zkp_maint.errors import OutsideWindow
from g3zkp_maint.operations import certificates as operations
from g3zkp_maint.operations.certificates import RollOutRequest
from g3zkp_maint.platforms.base import MESSENGER
from g3zkp_maint.testing.authority import issue, root
from g3zkp_maint.testing.backup_place import entered
from g3zkp_maint.testing.cluster_site import ClusterSite

pytestmark = pytest.mark.cluster

ROOT = root()
SECRET = "web-tls"
VOLUME = {"name": "tls", "secret": {"secretName": SECRET, "optional": True}}


@dataclass
class Place:
    """The messenger of the cluster with a TLS Secret that it mounts, and services beside it."""

    site: ClusterSite
    services: Services

    def put(self, days: float) -> None:
        own = issue("web", by=ROOT, hosts=("g3zkp.example",), days=days)
        data = {"tls.crt": own.pem, "tls.key": own.key_pem}
        self.site.kubectl.apply(
            [
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": SECRET},
                    "type": "kubernetes.io/tls",
                    "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
                }
            ]
        )

    def revision(self) -> int:
        found = self.site.kubectl.get("deployment", MESSENGER)["metadata"]["annotations"]
        return int(found["deployment.kubernetes.io/revision"])

    def run(self, task: str, work: Callable[..., dict[str, Any]], wants: Any = ()) -> dict[str, Any]:
        slot = f"test-{time.monotonic_ns()}"
        occasion = Occasion(task, slot, f"test:{os.getpid()}", "{}", wants=dict(wants))
        found: dict[str, Any] = self.services.conductor.perform(occasion, work)
        return found

    def check(self) -> dict[str, Any]:
        return self.run(operations.TASK, partial(operations.check, self.services, "test"))

    def roll_out(self, **request: Any) -> dict[str, Any]:
        wanted = RollOutRequest(**request)
        return self.run(operations.ROLL_OUT, partial(operations.roll_out, self.services, wanted), operations.WANTS)


@pytest.fixture(scope="module")
def place(cluster_site: ClusterSite, coordination: str) -> Iterator[Place]:
    settings = {
        "G3ZKP_REDIS__URL": coordination,
        "G3ZKP_PLATFORM__KIND": "kubernetes",
        "G3ZKP_PLATFORM__NAMESPACE": cluster_site.namespace,
        "G3ZKP_PLATFORM__KUBERNETES__KUBECONFIG": str(cluster_site.kubeconfig),
        "G3ZKP_WINDOWS__RECURRING": "[]",
    }
    with entered(settings):
        services = Services()
        found = Place(cluster_site, services)
        found.put(days=10)
        _mount(cluster_site, [VOLUME])
        yield found
        _mount(cluster_site, [{"name": "tls", "$patch": "delete"}])
        cluster_site.kubectl("delete", "secret", SECRET)
        services.redis.close()


def _mount(site: ClusterSite, volumes: list[dict[str, Any]]) -> None:
    patch = json.dumps({"spec": {"template": {"spec": {"volumes": volumes}}}})
    site.kubectl("patch", "deployment", MESSENGER, "--type=strategic", "-p", patch)
    site.wait_ready()


def test_what_ends_soon_is_found_and_the_servers_own_is_seen(place: Place) -> None:
    found = place.check()
    by_name = {one["name"]: one for one in found["certificates"]}
    assert by_name[f"Secret/{place.site.namespace}/{SECRET}"]["hosts"] == ["g3zkp.example"]
    assert by_name["the API server"]["ends"] is not None
    (finding,) = [one for one in found["findings"] if SECRET in one["object"]]
    assert (finding["check"], finding["severity"]) == ("certificate-expiry", "high")
    assert found["renewals"][0]["how"].startswith("no Certificate of cert-manager makes Secret web-tls")
    assert "BEGIN" not in repr(found)


def test_a_renewed_certificate_is_one_restart_in_a_window_or_by_force(place: Place) -> None:
    place.check()
    revision = place.revision()
    assert place.roll_out()["workloads"] == []
    place.put(days=90)
    with pytest.raises(OutsideWindow):
        place.roll_out()
    assert place.revision() == revision
    done = place.roll_out(force=True, reason="a test")
    assert (done["workloads"], done["secrets"]) == ([MESSENGER], [SECRET])
    assert place.revision() == revision + 1
    place.site.wait_ready()
    assert place.roll_out()["workloads"] == []
    assert place.revision() == revision + 1
