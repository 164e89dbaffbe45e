"""How the API server is reached: configuration by the official client, requests as plain JSON, errors in our words.

The official client gives what is hard to get right: kubeconfig with contexts, exec plugins and certificates, the
ServiceAccount of a pod with its token that changes, TLS and proxies. Its models are left out: what is backed up and
restored must be the object as the server wrote it, and kinds that the client has no model for as well.

Only reads are tried again, since only they are harmless when the first try was carried out and its answer lost.
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import urllib3
import yaml
from kubernetes.client import Configuration
from kubernetes.client.rest import RESTClientObject
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config
from urllib3.exceptions import HTTPError, LocationValueError, SSLError

from g3zkp_maint.errors import PlatformError, PlatformUnavailable, SettingsError
from g3zkp_maint.platforms.kubernetes_refusal import refusal

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"

_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_PAGE = 500
_READ_TRIES = 4
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
_PASSING = frozenset({429, 500, 502, 503, 504})

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Access:
    """Where the API server is found. `in_cluster` None: by the pod's ServiceAccount where there is one and neither
    `kubeconfig` nor KUBECONFIG names a file."""

    kubeconfig: Path | None = None
    context: str | None = None
    in_cluster: bool | None = None
    request_seconds: float = 30.0

    def configuration(self) -> Configuration:
        """Raises SettingsError for a file that is missing, malformed, or lacks the context."""
        configuration = Configuration()
        source = "the pod's ServiceAccount" if self._is_in_cluster() else self._shown()
        try:
            if self._is_in_cluster():
                load_incluster_config(configuration)  # type: ignore[no-untyped-call]
            else:
                # Named here: the client looks at KUBECONFIG once, when it is imported.
                file = str(self.kubeconfig) if self.kubeconfig else os.environ.get("KUBECONFIG")
                load_kube_config(file, self.context, configuration)  # type: ignore[no-untyped-call]
        # The client raises these and, for files that lack a field, whatever comes.
        except (ConfigException, yaml.YAMLError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise SettingsError(
                f"no cluster can be reached by {source}: {error}; see platform.kubernetes.kubeconfig and context"
            ) from error
        return configuration

    def _is_in_cluster(self) -> bool:
        if self.in_cluster is not None:
            return self.in_cluster
        named = self.kubeconfig is not None or self.context is not None or bool(os.environ.get("KUBECONFIG"))
        return not named and "KUBERNETES_SERVICE_HOST" in os.environ and _TOKEN.is_file()

    def _shown(self) -> str:
        file = self.kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
        return f"{file} (context {self.context or 'current'})"


class KubernetesClient:
    """Requests to one API server, about one namespace. Safe to use from several threads, not over a fork."""

    def __init__(self, access: Access, namespace: str) -> None:
        self.namespace = namespace
        self.configuration = access.configuration()
        self.timeout_seconds = access.request_seconds
        self._pool = RESTClientObject(self.configuration).pool_manager
        self._minor_version: int | None = None

    @property
    def server(self) -> str:
        """Its address, as in the configuration."""
        return str(self.configuration.host).rstrip("/")

    def path(self, resource: str, *names: str, api: str = "v1") -> str:
        """The path of a namespaced collection, or of an object and its subresource: `path("pods", pod, "exec")`.
        `api` is the API version, as in an object's `apiVersion`."""
        root = f"/api/{api}" if "/" not in api else f"/apis/{api}"
        return "/".join(
            [root, "namespaces", quote(self.namespace, safe=""), resource, *(quote(n, safe="") for n in names)]
        )

    def authorization(self) -> dict[str, str]:
        """The headers that say who asks; a token that has changed on disk is read anew. Raises SettingsError."""
        settings: Iterable[Any] = self.configuration.auth_settings().values()
        headers = {one["key"]: one["value"] for one in settings if one["in"] == "header" and one["value"]}
        if not all(value.isprintable() for value in headers.values()):
            # Said here: what sends it would quote it.
            raise SettingsError(f"the token for {self.server} has a line break or worse in it: write it anew, without")
        return headers

    @property
    def minor_version(self) -> int:
        """Of the API server, as 30 for Kubernetes 1.30; asked for once. Raises as `request`."""
        if self._minor_version is None:
            # Its field `minor` is empty in builds of some providers; in this one they put words behind the number.
            found = re.match(r"v1\.(\d+)", str(self.request("GET", "/version").get("gitVersion")))
            if found is None:
                raise PlatformError(f"{self.server} does not tell which version of Kubernetes it is")
            self._minor_version = int(found[1])
        return self._minor_version

    # -- requests ------------------------------------------------------------------------------------------------------

    def get(self, path: str, query: Sequence[tuple[str, str]] = ()) -> Object:
        """Tried again for a few seconds while the server is not there. Raises as `request`."""
        pause = _FIRST_PAUSE_SECONDS
        for _ in range(_READ_TRIES - 1):
            try:
                return self.request("GET", path, query=query)
            except PlatformUnavailable as error:
                time.sleep(min(max(pause, error.retry_after_seconds), _LONGEST_PAUSE_SECONDS))
                pause *= 3
        return self.request("GET", path, query=query)

    def list(self, path: str, *, selector: str | None = None) -> list[Object]:
        """All items, page by page. Raises as `request`."""
        query = [("limit", str(_PAGE))] + ([("labelSelector", selector)] if selector else [])
        page = self.get(path, query)
        items: list[Object] = page["items"]
        while token := page["metadata"].get("continue"):
            page = self.get(path, [*query, ("continue", token)])
            items += page["items"]
        return items

    def create(self, path: str, body: Mapping[str, Any], *, dry_run: bool = False) -> Object:
        return self.request("POST", path, body=body, query=[("dryRun", "All")] if dry_run else [])

    def merge_patch(self, path: str, body: Mapping[str, Any]) -> Object:
        return self.request("PATCH", path, body=body, content_type=MERGE_PATCH)

    def json_patch(self, path: str, steps: Sequence[Mapping[str, Any]]) -> Object:
        return self.request("PATCH", path, body=steps, content_type=JSON_PATCH)

    def delete(self, path: str, *, uid: str, grace_seconds: int) -> Object:
        """Asks for the removal of this very object. Raises Conflict where another has taken its name."""
        body = {"gracePeriodSeconds": grace_seconds, "preconditions": {"uid": uid}}
        return self.request("DELETE", path, body=body)

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | Sequence[Any] | None = None,
        query: Sequence[tuple[str, str]] = (),
        content_type: str = "application/json",
    ) -> Object:
        """One request, tried once: the JSON of the answer.

        Raises PlatformDenied (401, 403), UnknownWorkload (404), Conflict (409), PlatformUnavailable (not reached, 429,
        5xx), SettingsError (a certificate that is not trusted), else PlatformError.
        """
        headers = {"accept": "application/json", "content-type": content_type}
        answer = self._answer(method, path, query, headers, body=None if body is None else json.dumps(body).encode())
        if answer.status >= 300:
            raise refusal(answer.status, answer.data, method=method, path=path, retry_after=_retry_after(answer))
        try:
            document = json.loads(answer.data)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise PlatformError(
                f"{self.server} answers {method} {path} with what is no object of an API: is it the address of an API server?"
            )
        return document

    def upgraded(self, path: str, query: Sequence[tuple[str, str]], agreed: Mapping[str, str]) -> socket.socket | None:
        """A connection on which the server has switched to another protocol, to be closed by the caller. `agreed` are the
        headers that ask for it, which the server must answer with; None where it does not, or where a proxy's own TLS is
        around the connection. The client must be the first to speak on it. Raises PlatformUnavailable and SettingsError
        where the server is not reached."""
        answer = self._answer("POST", path, query, {"connection": "Upgrade", **agreed}, preload_content=False)
        try:
            is_agreed = all(answer.headers.get(name, "").lower() == value.lower() for name, value in agreed.items())
            if answer.status != HTTPStatus.SWITCHING_PROTOCOLS or not is_agreed:
                return None
            if not isinstance(answer.connection.sock, socket.socket):
                return None
            # Taken out of its connection, which otherwise ends it together with the answer.
            sock, answer.connection.sock = answer.connection.sock, None
            return sock
        finally:
            answer.close()

    def _answer(
        self, method: str, path: str, query: Sequence[tuple[str, str]], headers: Mapping[str, str], **options: Any
    ) -> Any:
        url = f"{self.server}{path}" + (f"?{urlencode(query)}" if query else "")
        asking = {**headers, **self.authorization()}
        try:
            return self._pool.request(
                method, url, headers=asking, timeout=self._timeout(), retries=False, redirect=False, **options
            )
        except (HTTPError, OSError) as error:
            raise unreachable(self.server, error) from error

    def _timeout(self) -> urllib3.Timeout:
        return urllib3.Timeout(connect=min(10.0, self.timeout_seconds), read=self.timeout_seconds)


def unreachable(server: str, error: Exception) -> PlatformUnavailable | SettingsError:
    """What it means that a connection failed."""
    text = str(error)
    if isinstance(error, LocationValueError):
        return SettingsError(f"{server!r} is no address of an API server: {text}; see the kubeconfig")
    if isinstance(error, SSLError | OSError) and "CERTIFICATE_VERIFY_FAILED" in text:
        return SettingsError(
            f"the certificate of {server} is not trusted: {text}; see certificate-authority in the kubeconfig"
        )
    return PlatformUnavailable(f"the API server {server} cannot be reached: {text}")


def _retry_after(answer: Any) -> float | None:
    """The server's own wish, in seconds. Other statuses than these carry none that counts."""
    value = answer.headers.get("retry-after", "")
    return float(value) if answer.status in _PASSING and value.isdigit() else None
