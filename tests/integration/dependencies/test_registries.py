"""A real image registry (Debian's docker-registry), an npm registry and a Python index, asked over HTTP."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from g3zkp_maint.bootstrap import Services
from g3zkp_maint.coordination.occasion import Occasion
from g3zkp_maint.dependencies.image import Image, Used
from g3zkp_maint.dependencies.registries import Registries
from g3zkp_maint.dependencies.version import Change
from g3zkp_maint.errors import ExecFailed, RegistryUnavailable
from g3zkp_maint.operations import dependencies as operations
from g3zkp_maint.testing.backup_place import entered
from g3zkp_maint.testing.webhook import running_webhook

pytestmark = pytest.mark.integration

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, require_program: Any) -> Iterator[str]:
    program = require_program("docker-registry")
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    configuration = folder / "config.yml"
    configuration.write_text(
        json.dumps(
            {
                "version": 0.1,
                "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
                "http": {"addr": address},
                "log": {"level": "error"},
            }
        )
    )
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([program, "serve", configuration], stdout=log, stderr=log)
    until = time.monotonic() + 20
    while True:
        try:
            httpx.get(f"http://{address}/v2/", trust_env=False).raise_for_status()
            break
        except httpx.HTTPError:
            assert time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.05)
    yield f"http://{address}"
    server.terminate()
    server.wait(10)


def push(registry: str, name: str, tag: str, content: str) -> str:
    """An image with that content; its digest."""
    with httpx.Client(base_url=registry, trust_env=False) as client:
        descriptors = []
        for blob in (b"{}", content.encode()):
            digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
            place = client.post(f"/v2/{name}/blobs/uploads/").headers["location"]
            client.put(f"{place}&digest={digest}", content=blob).raise_for_status()
            descriptors.append({"mediaType": "application/octet-stream", "digest": digest, "size": len(blob)})
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {**descriptors[0], "mediaType": "application/vnd.oci.image.config.v1+json"},
            "layers": [{**descriptors[1], "mediaType": "application/vnd.oci.image.layer.v1.tar"}],
        }
        return put(client, name, tag, manifest, MANIFEST)


def put(client: httpx.Client, name: str, tag: str, document: dict[str, Any], kind: str) -> str:
    body = json.dumps(document)
    answer = client.put(f"/v2/{name}/manifests/{tag}", content=body, headers={"content-type": kind})
    answer.raise_for_status()
    return str(answer.headers["docker-content-digest"])


@pytest.fixture
def asked(registry: str) -> Iterator[Registries]:
    with httpx.Client(timeout=5, trust_env=False) as client:
        yield Registries(client, {"": registry})


def test_a_newer_tag_of_the_same_kind_is_a_step(registry: str, asked: Registries) -> None:
    running = push(registry, "g3zkp/messenger", "18-alpine", "a")
    push(registry, "g3zkp/messenger", "20-alpine", "b")
    push(registry, "g3zkp/messenger", "22", "c")
    image = Used(Image.parse("g3zkp/messenger:18-alpine"), ("Deployment/g3zkp/g3zkp-messenger",), frozenset({running}))
    (found,) = operations._of_image(image, asked)
    assert (found.current, found.newer, found.change) == ("18-alpine", "20-alpine", Change.MAJOR)


def test_a_tag_behind_which_another_image_stands_by_now_is_a_patch(registry: str, asked: Registries) -> None:
    former = push(registry, "library/redis", "7", "old")
    image = Used(Image.parse("redis:7"), ("StatefulSet/g3zkp/redis",), frozenset({former}))
    assert list(operations._of_image(image, asked)) == []
    push(registry, "library/redis", "7", "new")
    (found,) = operations._of_image(image, asked)
    assert (found.change, former[7:19] in found.current) == (Change.PATCH, True)


def test_a_digest_of_one_platform_of_the_tags_index_is_no_step(registry: str, asked: Registries) -> None:
    platform = push(registry, "library/multi", "1-amd64", "amd64")
    with httpx.Client(base_url=registry, trust_env=False) as client:
        size = len(client.get("/v2/library/multi/manifests/1-amd64", headers={"accept": MANIFEST}).content)
        one = {"mediaType": MANIFEST, "digest": platform, "size": size}
        put(client, "library/multi", "1", {"schemaVersion": 2, "mediaType": INDEX, "manifests": [one]}, INDEX)
    image = Used(Image.parse("multi:1"), (), frozenset({platform}))
    assert list(operations._of_image(image, asked)) == []


def test_more_tags_than_a_page_holds_are_all_seen(registry: str) -> None:
    push(registry, "library/many", "1", "x")
    with httpx.Client(base_url=registry, trust_env=False) as client:
        manifest = client.get("/v2/library/many/manifests/1", headers={"accept": MANIFEST}).json()
        for number in range(2, 24):
            put(client, "library/many", str(number), manifest, MANIFEST)
        in_pages = Registries(client, {"": registry}, page=5)
        (found,) = operations._of_image(Used(Image.parse("many:1"), (), frozenset()), in_pages)
    assert found.newer == "23"


def test_what_is_not_there_and_what_is_no_registry_say_so(asked: Registries) -> None:
    with pytest.raises(RegistryUnavailable, match="answers 404"):
        asked.tags(Image.parse("gone:1"))
    with pytest.raises(RegistryUnavailable, match="is not reached"):
        Registries(httpx.Client(), {"": "http://127.0.0.1:1"}).tags(Image.parse("x:1"))
    with pytest.raises(RegistryUnavailable, match="by its digest alone"):
        list(operations._of_image(Used(Image.parse("x@sha256:ab"), (), frozenset()), asked))
    with pytest.raises(RegistryUnavailable, match="no address for such images"):
        Registries(httpx.Client(), {}).tags(Image.parse("x:1"))


class _Packages(BaseHTTPRequestHandler):
    """As an npm registry and a simple index answer for one package each."""

    def do_GET(self) -> None:
        if self.path == "/npm/express":
            tags = {"latest": "5.1.0", "next": "6.0.0-beta.1"}
            versions = {one: {"name": "express", "version": one} for one in ("4.18.2", *tags.values())}
            self._say("application/json", {"name": "express", "dist-tags": tags, "versions": versions})
        elif self.path.startswith("/v2/library/far/"):
            self._say("application/json", {"tags": ["1"]}, link='<http://127.0.0.1:1/v2/x/tags/list>; rel="next"')
        elif self.path.startswith("/v2/library/moved/"):
            self.send_response(302)
            self.send_header("location", "http://127.0.0.1:1/")
            self.end_headers()
        elif self.path.startswith("/v2/library/list/"):
            self._say("application/json", ["no", "object"])
        elif self.path == "/simple/boto3/":
            self.send_error(404)
        elif self.path.startswith("/simple/") and "pypi.simple.v1+json" in self.headers["accept"]:
            self._say("application/vnd.pypi.simple.v1+json", {"versions": ["0.0.1", "999.0", "1000.0rc1"]})
        else:
            self.send_error(404)

    def _say(self, kind: str, document: Any, **headers: str) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Silent."""


