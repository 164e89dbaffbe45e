"""A full backup out of a pod against what the maintenance scripts do: the same data, cluster and server, the same run.

    KUBECONFIG=… python bench/exec_backup.py                  # 1 GB in 5,000 files: some two minutes
    KUBECONFIG=… python bench/exec_backup.py --size 256M --rounds 1

Theirs: `kubectl exec … tar czf - > file`, then the upload of the file. Ours: backup.source=exec, listed, read,
compressed, encrypted, signed and uploaded; the process from start to end. Both upload to the same S3 server (SeaweedFS,
started here) by the same library (boto3). Prints a Markdown table, checks that what we stored restores byte for byte, and
fails where we are not 3.5 times as fast. The messenger is deployed in a namespace of its own, and removed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from g3zkp_maint.backup.mounted_target import MountedTarget
from g3zkp_maint.backup.name import BackupType
from g3zkp_maint.backup.request import BackupRequest
from g3zkp_maint.backup.run import back_up
from g3zkp_maint.backup.unpack import Unpacker
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.coordination.guard import Unguarded
from g3zkp_maint.testing.backup_place import BackupPlace
from g3zkp_maint.testing.cluster_site import ClusterSite, cluster_site
from g3zkp_maint.testing.seaweed import ADMIN, Seaweed, running_seaweed

ROOT = Path(__file__).parent.parent
STARTER = ROOT.parent / "shared" / "cluster"
BUCKET = "bench"
PROMISED = 3.5
COMPONENTS = [{"name": "ipfs", "kind": "files", "path": "ipfs"}]


def theirs(site: ClusterSite, seaweed: Seaweed, scratch: Path) -> float:
    """As backup-production.sh has it; its encryption, which is none, is left out."""
    archive = scratch / "ipfs.tar.gz"
    command = [
        "kubectl",
        "-n",
        site.namespace,
        "exec",
        "deploy/g3zkp-messenger",
        "--",
        "tar",
        "czf",
        "-",
        "-C",
        "/data",
    ]
    begin = time.perf_counter()
    with archive.open("wb") as file:
        subprocess.run(
            [*command, "ipfs"], stdout=file, check=True, env={**os.environ, "KUBECONFIG": str(site.kubeconfig)}
        )
    seaweed.client().upload_file(str(archive), BUCKET, f"theirs/{archive.name}")
    took = time.perf_counter() - begin
    print(f"  theirs {took:.1f} s, {archive.stat().st_size / 1e6:.0f} MB stored", file=sys.stderr, flush=True)
    archive.unlink()
    return took


def ours(environment: Mapping[str, str], prefix: str) -> float:
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, __file__, "--one-backup"],
        env={**os.environ, **environment, "G3ZKP_STORE__PREFIX": prefix},
        check=True,
    )
    took = time.perf_counter() - begin
    print(f"  ours {took:.1f} s", file=sys.stderr, flush=True)
    return took


def one_backup(processes: int = 2) -> None:
    services = Services()
    at = datetime.now(UTC)
    back_up(services.workshop(Unguarded()), BackupRequest(BackupType.FULL, at.isoformat(), at), processes=processes)


def environment_of(site: ClusterSite, seaweed: Seaweed, place: BackupPlace) -> dict[str, str]:
    for name, value in (("id", ADMIN.key_id), ("secret", ADMIN.secret)):
        (place.root / name).write_text(value)
        (place.root / name).chmod(0o600)
    return {
        **place.environment(),
        "KUBECONFIG": str(site.kubeconfig),
        "G3ZKP_PLATFORM__KIND": "kubernetes",
        "G3ZKP_PLATFORM__NAMESPACE": site.namespace,
        "G3ZKP_BACKUP__SOURCE": "exec",
        "G3ZKP_BACKUP__COMPONENTS": json.dumps(COMPONENTS),
        "G3ZKP_STORE__KIND": "s3",
        "G3ZKP_STORE__S3__BUCKET": BUCKET,
        "G3ZKP_STORE__S3__ENDPOINT_URL": seaweed.endpoint_url,
        "G3ZKP_STORE__S3__ACCESS_KEY_ID_FILE": str(place.root / "id"),
        "G3ZKP_STORE__S3__SECRET_ACCESS_KEY_FILE": str(place.root / "secret"),
    }


def check(environment: Mapping[str, str], prefix: str, site: ClusterSite, scratch: Path) -> None:
    """What was stored, restored here, is what the pod has."""
    os.environ.update({**environment, "G3ZKP_STORE__PREFIX": prefix})
    services = Services()
    manifest = services.repository.manifest(str(services.repository.names()[-1]))
    Unpacker(services.repository, MountedTarget(scratch / "restored"), Unguarded()).unpack(manifest, "ipfs")
    subprocess.run(["diff", "-r", str(site.data_dir / "ipfs"), str(scratch / "restored" / "ipfs")], check=True)


def measure(site: ClusterSite, seaweed: Seaweed, scratch: Path, *, size: str, files: int, rounds: int) -> float:
    """How many times as fast we are; the data set is made first."""
    site.seed(size, files=files)
    stored = sum(path.stat().st_size for path in (site.data_dir / "ipfs").rglob("*") if path.is_file())
    seaweed.client().create_bucket(Bucket=BUCKET)
    environment = environment_of(site, seaweed, BackupPlace.make(scratch / "place"))
    times: dict[str, list[float]] = {"theirs": [], "ours": []}
    for number in range(rounds):
        times["theirs"].append(theirs(site, seaweed, scratch))
        times["ours"].append(ours(environment, f"ours-{number}"))
    check(environment, "ours-0", site, scratch)
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratio = medians["theirs"] / medians["ours"]
    print(f"\n**full, out of a pod**, to S3: {stored / 1e6:,.0f} MB in {files:,} files, median of {rounds}\n")
    print("| kubectl exec, tar czf, upload | g3zkp-maint | times as fast | MB/s |")
    print("|---:|---:|---:|---:|")
    print(
        f"| {medians['theirs']:.1f} s | {medians['ours']:.1f} s | {ratio:.2f} | {stored / 1e6 / medians['ours']:.0f} |"
    )
    return ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="1000000000", help="of all files, as 256M or 1G")
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--namespace", default="g3zkp-bench-exec")
    parser.add_argument("--one-backup", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one_backup:
        one_backup()
        return
    kubeconfig = Path(os.environ["KUBECONFIG"])
    site = ClusterSite(kubeconfig, options.namespace, STARTER, kubeconfig.parent)
    with (
        tempfile.TemporaryDirectory(dir="/var/tmp") as folder,
        running_seaweed(Path(folder) / "s3") as seaweed,
        cluster_site(site),
    ):
        ratio = measure(site, seaweed, Path(folder), size=options.size, files=options.files, rounds=options.rounds)
    if ratio < PROMISED:
        sys.exit(f"promised: {PROMISED} times as fast; measured: {ratio:.2f}")


if __name__ == "__main__":
    main()
