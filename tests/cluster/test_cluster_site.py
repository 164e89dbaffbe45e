"""That the messenger of the cluster tests is there as the real one is: what every other cluster test rests on."""

from __future__ import annotations

import json

import pytest
import redis

from g3zkp_maint.health.check import check
from g3zkp_maint.testing.cluster_site import ClusterSite

pytestmark = pytest.mark.cluster


def test_the_messenger_of_the_cluster_is_healthy_and_works_with_the_keys_of_its_secret(
    cluster_site: ClusterSite,
) -> None:
    assert check(cluster_site.messenger_url).is_healthy
    assert len(cluster_site.pods()) == 3
    named = cluster_site.kubectl.get("secret", "g3zkp-keys")["data"]
    assert sorted(named) == ["encryption-key", "identity-key", "session-key", "signing-key"]


def test_a_touch_of_the_bystander_shows(cluster_site: ClusterSite) -> None:
    """Every site compares it with what it was, when it is removed."""
    before, kubectl = cluster_site.bystander(), cluster_site.kubectl
    assert cluster_site.bystander() == before
    kubectl("rollout", "pause", "deployment/bystander")
    assert cluster_site.bystander() != before
    kubectl("rollout", "resume", "deployment/bystander")
    secret = kubectl.get("secret/bystander")["data"]["token"]
    kubectl("patch", "secret/bystander", "-p", '{"data": {"token": "b3RoZXI="}}')
    assert cluster_site.bystander() != before
    kubectl("patch", "secret/bystander", "-p", json.dumps({"data": {"token": secret}}))
    assert cluster_site.bystander() == before


def test_its_pods_are_not_root_and_its_redis_asks_for_a_password(cluster_site: ClusterSite) -> None:
    assert cluster_site.exec("id", "-u") == b"1001\n"
    with redis.Redis.from_url(cluster_site.redis_url) as client:
        assert client.ping()
    with redis.Redis(*cluster_site.redis_address.split(":")) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