@pytest.fixture(scope="module")
def packages() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Packages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("name", "said"),
    [("far", "sends on to another server"), ("moved", "answers 302"), ("list", "answers no JSON of a registry")],
)
def test_a_registry_leads_nowhere_else(packages: str, name: str, said: str) -> None:
    with httpx.Client(timeout=5, trust_env=False) as client, pytest.raises(RegistryUnavailable, match=said):
        Registries(client, {"": packages}).tags(Image.parse(f"{name}:1"))


def _lock(folder: Path) -> Path:
    file = folder / "package-lock.json"
    file.write_text(
        json.dumps(
            {"packages": {"": {"dependencies": {"express": "^4"}}, "node_modules/express": {"version": "4.18.2"}}}
        )
    )
    return file


#: It comes with Node; Debian's package brings five hundred others.
without_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")


class _Here:
    """A messenger whose commands run here, in a folder."""

    def __init__(self, folder: Path, registry: str) -> None:
        self._folder = folder
        self._environment = {**os.environ, "npm_config_registry": registry, "HOME": str(folder)}

    def exec(self, workload: str, argv: list[str]) -> Any:
        done = subprocess.run(
            argv, cwd=self._folder, env=self._environment, capture_output=True, check=False, timeout=60
        )
        if done.returncode:
            raise ExecFailed(f"{workload}: exit code {done.returncode}", exit_code=done.returncode)
        return SimpleNamespace(read_all=lambda: done.stdout)


