"""Notices by a real webhook, a real mail server and a real Valkey: once each, whoever sends them, and no URL in what goes wrong."""

from __future__ import annotations

import logging
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest
import redis
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from pydantic import SecretStr

from g3zkp_maint.coordination import connect
from g3zkp_maint.coordination.notice_claims import NoticeClaims
from g3zkp_maint.errors import BadInput, NoticeNotSent, SettingsError
from g3zkp_maint.notices import Notice, Notices, Severity
from g3zkp_maint.notices.services import read_urls, services_of
from g3zkp_maint.testing.authority import issue, root
from g3zkp_maint.testing.prometheus import free_port
from g3zkp_maint.testing.webhook import Webhook, running_webhook

pytestmark = pytest.mark.integration

AT = datetime(2026, 3, 2, 3, 5, tzinfo=UTC)
DOWN = Notice("health:down:1", "The messenger is down", "/health: no answer\nsince 03:05Z", Severity.FAILURE, AT)
TOKEN = "t0p-secret-token"


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with running_webhook(TOKEN) as found:
        yield found


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    found = connect(redis_url)
    yield found
    found.close()


def notices(client: redis.Redis, *urls: SecretStr, seconds: float = 60) -> Notices:
    return Notices(services_of(urls), NoticeClaims(client, keep_days=1, seconds=seconds))


def test_a_notice_comes_with_its_title_text_and_severity(webhook: Webhook, client: redis.Redis) -> None:
    assert notices(client, webhook.url("maintenance")).send_once(DOWN).sent == ("1-json",)
    ((path, posted),) = webhook.posted
    assert path == "/maintenance"
    assert (posted["title"], posted["message"], posted["type"]) == (DOWN.title, DOWN.body, "failure")


def test_a_notice_comes_once_from_however_many_processes(webhook: Webhook, client: redis.Redis) -> None:
    assert notices(client, webhook.url()).send_once(DOWN).sent == ("1-json",)
    assert notices(client, webhook.url()).send_once(DOWN).already == ("1-json",)
    assert len(webhook.posted) == 1


def test_one_service_that_fails_keeps_no_other_from_it_and_gets_it_later(webhook: Webhook, client: redis.Redis) -> None:
    with running_webhook() as broken:
        broken.status = 500
        both = (broken.url(), webhook.url())
        with pytest.raises(NoticeNotSent, match="1-json"):
            notices(client, *both).send_once(DOWN)
        assert len(webhook.posted) == 1
        broken.status = 200
        broken.posted.clear()
        found = notices(client, *both).send_once(DOWN)
        assert (found.sent, found.already) == (("1-json",), ("2-json",))
        assert (broken.titles(), webhook.titles()) == ([DOWN.title], [DOWN.title])


_SENDER = """
import sys, time
from datetime import UTC, datetime
from pydantic import SecretStr
from g3zkp_maint.coordination import connect
from g3zkp_maint.coordination.notice_claims import NoticeClaims
from g3zkp_maint.notices import Notice, Notices, Severity

class Hangs:
    name = "1-json"
    def send(self, notice):
        print("sending", flush=True)
        time.sleep(100)

claims = NoticeClaims(connect(sys.argv[1]), keep_days=1, seconds=float(sys.argv[2]))
notice = Notice("health:down:1", "x", "y", Severity.INFO, datetime.now(UTC))
Notices([Hangs()], claims).send_once(notice, at_most_once=sys.argv[3] == "most")
"""


@pytest.mark.parametrize(("promise", "seconds"), [("least", 2), ("most", 60)])
def test_killed_while_it_sends_it_is_sent_again_or_never_as_was_asked(
    webhook: Webhook, client: redis.Redis, redis_url: str, promise: str, seconds: float
) -> None:
    argv = [sys.executable, "-c", _SENDER, redis_url, str(seconds), promise]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as sender:
        assert sender.stdout is not None
        assert sender.stdout.readline() == "sending\n"
        again = notices(client, webhook.url())
        if promise == "least":
            with pytest.raises(NoticeNotSent, match="just being sent"):
                again.send_once(DOWN)
        sender.kill()
    if promise == "most":
        assert again.send_once(DOWN, at_most_once=True).already == ("1-json",)
        return
    until = threading.Event()
    for _ in range(200):
        try:
            assert again.send_once(DOWN).sent == ("1-json",)
            break
        except NoticeNotSent:
            until.wait(0.05)
    assert len(webhook.posted) == 1


