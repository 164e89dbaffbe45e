"""As much of a Kubernetes API as certificates need, with one Certificate of cert-manager: over HTTP, in this process.

The clusters that the other tests use serve no custom resources. What is asked of this one is checked as a real server
does it: a status is replaced only under its resourceVersion.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

from g3zkp_maint.testing.authority import Issued

_CERTS = "/apis/cert-manager.io/v1"
_ONE = f"{_CERTS}/namespaces/g3zkp/certificates/web-cert"

_PROXY = {
    "metadata": {"name": "proxy"},
    "spec": {"template": {"spec": {"volumes": [{"name": "tls", "secret": {"secretName": "web-tls"}}]}}},
}


@dataclass
class ClusterApi:
    """`issues` is called once for each renewal that is asked for: what it returns is the Secret's new content, None where
    cert-manager makes none. `conflicts` more writes are refused; all are where they are `denied`. A Deployment that is not
    the product's mounts the Secret."""

    current: Issued
    issues: Callable[[], Issued | None]
    port: int = 0
    conflicts: int = 0
    denied: bool = False
    asked: int = 0
    version: int = 1
    conditions: list[dict[str, Any]] = field(default_factory=list)

    def kubeconfig(self) -> str:
        cluster = {"server": f"http://127.0.0.1:{self.port}"}
        return yaml.safe_dump(
            {
                "clusters": [{"name": "c", "cluster": cluster}],
                "users": [{"name": "u", "user": {}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )

    def answer(self, path: str) -> dict[str, Any] | None:
        if path == "/api/v1":
            return {"resources": [_resource("secrets", "Secret")]}
        if path == "/api":
            return {"versions": ["v1"]}
        if path == "/apis":
            version = {"groupVersion": "cert-manager.io/v1", "version": "v1"}
            apps = {"groupVersion": "apps/v1", "version": "v1"}
            return {
                "groups": [
                    {"name": "cert-manager.io", "versions": [version], "preferredVersion": version},
                    {"name": "apps", "versions": [apps], "preferredVersion": apps},
                ]
            }
        if path == "/apis/apps/v1":
            return {"resources": [_resource("deployments", "Deployment")]}
        if path == "/apis/apps/v1/namespaces/g3zkp/deployments":
            return {"metadata": {}, "items": [_PROXY]}
        if path == _CERTS:
            return {"resources": [_resource("certificates", "Certificate")]}
        if path == "/api/v1/namespaces/g3zkp/secrets":
            return {"metadata": {}, "items": [self._secret()]}
        if path == f"{_CERTS}/namespaces/g3zkp/certificates":
            return {"metadata": {}, "items": [self._certificate()]}
        return self._certificate() if path == _ONE else None

    def put(self, path: str, body: dict[str, Any]) -> int:
        if path != f"{_ONE}/status":
            return 404
        if self.denied:
            return 403
        if self.conflicts or body["metadata"]["resourceVersion"] != str(self.version):
            self.conflicts = max(0, self.conflicts - 1)
            return 409
        self.conditions = body["status"]["conditions"]
        self.version += 1
        if [one for one in self.conditions if (one["type"], one["status"]) == ("Issuing", "True")]:
            self.asked += 1
            made = self.issues()
            if made is not None:
                self.current = made
                self.conditions = [one for one in self.conditions if one["type"] != "Issuing"]
        return 200

    def _secret(self) -> dict[str, Any]:
        data = {"tls.crt": self.current.pem, "tls.key": self.current.key_pem}
        return {
            "metadata": {"name": "web-tls", "annotations": {"cert-manager.io/certificate-name": "web-cert"}},
            "type": "kubernetes.io/tls",
            "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
        }

    def _certificate(self) -> dict[str, Any]:
        return {
            "apiVersion": "cert-manager.io/v1",
            "kind": "Certificate",
            "metadata": {"name": "web-cert", "resourceVersion": str(self.version), "generation": 2},
            "spec": {"secretName": "web-tls"},
            "status": {"conditions": self.conditions},
        }


def _resource(name: str, kind: str) -> dict[str, Any]:
    return {"name": name, "kind": kind, "namespaced": True, "verbs": ["list", "get", "patch"]}


@contextmanager
def serving(api: ClusterApi) -> Iterator[ClusterApi]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = api.answer(self.path.partition("?")[0])
            self._say(404 if found is None else 200, found or {"kind": "Status", "message": f"no {self.path}"})

        def do_PUT(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status = api.put(self.path, body)
            self._say(status, body if status == 200 else {"kind": "Status", "message": "refused"})

        def _say(self, status: int, document: dict[str, Any]) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    api.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield api
    server.shutdown()
    server.server_close()