def _npm_in(folder: Path, registry: str) -> tuple[list[Any], list[Any]]:
    services = Services()
    services.__dict__["platform"] = _Here(folder, registry)
    found = operations._Found()
    found.add("npm", "npm", lambda: operations._outdated(services, found))
    return found.steps, found.lacks


@without_npm
def test_npm_in_the_messenger_tells_what_is_older(packages: str, tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text(json.dumps({"name": "x", "dependencies": {"express": "^4"}}))
    own = tmp_path / "node_modules" / "express"
    own.mkdir(parents=True)
    (own / "package.json").write_text(json.dumps({"name": "express", "version": "4.18.2"}))
    steps, lacks = _npm_in(tmp_path, f"{packages}/npm")
    assert [(one.name, one.current, one.newer) for one in steps] == [("express", "4.18.2", "5.1.0")]
    assert lacks == []
    steps, lacks = _npm_in(tmp_path, "http://127.0.0.1:1")
    assert (steps, lacks[0].why[:34]) == ([], "npm in the messenger could not ask")


def test_a_package_that_is_older_in_several_places_is_told_with_each_of_its_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [
        {"current": one, "wanted": "6.14.1", "latest": "6.14.1", "dependent": "x"} for one in ("6.11.0", "6.13.0")
    ]
    told = {"qs": [*places, places[0]], "lost": {"wanted": "1.0.0", "latest": "1.0.0"}}
    npm = tmp_path / "npm"
    npm.write_text(f"#!/bin/sh\necho '{json.dumps(told)}'; exit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    steps, lacks = _npm_in(tmp_path, "http://127.0.0.1:1")
    assert [(one.name, one.current, one.newer) for one in steps] == [
        ("qs", "6.11.0", "6.14.1"),
        ("qs", "6.13.0", "6.14.1"),
    ]
    assert lacks == []


@without_npm
def test_a_messenger_without_dependencies_of_npm_has_no_steps(packages: str, tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"name": "x"}')
    assert _npm_in(tmp_path, f"{packages}/npm") == ([], [])


def test_the_monthly_look_makes_a_plan_tells_it_once_and_says_what_it_could_not_ask(
    packages: str, tmp_path: Path, redis_url: str
) -> None:
    with running_webhook() as webhook:
        settings = {
            "G3ZKP_REDIS__URL": redis_url,
            "G3ZKP_DEPENDENCIES__NPM_LOCK": str(_lock(tmp_path)),
            "G3ZKP_DEPENDENCIES__NPM_REGISTRY": f"{packages}/npm",
            "G3ZKP_DEPENDENCIES__PYTHON_INDEX": f"{packages}/simple",
            "G3ZKP_NOTICES__URLS": json.dumps([webhook.url("token").get_secret_value()]),
        }
        with entered(settings):
            services = Services()
            for _ in range(2):
                occasion = Occasion(operations.TASK, "2026-03-01T03:00Z", f"test:{os.getpid()}", "{}")
                work = partial(operations.check, services, "2026-03-01T03:00Z")
                found = services.conductor.perform(occasion, work)
            steps = {(one["kind"], one["name"]): one for one in found["steps"]}
            assert (steps["npm", "express"]["newer"], steps["npm", "express"]["window"]) == ("5.1.0", "major")
            assert steps["python", "celery"]["newer"] == "999.0"
            assert found["looked_at"]["python"] > 20
            assert found["lacks"].pop("python boto3").endswith("/simple/boto3/ answers 404")
            assert found["lacks"] == {
                "images": "the messenger runs in no cluster (platform.kind=local): there are none"
            }
            assert [title.partition(":")[0] for title in webhook.titles()] == ["Newer versions"]
            offline = operations.look(services, registry=False)
            assert offline.steps == ()
            assert {one.what for one in offline.lacks} >= {"npm packages of the messenger", "images"}
            services.redis.close()
