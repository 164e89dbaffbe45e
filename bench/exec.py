"""A command in a pod against `kubectl exec`: a gigabyte out and one in, the same data and cluster, the same run.

    KUBECONFIG=… python bench/exec.py                # 1 GB out in 5,000 files, 1 GB in: some two minutes
    KUBECONFIG=… python bench/exec.py --size 100M --rounds 3 --json

Theirs: `kubectl exec … tar cf -` and `kubectl exec -i … cat >`. Ours: the same commands by Platform.exec; each as a whole
process from start to end. Of what comes out both make a digest as it comes; of what went in the pod makes one afterwards.
The protocol is the cluster's, SPDY before Kubernetes 1.30. v5 is measured against a server of this machine, which has no
kubectl to be compared with: there only the digest and the memory count. Fails where a digest differs, where we have less
than 0.8 times kubectl's throughput, or where the peak of our memory is 64 MiB or more over what the process had before the
command. The messenger is deployed in a namespace of its own, and removed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from g3zkp_maint.platforms.base import MESSENGER
from g3zkp_maint.platforms.kubernetes import KubernetesPlatform
from g3zkp_maint.platforms.kubernetes_client import Access
from g3zkp_maint.platforms.kubernetes_exec import KubernetesExec
from g3zkp_maint.platforms.kubernetes_websocket import V5
from g3zkp_maint.testing.cluster_site import ClusterSite, cluster_site
from g3zkp_maint.testing.exec_server import opener_at, run_command, running_exec_server

ROOT = Path(__file__).parent.parent
STARTER = ROOT.parent / "shared" / "cluster"
RATIO = 0.8
MEMORY_MIB = 64.0
PIECE = 1 << 20
OUT = ["tar", "cf", "-", "-C", "/data", "ipfs"]
# The shell stays, and with it the command's stdout: where that ends, containerd ends stdin, and kubectl tells of success.
IN = ["sh", "-c", "cat >/data/received; exit $?"]
SUM = ["sha256sum", "/data/received"]
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True)
class Passed:
    """What one process moved, with a digest of what came out. `memory_mib` is its peak over what it had before the command;
    of ours alone."""

    seconds: float
    size: int
    digest: str = ""
    memory_mib: float = 0.0


@dataclass(frozen=True)
class Row:
    """An act, measured. `ratio` is of throughputs."""

    act: str
    megabytes: float
    ours_seconds: float
    memory_mib: float
    kubectl_seconds: float | None = None

    @property
    def ratio(self) -> float | None:
        return None if self.kubectl_seconds is None else self.kubectl_seconds / self.ours_seconds

    @property
    def is_kept(self) -> bool:
        return self.memory_mib < MEMORY_MIB and (self.ratio is None or self.ratio >= RATIO)


# -- ours, in a process of its own -----------------------------------------------------------------------------------------


def one(act: str, where: str, source: Path) -> None:
    """Prints what passed, as JSON; `where` is a namespace, or for v5 a server's URL."""
    digest, size = hashlib.sha256(), source.stat().st_size
    with source.open("rb") as file, tempfile.TemporaryDirectory() as folder:
        if act == "in-v5":
            opener = opener_at(where, Path(folder))
        else:
            platform = KubernetesPlatform(Access(Path(os.environ["KUBECONFIG"])), namespace=where)
            platform.workloads()
        before = _memory_kib("VmRSS")
        if act == "in-v5":
            argv = ["sh", "-c", f'cat >"{source}.received"']
            KubernetesExec(opener, argv, where="this machine", stdin=_pieces(file)).read_all()
        elif act == "in":
            platform.exec(MESSENGER, IN, stdin=_pieces(file)).read_all()
        else:
            size = 0
            for piece in platform.exec(MESSENGER, OUT):
                digest.update(piece)
                size += len(piece)
        more = (_memory_kib("VmHWM") - before) / 1024
    print(json.dumps({"size": size, "digest": digest.hexdigest(), "memory_mib": more}))


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(PIECE):
        yield piece


def _memory_kib(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


# -- the acts ----------------------------------------------------------------------------------------------------------------


def ours(act: str, where: str, source: Path) -> Passed:
    begin = time.perf_counter()
    argv = [sys.executable, __file__, "--one", act, "--where", where, "--source", str(source)]
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=True)
    return Passed(time.perf_counter() - begin, **json.loads(done.stdout))