@pytest.mark.parametrize("url", [f"nosuch://{TOKEN}@host", f"{TOKEN}", f"json://:{TOKEN}@"])
def test_a_url_that_is_none_is_named_by_its_place_and_not_shown(
    client: redis.Redis, url: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises((SettingsError, NoticeNotSent)) as refused:
        notices(client, SecretStr(url)).send_once(DOWN)
    assert "number 1-" in str(refused.value)
    _assert_hidden(str(refused.value), caplog, capfd)


def test_no_secret_of_a_url_is_shown_when_a_service_is_away(
    client: redis.Redis, webhook: Webhook, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    notices(client, webhook.url(TOKEN)).send_once(DOWN)
    gone = SecretStr(f"json://user:{TOKEN}@127.0.0.1:1/{TOKEN}")
    with pytest.raises(NoticeNotSent) as failed:
        notices(client, webhook.url(), gone).send_once(DOWN)
    _assert_hidden(str(failed.value), caplog, capfd)
    assert all(TOKEN not in name for name in client.keys("*"))


def _assert_hidden(text: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    output = capfd.readouterr()
    assert TOKEN not in text + caplog.text + output.out + output.err


def test_urls_come_from_a_file_with_comments(tmp_path: Path) -> None:
    path = tmp_path / "urls"
    path.write_text("# who is told\n\njson://one\n  mailto://two  \n")
    assert [one.get_secret_value() for one in read_urls(path)] == ["json://one", "mailto://two"]
    with pytest.raises(SettingsError, match="urls_file"):
        read_urls(tmp_path / "missing")


@pytest.mark.parametrize(("key", "title"), [("with blank", "x"), ("", "x"), ("key", ""), ("key", "two\nlines")])
def test_a_notice_that_is_none_is_refused(key: str, title: str) -> None:
    with pytest.raises(BadInput):
        Notice(key, title, "", Severity.INFO, AT)


# -- by mail -------------------------------------------------------------------------------------------------------------


class Mailbox:
    """What a mail server has taken, each as its recipients and the message."""

    def __init__(self) -> None:
        self.taken: list[tuple[list[str], EmailMessage]] = []

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        message = message_from_bytes(envelope.original_content or b"", policy=policy.default)
        self.taken.append((envelope.rcpt_tos, message))
        return "250 OK"


@pytest.fixture
def mail_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, Mailbox]]:
    """Its port. It takes mail by STARTTLS alone, of one user with the password TOKEN; its authority is believed."""
    authority = root()
    leaf = issue("mail", by=authority, hosts=("localhost",))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    files = {"chain.pem": leaf.pem + leaf.key_pem, "authorities.pem": authority.pem}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    tls.load_cert_chain(tmp_path / "chain.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authorities.pem"))

    def known(
        _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, login: LoginPassword
    ) -> AuthResult:
        return AuthResult(success=login == LoginPassword(b"maintenance", TOKEN.encode()), handled=False)

    mailbox = Mailbox()
    controller = Controller(
        mailbox,
        hostname="127.0.0.1",
        port=free_port(),
        tls_context=tls,
        require_starttls=True,
        authenticator=known,
        auth_required=True,
        ready_timeout=30,
    )
    controller.start()
    yield controller.port, mailbox
    controller.stop()


def test_a_notice_comes_by_mail_over_tls_with_a_login(
    client: redis.Redis,
    mail_server: tuple[int, Mailbox],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG, "apprise")
    port, mailbox = mail_server
    to = "to=oncall@example.org&from=maintenance@example.org"
    with pytest.raises(NoticeNotSent, match="number 1-mailtos"):
        notices(client, SecretStr(f"mailtos://maintenance:wrong-{TOKEN}@localhost:{port}?{to}")).send_once(DOWN)
    assert mailbox.taken == []
    url = SecretStr(f"mailtos://maintenance:{TOKEN}@localhost:{port}?{to}")
    assert notices(client, url).send_once(DOWN).sent == ("1-mailtos",)
    ((recipients, message),) = mailbox.taken
    assert recipients == ["oncall@example.org"]
    assert message["subject"] == DOWN.title
    text = message.get_body(("plain", "html"))
    assert text is not None
    assert all(line in text.get_content() for line in DOWN.body.splitlines())
    _assert_hidden("", caplog, capfd)
