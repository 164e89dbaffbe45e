"""Renewals by cert-manager, as the monthly look has them made."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from cluster_api import ClusterApi, serving

from g3zkp_maint.bootstrap import Services
from g3zkp_maint.coordination.occasion import Occasion
from g3zkp_maint.errors import Conflict, PlatformDenied, RenewalFailed
from g3zkp_maint.operations import certificates as operations
from g3zkp_maint.testing.authority import Issued, issue, root
from g3zkp_maint.testing.backup_place import entered
from g3zkp_maint.testing.webhook import Webhook, running_webhook

pytestmark = pytest.mark.integration

ROOT = root()


def web(days: float) -> Issued:
    return issue("web", by=ROOT, hosts=("g3zkp.example",), days=days)


@contextmanager
def _services(api: ClusterApi, folder: Path, redis_url: str, **more: str) -> Iterator[Services]:
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(api.kubeconfig())
    settings = {
        "G3ZKP_REDIS__URL": redis_url,
        "G3ZKP_PLATFORM__KIND": "kubernetes",
        "G3ZKP_PLATFORM__KUBERNETES__KUBECONFIG": str(kubeconfig),
        "G3ZKP_CERTIFICATES__RENEW_SECONDS": "3",
        **more,
    }
    with entered(settings):
        services = Services()
        yield services
        services.redis.close()


def _run(services: Services, slot: str, work: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    occasion = Occasion(operations.TASK, slot, f"test:{os.getpid()}", "{}")
    found: dict[str, Any] = services.conductor.perform(occasion, work)
    return found


def _check(services: Services, slot: str) -> dict[str, Any]:
    return _run(services, slot, partial(operations.check, services, slot))


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with running_webhook() as found:
        yield found


@pytest.fixture(autouse=True)
def _clean(redis_url: str) -> Iterator[None]:
    yield
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()


def _urls(webhook: Webhook) -> dict[str, str]:
    return {"G3ZKP_NOTICES__URLS": json.dumps([webhook.url("token").get_secret_value()])}


def _certificates(found: dict[str, Any]) -> list[str]:
    """But for the server's own, which this one, speaking no TLS, lacks."""
    return [one["check"] for one in found["findings"] if one["object"] != "the API server"]


def test_what_ends_soon_is_renewed_once_and_is_no_finding_any_more(tmp_path: Path, redis_url: str) -> None:
    with serving(ClusterApi(web(10), lambda: web(90))) as api, _services(api, tmp_path, redis_url) as services:
        before = api.current
        found = _check(services, "one")
        assert (api.asked, _certificates(found), found["renewals"]) == (1, [], [])
        assert api.current is not before
        assert [
            round((end - services.clock.now().timestamp()) / 86400) for end in operations.ends(services).values()
        ] == [90]
        _check(services, "two")
        assert api.asked == 1


def test_what_a_waiver_bears_is_no_finding_and_nobody_is_told_of_it(
    tmp_path: Path, redis_url: str, webhook: Webhook
) -> None:
    file = tmp_path / "waivers.toml"
    waiver = '[[waiver]]\ncheck = "{}"\nobject = "{}"\nuntil = 2099-01-01\nreason = "a test"\n'
    file.write_text(
        waiver.format("certificate-unreadable", "the API server")
        + waiver.format("certificate-expiry", "Secret/g3zkp/web-tls")
        + waiver.format("workload-root", "Pod/g3zkp/a/app")
    )
    settings = {"G3ZKP_AUDIT__WAIVERS": str(file), "G3ZKP_CERTIFICATES__RENEW_DAYS": "1", **_urls(webhook)}
    with (
        serving(ClusterApi(web(10), lambda: web(90))) as api,
        _services(api, tmp_path, redis_url, **settings) as services,
    ):
        found = _check(services, "one")
        assert found["findings"] == []
        assert {one["check"] for one in found["waived"]} == {"certificate-unreadable", "certificate-expiry"}
        assert webhook.titles() == []


def test_one_that_lasts_is_left_alone_until_somebody_asks_for_it(tmp_path: Path, redis_url: str) -> None:
    with serving(ClusterApi(web(80), lambda: web(90))) as api, _services(api, tmp_path, redis_url) as services:
        _check(services, "one")
        assert api.asked == 0
        assert _run(services, "by-hand", partial(operations.renew, services, "web-tls"))["secret"] == "web-tls"
        assert api.asked == 1


