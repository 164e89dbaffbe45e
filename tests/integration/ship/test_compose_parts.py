"""docker-compose.yml and the files beside it, by the programs that read them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import httpx
import pytest
import yaml
from botocore.config import Config
from botocore.exceptions import ClientError

from g3zkp_maint.clock import SystemClock
from g3zkp_maint.errors import ObjectExists, StoreError
from g3zkp_maint.reports.shelf import page_key
from g3zkp_maint.reports.week import Week
from g3zkp_maint.settings import S3Store as S3Settings
from g3zkp_maint.stores.s3 import S3Store
from g3zkp_maint.testing.running_stack import wait_for
from g3zkp_maint.testing.seaweed import program

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
BUCKET = "g3zkp-backups"


def said(*command: str | Path, cwd: Path = ROOT, **environment: str) -> str:
    """What a program says that must be content."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_schema_of_compose_takes_it_and_refuses_a_misspelt_key(tmp_path: Path) -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    said(*check, ROOT / "docker-compose.yml")
    wrong = tmp_path / "docker-compose.yml"
    COMPOSE["services"]["redis"]["read_olny"] = COMPOSE["services"]["redis"].pop("read_only")
    wrong.write_text(yaml.safe_dump(COMPOSE))
    done = subprocess.run([*check, str(wrong)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "read_olny" in done.stdout


def test_compose_itself_takes_it() -> None:
    plugin = shutil.which("docker")
    if plugin is None or subprocess.run([plugin, "compose", "version"], capture_output=True, check=False).returncode:
        # No Debian release has it under one name: there is no package to install, in CI neither.
        pytest.skip("the docker compose plugin is not installed")
    said(plugin, "compose", "config", "--quiet", MESSENGER_URL="https://messenger.example.org")


def test_prometheus_takes_its_configuration_with_the_rules(
    require_program: Callable[[str], str], tmp_path: Path
) -> None:
    """Laid out as the container has it."""
    for mount in COMPOSE["services"]["prometheus"]["volumes"]:
        source, target, *_ = mount.split(":")
        if source.startswith("./"):
            place = tmp_path / Path(target).relative_to("/etc/prometheus")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, place)
    checked = said(require_program("promtool"), "check", "config", tmp_path / "prometheus.yml")
    assert "1 rule files found" in checked


def test_alertmanager_takes_its_configuration(require_program: Callable[[str], str]) -> None:
    said(require_program("amtool"), "check-config", DEPLOY / "alertmanager.yml")


# -- the store ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """SeaweedFS as the service `s3` runs it, with the example of its identities; on other ports, as this machine has others."""
    folder = tmp_path_factory.mktemp("s3")
    (folder / "data").mkdir()
    there = {
        "-dir=/data": f"-dir={folder / 'data'}",
        "-ip=s3": "-ip=127.0.0.1",
        "-ip.bind=0.0.0.0": "-ip.bind=127.0.0.1",
        "-s3.config=/run/secrets/s3.json": f"-s3.config={DEPLOY / 's3.example.json'}",
    }
    ports = {name: _free_port() for name in ("master", "volume", "filer", "s3")}
    more = [
        f"-{name}.port{kind}={ports[name] if not kind else _free_port()}" for name in ports for kind in ("", ".grpc")
    ]
    sockets = [f"-{name}.localSocket={folder / name}.sock" for name in ("s3", "filer")]
    command = [there.get(one, one) for one in COMPOSE["services"]["s3"]["command"]] + ["-volume.max=20"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program(), *command, *more, *sockets], stdout=log, stderr=log, cwd=folder)
    try:
        address = f"http://127.0.0.1:{ports['s3']}"
        wait_for(lambda: _is_well(address), 60, lambda: (folder / "log").read_text()[-2000:])
        shell = [program(), "shell", f"-master=127.0.0.1:{ports['master']}.{_grpc(more, 'master')}"]
        # As docs/deploy.md says.
        asked = f"s3.bucket.create -name {BUCKET}\n"
        done = subprocess.run(shell, input=asked, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        yield address
    finally:
        # In good order it takes half a minute, and nothing of it is kept.
        process.kill()
        process.wait(30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _grpc(options: list[str], name: str) -> str:
    (found,) = [one.partition("=")[2] for one in options if one.startswith(f"-{name}.port.grpc=")]
    return found


def _is_well(address: str) -> bool:
    """As the service's health check asks."""
    (path,) = [one for one in COMPOSE["services"]["s3"]["healthcheck"]["test"] if "/healthz" in one]
    assert path.endswith("http://127.0.0.1:8333/healthz")
    try:
        return httpx.get(f"{address}/healthz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def test_the_store_lets_writers_write_and_delete_readers_read_and_nobody_else_in(store: str) -> None:
    identities = json.loads((DEPLOY / "s3.example.json").read_text())["identities"]
    keys = {one["name"]: one["credentials"][0] for one in identities}

    def client(name: str):  # type: ignore[no-untyped-def]  # boto3's clients have no class of their own
        return boto3.session.Session().client(
            "s3",
            endpoint_url=store,
            region_name="us-east-1",
            aws_access_key_id=keys[name]["accessKey"],
            aws_secret_access_key=keys[name]["secretKey"],
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )

    writer, reader = client("writer"), client("reader")
    writer.put_object(Bucket=BUCKET, Key="one", Body=b"content")
    assert reader.get_object(Bucket=BUCKET, Key="one")["Body"].read() == b"content"
    assert [one["Key"] for one in reader.list_objects_v2(Bucket=BUCKET)["Contents"]] == ["one"]
    for refused in (
        lambda: reader.put_object(Bucket=BUCKET, Key="two", Body=b""),
        lambda: reader.delete_object(Bucket=BUCKET, Key="one"),
        lambda: writer.create_bucket(Bucket="another"),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            refused()
    assert httpx.get(f"{store}/{BUCKET}/one", trust_env=False).status_code == 403
    writer.delete_object(Bucket=BUCKET, Key="one")
    assert "Contents" not in writer.list_objects_v2(Bucket=BUCKET)


def test_reporters_read_all_and_write_below_reports_alone(store: str) -> None:
    """As the observe fleet keeps its weekly report, through our own store."""

    def opened(name: str) -> S3Store:
        access = {"access_key_id": f"REPLACE-{name}-ID", "secret_access_key": f"REPLACE-{name}-SECRET"}
        where = {"bucket": BUCKET, "endpoint_url": store, "path_style": True, "attempts": 1}
        return S3Store(S3Settings.model_validate(where | access), clock=SystemClock())

    writer, reporter = opened("WRITER"), opened("REPORTER")
    page, archive = page_key(Week.parse("2026-W47")), "backups/g3zkp_full_20261125_024035/data.zst.age"
    writer.put(archive, [b"archive"])
    reporter.put(page, [b"page"], if_absent=True)
    with pytest.raises(ObjectExists):
        reporter.put(page, [b"another"], if_absent=True)
    assert [b"".join(reporter.get(one.key)) for one in reporter.list("")] == [b"archive", b"page"]
    for elsewhere in (archive, "reports", "reports-of-others/page", "catalog/page"):
        with pytest.raises(StoreError, match="may not s3:PutObject"):
            reporter.put(elsewhere, [b"x"])
    with pytest.raises(StoreError, match="may not s3:DeleteObject"):
        reporter.delete([archive])
    writer.delete([archive, page])
