"""Handshakes with a real TLS server, by name."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from g3zkp_maint.certificates.endpoint import Endpoint
from g3zkp_maint.certificates.handshake import shake
from g3zkp_maint.errors import BadInput, CertificateUnreadable, SettingsError
from g3zkp_maint.testing.authority import Issued, issue, root

pytestmark = pytest.mark.integration

ROOT = root()
MIDDLE = issue("Middle", by=ROOT)


def _context(folder: Path, *chain: Issued) -> ssl.SSLContext:
    file = folder / "server.pem"
    file.touch(0o600)
    file.write_bytes(chain[0].key_pem + b"".join(one.pem for one in chain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@contextmanager
def _serving(context: ssl.SSLContext) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    plain, _ = listening.accept()
                except OSError:  # the test is over
                    return
                try:
                    context.wrap_socket(plain, server_side=True).close()
                except OSError:  # a client that does not trust it hangs up
                    plain.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listening.getsockname()[1])
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.fixture
def ca_file(tmp_path: Path) -> str:
    file = tmp_path / "ca.pem"
    file.write_bytes(ROOT.pem)
    return str(file)


def test_a_server_is_seen_and_trusted_by_the_name_that_is_asked_for(tmp_path: Path, ca_file: str) -> None:
    own = issue("web", by=MIDDLE, hosts=("g3zkp.example",))
    with _serving(_context(tmp_path, own, MIDDLE)) as port:
        seen = shake(Endpoint("127.0.0.1", port, "g3zkp.example"), ca_file=ca_file, seconds=5)
        other = shake(Endpoint("127.0.0.1", port, "other.example"), ca_file=ca_file, seconds=5)
    assert (seen.own.hosts, seen.distrust) == (("g3zkp.example",), "")
    assert "Hostname mismatch" in other.distrust


def test_each_name_has_the_certificate_that_the_server_has_for_it(tmp_path: Path, ca_file: str) -> None:
    (tmp_path / "b").mkdir()
    second = _context(tmp_path / "b", issue("b", by=ROOT, hosts=("b.example",)))
    first = _context(tmp_path, issue("a", by=ROOT, hosts=("a.example",)))

    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        if name == "b.example":
            connection.context = second

    first.sni_callback = choose
    with _serving(first) as port:
        for name in ("a.example", "b.example"):
            seen = shake(Endpoint("127.0.0.1", port, name), ca_file=ca_file, seconds=5)
            assert (seen.own.hosts, seen.distrust) == ((name,), "")


def test_a_server_that_leaves_out_what_signs_its_certificate_is_seen_and_not_trusted(
    tmp_path: Path, ca_file: str
) -> None:
    with _serving(_context(tmp_path, issue("web", by=MIDDLE, hosts=("g3zkp.example",)))) as port:
        seen = shake(Endpoint("127.0.0.1", port, "g3zkp.example"), ca_file=ca_file, seconds=5)
    assert "unable to get local issuer certificate" in seen.distrust


def test_a_certificate_that_has_ended_is_seen_all_the_same(tmp_path: Path, ca_file: str) -> None:
    with _serving(_context(tmp_path, issue("web", by=ROOT, hosts=("g3zkp.example",), days=-2))) as port:
        seen = shake(Endpoint("127.0.0.1", port, "g3zkp.example"), ca_file=ca_file, seconds=5)
    assert "expired" in seen.distrust


def test_what_speaks_no_tls_and_what_is_not_there_say_so(ca_file: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        threading.Thread(target=lambda: listening.accept()[0].sendall(b"SSH-2.0\r\n" * 4), daemon=True).start()
        with pytest.raises(CertificateUnreadable, match="no handshake"):
            shake(Endpoint("127.0.0.1", port, "x"), ca_file=ca_file, seconds=5)
    with pytest.raises(CertificateUnreadable, match="refused"):
        shake(Endpoint("127.0.0.1", port, "x"), ca_file=ca_file, seconds=5)


def test_a_name_that_no_host_can_have_is_no_handshake(ca_file: str) -> None:
    with pytest.raises(CertificateUnreadable, match="no handshake"):
        shake(Endpoint("a..example", 443, "a..example"), ca_file=ca_file, seconds=5)


def test_a_file_without_authorities_is_a_wrong_setting(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    for file in (empty, tmp_path / "gone.pem"):
        with pytest.raises(SettingsError, match=file.name):
            shake(Endpoint("127.0.0.1", 1, "x"), ca_file=str(file), seconds=5)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("g3zkp.example", Endpoint("g3zkp.example", 443, "g3zkp.example")),
        ("g3zkp.example:8443", Endpoint("g3zkp.example", 8443, "g3zkp.example")),
        ("g3zkp.example=10.0.0.1:443", Endpoint("10.0.0.1", 443, "g3zkp.example")),
        ("[::1]:443", Endpoint("::1", 443, "::1")),
        ("[::1]", Endpoint("::1", 443, "::1")),
        ("g3zkp.example=[::1]", Endpoint("::1", 443, "g3zkp.example")),
    ],
)
def test_endpoints_are_written_as_people_write_them(text: str, endpoint: Endpoint) -> None:
    assert Endpoint.parse(text) == endpoint


@pytest.mark.parametrize("text", ["", ":443", "host:", "host:0", "host:70000", "host:https", "::1", "[::1"])
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="no endpoint"):
        Endpoint.parse(text)