def kubectl_out(site: ClusterSite) -> Passed:
    begin, digest, size = time.perf_counter(), hashlib.sha256(), 0
    with subprocess.Popen(_kubectl(site, OUT), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for piece in _pieces(process.stdout):
            digest.update(piece)
            size += len(piece)
    if process.returncode:
        sys.exit(f"kubectl ended with {process.returncode}")
    return Passed(time.perf_counter() - begin, size, digest.hexdigest())


def kubectl_in(site: ClusterSite, source: Path) -> Passed:
    begin = time.perf_counter()
    with source.open("rb") as file:
        # Without a first try of v5, which costs it seconds where the server has none.
        environment = {**os.environ, "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false"}
        subprocess.run(_kubectl(site, IN, "-i"), stdin=file, check=True, env=environment)
    return Passed(time.perf_counter() - begin, source.stat().st_size)


def _kubectl(site: ClusterSite, argv: list[str], *options: str) -> list[str]:
    place = ["--kubeconfig", str(site.kubeconfig), "-n", site.namespace]
    return ["kubectl", *place, "exec", *options, "deploy/g3zkp-messenger", "--", *argv]


def _received(site: ClusterSite) -> str:
    """The digest of what arrived, as the pod sees it."""
    return site.exec(*SUM).decode().split()[0]


def measure_out(site: ClusterSite, source: Path, rounds: int) -> Row:
    theirs, mine = _in_turns(rounds, lambda: kubectl_out(site), lambda: ours("out", site.namespace, source))
    digests = {one.digest for one in [*theirs, *mine]}
    if len(digests) != 1:
        sys.exit(f"out of the pod came different bytes: {digests}")
    return _row("out, tar cf -", theirs, mine)


def measure_in(site: ClusterSite, source: Path, rounds: int) -> Row:
    sent = _digest(source)

    def arrived(act: Callable[[], Passed]) -> Passed:
        passed = act()
        if _received(site) != sent:
            sys.exit("what was sent did not arrive byte for byte: its time does not count")
        return passed

    theirs, mine = _in_turns(
        rounds,
        lambda: arrived(lambda: kubectl_in(site, source)),
        lambda: arrived(lambda: ours("in", site.namespace, source)),
    )
    site.exec("rm", "-f", SUM[1])
    return _row("in, cat >", theirs, mine)


def measure_v5(source: Path, rounds: int) -> Row:
    passed = []
    for _ in range(rounds):
        with running_exec_server(run_command, (V5,)) as server:
            passed.append(ours("in-v5", server.url, source))
        received = source.with_name(f"{source.name}.received")
        if _digest(received) != _digest(source):
            sys.exit("what was sent by v5 did not arrive byte for byte")
        received.unlink()
    return _row("in by v5, to this machine", [], passed)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _in_turns(rounds: int, *acts: Callable[[], Passed]) -> list[list[Passed]]:
    passed: list[list[Passed]] = [[] for _ in acts]
    for _ in range(rounds):
        for done, act in zip(passed, acts, strict=True):
            done.append(act())
            print(f"  {done[-1].seconds:.1f} s, {done[-1].memory_mib:.0f} MiB", file=sys.stderr, flush=True)
    return passed


def _row(act: str, theirs: list[Passed], mine: list[Passed]) -> Row:
    return Row(
        act,
        mine[0].size / 1e6,
        statistics.median(one.seconds for one in mine),
        max(one.memory_mib for one in mine),
        statistics.median(one.seconds for one in theirs) if theirs else None,
    )


# -- what is shown -----------------------------------------------------------------------------------------------------------


def show(rows: list[Row], rounds: int) -> None:
    print(f"\n**exec**, median of {rounds}\n")
    print("| act | MB | kubectl | g3zkp-maint | times its throughput | MB/s | MiB over the start | promises |")
    print("|---|---:|---:|---:|---:|---:|---:|---|")
    for row in rows:
        kubectl = "" if row.kubectl_seconds is None else f"{row.kubectl_seconds:.1f} s"
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        shown = [row.act, f"{row.megabytes:,.0f}", kubectl, f"{row.ours_seconds:.1f} s", ratio]
        shown += [
            f"{row.megabytes / row.ours_seconds:.0f}",
            f"{row.memory_mib:.0f}",
            "kept" if row.is_kept else "not kept",
        ]
        print(f"| {' | '.join(shown)} |")


@contextmanager
def random_file(folder: Path, size: int) -> Iterator[Path]:
    path = folder / "sent"
    with path.open("wb") as file:
        for begin in range(0, size, PIECE):
            file.write(os.urandom(min(PIECE, size - begin)))
    yield path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="1000000000", help="each way, as 256M or 1G")
    parser.add_argument("--files", type=int, default=5000, help="of the tree that comes out")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--namespace", default="g3zkp-bench-stream")
    parser.add_argument("--dir", type=Path, default=Path("/var/tmp"), help="where the file that goes in lies")
    parser.add_argument("--json", action="store_true", help="rows as JSON, and no table")
    for hidden in ("--one", "--where", "--source"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options.one, options.where, Path(options.source))
        return
    kubeconfig = Path(os.environ["KUBECONFIG"])
    site = ClusterSite(kubeconfig, options.namespace, STARTER, kubeconfig.parent)
    size = int(options.size.rstrip("KMG")) * UNITS.get(options.size[-1], 1)
    with (
        tempfile.TemporaryDirectory(dir=options.dir) as folder,
        random_file(Path(folder), size) as source,
        cluster_site(site),
    ):
        site.seed(options.size, files=options.files)
        rows = [
            measure_out(site, source, options.rounds),
            measure_in(site, source, options.rounds),
            measure_v5(source, options.rounds),
        ]
    if options.json:
        print(json.dumps([{**asdict(row), "ratio": row.ratio, "is_kept": row.is_kept} for row in rows]))
    else:
        show(rows, options.rounds)
    if not all(row.is_kept for row in rows):
        sys.exit(f"promised: {RATIO} times kubectl's throughput, and less than {MEMORY_MIB:g} MiB over the start")


if __name__ == "__main__":
    main()
