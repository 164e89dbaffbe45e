"""The beginning of a command in a pod, with the TLS, proxy and credentials of the client's configuration."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import urlencode, urlsplit

import structlog
import websocket
from kubernetes.client.rest import should_bypass_proxies
from websocket import WebSocketBadStatusException, WebSocketException

from g3zkp_maint.errors import PlatformError, PlatformUnavailable, UnknownWorkload
from g3zkp_maint.platforms.kubernetes_channels import Channels
from g3zkp_maint.platforms.kubernetes_client import KubernetesClient, unreachable
from g3zkp_maint.platforms.kubernetes_refusal import refusal
from g3zkp_maint.platforms.kubernetes_spdy import SPDY, SPDY_STREAMS, SpdyChannels
from g3zkp_maint.platforms.kubernetes_websocket import V4, V5, WebSocketChannels

#: Kubernetes 1.30: there the API server translates v5 by default, and a client can end stdin.
_FIRST_WITH_V5 = 30

_log = structlog.get_logger(__name__)

#: A peer that vanishes without a word is noticed by the kernel within about a minute and a half.
_KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (
            ("TCP_KEEPIDLE", 30),
            ("TCP_KEEPINTVL", 10),
            ("TCP_KEEPCNT", 6),
            ("TCP_USER_TIMEOUT", 90_000),
        )
        if hasattr(socket, name)
    ),
)


def open_channels(
    client: KubernetesClient, pod: str, command: Sequence[str], *, has_input: bool, container: str | None = None
) -> Channels:
    """Starts `command` in a container of `pod`, the first where none is named: by a WebSocket since Kubernetes 1.30, before
    it by SPDY, and by the other where something in between lets the one not through. Raises PlatformDenied,
    PlatformUnavailable (a pod that is gone, too), SettingsError, PlatformError (also where what answers does not speak the
    protocol)."""
    path = client.path("pods", pod, "exec")
    query = [("stdout", "true"), ("stderr", "true")] + ([("stdin", "true")] if has_input else [])
    query += [("container", container)] if container else []
    query += [("command", word) for word in command]
    is_current = _has_v5(client)
    if not is_current and (channels := _spdy(client, path, query, has_input)):
        return channels
    try:
        return _websocket(client, path, query)
    except _NotSwitched:
        if is_current and (channels := _spdy(client, path, query, has_input)):
            return channels
        raise


class _NotSwitched(PlatformError):
    """Raised where a WebSocket was asked for and something else answered: no command was started."""


def _has_v5(client: KubernetesClient) -> bool:
    try:
        return client.minor_version >= _FIRST_WITH_V5
    except PlatformUnavailable:
        raise
    except PlatformError:
        # It is not told to everyone everywhere; then it is taken for a current one.
        return True


def _spdy(
    client: KubernetesClient, path: str, query: Sequence[tuple[str, str]], has_input: bool
) -> SpdyChannels | None:
    """None where the server, or something in between, does not switch to it. A command starts when its streams are open, so
    none has been started then, and a WebSocket may be tried, which is told why."""
    try:
        sock = client.upgraded(path, query, {"upgrade": SPDY, "x-stream-protocol-version": SPDY_STREAMS})
    except PlatformUnavailable:
        sock = None
    if sock is None:
        _log.info("exec_without_spdy", server=client.server)
        return None
    try:
        for level, name, value in _KEEPALIVE:
            sock.setsockopt(level, name, value)
        return SpdyChannels(sock, has_input=has_input)
    except OSError as error:
        sock.close()
        raise unreachable(client.server, error) from error


def _websocket(client: KubernetesClient, path: str, query: Sequence[tuple[str, str]]) -> WebSocketChannels:
    url = f"{client.server}{path}?{urlencode(query)}".replace("http", "ws", 1)
    try:
        connection = websocket.create_connection(
            url,
            timeout=client.timeout_seconds,
            header=[f"{name}: {value}" for name, value in client.authorization().items()],
            subprotocols=[V5, V4],
            suppress_origin=True,
            sockopt=_KEEPALIVE,
            sslopt=_tls(client.configuration),
            redirect_limit=0,
            **_proxy(client.configuration),
        )
    except WebSocketBadStatusException as error:
        raise _refused(client.server, error, path) from error
    except (WebSocketException, OSError) as error:
        # The base class itself is the library's word for an answer that is no WebSocket's, or of another protocol.
        meant = _foreign if type(error) is WebSocketException else unreachable
        raise meant(client.server, error) from error
    return WebSocketChannels(cast("socket.socket", connection.sock), str(connection.subprotocol))


def _foreign(server: str, error: Exception) -> PlatformError:
    return PlatformError(
        f"{server} did not open a WebSocket of protocol {V5} or {V4} ({error}): something in between does not let them through"
    )


def _refused(server: str, error: WebSocketBadStatusException, path: str) -> Exception:
    meant = refusal(error.status_code, error.resp_body, method="GET", path=path)
    if error.status_code == HTTPStatus.BAD_REQUEST and "upgrade" in str(meant).lower():
        # What the API server says to a request that something in between took the wish out of.
        return _NotSwitched(str(_foreign(server, meant)))
    if isinstance(meant, UnknownWorkload):
        # It was there a moment ago: pods come and go.
        return PlatformUnavailable(f"the pod is gone: {meant}")
    return meant


def _tls(configuration: Any) -> dict[str, Any]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif configuration.ssl_ca_cert:
        context.load_verify_locations(configuration.ssl_ca_cert)
    else:
        context.load_default_certs()
    if configuration.assert_hostname is False:
        context.check_hostname = False
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    named = {"server_hostname": configuration.tls_server_name} if configuration.tls_server_name else {}
    return {"context": context, **named}


def _proxy(configuration: Any) -> dict[str, Any]:
    """The configuration's alone: the environment has had its say in it."""
    if not configuration.proxy or should_bypass_proxies(configuration.host, configuration.no_proxy or ""):
        return {"http_no_proxy": ["*"]}
    proxy = urlsplit(configuration.proxy)
    account = (proxy.username, proxy.password or "") if proxy.username else None
    return {
        "http_proxy_host": proxy.hostname,
        "http_proxy_port": proxy.port,
        "http_proxy_auth": account,
        "http_no_proxy": [""],
    }
