"""What a helper pod is made of."""

from __future__ import annotations

from typing import Any

from g3zkp_maint.platforms.kubernetes_helper import HelperOptions, pod_of


def helper_of(container: dict[str, Any]) -> dict[str, Any]:
    spec = {"containers": [{"name": "main", "image": "of-the-workload", **container}]}
    workload = {"kind": "Deployment", "metadata": {"name": "w"}, "spec": {"template": {"metadata": {}, "spec": spec}}}
    made: dict[str, Any] = pod_of("helper", workload, "main", HelperOptions(), {})["spec"]["containers"][0]
    return made


def test_it_asks_for_what_an_instance_asks_for_and_so_fits_where_one_was() -> None:
    asked = {"requests": {"cpu": "100m"}, "limits": {"memory": "256Mi"}}
    assert helper_of({"resources": {**asked, "claims": [{"name": "of-instances"}]}})["resources"] == asked


def test_it_asks_for_nothing_where_an_instance_asks_for_nothing() -> None:
    assert helper_of({})["resources"] == {}