def test_a_renewal_that_does_not_come_is_told_and_not_asked_for_twice(
    tmp_path: Path, redis_url: str, webhook: Webhook
) -> None:
    with (
        serving(ClusterApi(web(5), lambda: None)) as api,
        _services(api, tmp_path, redis_url, **_urls(webhook)) as services,
    ):
        for attempt in range(2):
            with pytest.raises(RenewalFailed, match="Secret web-tls holds no newer one"):
                _check(services, f"try-{attempt}")
        assert api.asked == 1
        assert [title for title in webhook.titles() if "web-tls" in title] == [webhook.titles()[0]]
        assert "expires in 4 days" in webhook.titles()[0]


def test_a_renewal_that_is_denied_keeps_nobody_from_being_told(
    tmp_path: Path, redis_url: str, webhook: Webhook
) -> None:
    with (
        serving(ClusterApi(web(5), lambda: None, denied=True)) as api,
        _services(api, tmp_path, redis_url, **_urls(webhook)) as services,
    ):
        with pytest.raises(PlatformDenied):
            _check(services, "one")
        assert [title for title in webhook.titles() if "web-tls" in title]
        assert operations.ends(services)


def _roll_out(services: Services, slot: str) -> dict[str, Any]:
    return _run(services, slot, partial(operations.roll_out, services, operations.RollOutRequest()))


def test_the_weekly_look_tells_what_has_come_near_its_end_since_the_monthly_one(
    tmp_path: Path, redis_url: str, webhook: Webhook
) -> None:
    with (
        serving(ClusterApi(web(90), lambda: None)) as api,
        _services(api, tmp_path, redis_url, **_urls(webhook)) as services,
    ):
        _check(services, "monthly")
        before = set(webhook.titles())
        api.current = web(6)
        for week in ("sunday", "next-sunday"):
            _roll_out(services, week)
        (told, by_hand) = [title for title in webhook.titles() if title not in before]
        assert "expires in 5 days" in told
        assert by_hand.startswith("Restart by hand")
        assert api.asked == 0
        assert [
            round((end - services.clock.now().timestamp()) / 86400) for end in operations.ends(services).values()
        ] == [6]


def test_who_is_to_restart_by_hand_is_told_by_the_next_run_where_a_notice_failed(
    tmp_path: Path, redis_url: str, webhook: Webhook
) -> None:
    nowhere = {"G3ZKP_NOTICES__URLS": '["json://127.0.0.1:9/"]'}
    with serving(ClusterApi(web(60), lambda: None)) as api:
        with _services(api, tmp_path, redis_url, **nowhere) as services:
            _roll_out(services, "before-it-was-known")
            _check(services, "monthly")
            api.current = web(90)
            assert _roll_out(services, "sunday")["others"] == ["Deployment/proxy"]
        with _services(api, tmp_path, redis_url, **_urls(webhook)) as services:
            assert _roll_out(services, "next-sunday")["others"] == ["Deployment/proxy"]
            assert _roll_out(services, "third-sunday")["others"] == []
        assert [title for title in webhook.titles() if title.startswith("Restart by hand")] == [
            "Restart by hand, for new certificates: Deployment/proxy"
        ]


def test_cert_manager_changing_it_at_the_same_time_is_a_conflict_and_nothing_is_overwritten(
    tmp_path: Path, redis_url: str
) -> None:
    with (
        serving(ClusterApi(web(5), lambda: web(90), conflicts=1)) as api,
        _services(api, tmp_path, redis_url) as services,
    ):
        with pytest.raises(Conflict):
            services.issuer.ask("web-cert")
        assert services.issuer.ask("web-cert")


def test_no_key_and_no_certificate_text_is_in_the_result_or_the_journal(tmp_path: Path, redis_url: str) -> None:
    with serving(ClusterApi(web(10), lambda: web(90))) as api, _services(api, tmp_path, redis_url) as services:
        found = repr(_check(services, "one")) + repr(list(services.journal.read()))
        assert "BEGIN" not in found
        assert not [line for line in api.current.key_pem.decode().splitlines()[1:-1] if line[:20] in found]
