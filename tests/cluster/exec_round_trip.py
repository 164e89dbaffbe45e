"""As a process of its own: bytes into a pod and out again. Prints their digests, and how much more memory it took.

python exec_round_trip.py KUBECONFIG NAMESPACE MEGABYTES
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from g3zkp_maint.platforms.base import MESSENGER
from g3zkp_maint.platforms.kubernetes import KubernetesPlatform
from g3zkp_maint.platforms.kubernetes_client import Access

FILE = "/data/round-trip"


def digested(chunks: Iterable[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for chunk in chunks:
        digest.update(chunk)
        yield chunk


def memory_kib(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def main(kubeconfig: str, namespace: str, megabytes: str) -> None:
    platform = KubernetesPlatform(Access(Path(kubeconfig)), namespace=namespace)
    platform.workloads()
    source = random.Random(1)
    sent, received = hashlib.sha256(), hashlib.sha256()
    before = memory_kib("VmRSS")
    blocks = (source.randbytes(1_000_000) for _ in range(int(megabytes)))
    platform.exec(MESSENGER, ["sh", "-c", f"cat >{FILE}"], stdin=digested(blocks, sent)).read_all()
    for _ in digested(platform.exec(MESSENGER, ["cat", FILE]), received):
        pass
    more = (memory_kib("VmHWM") - before) / 1024
    there = platform.exec(MESSENGER, ["sh", "-c", f"sha256sum <{FILE}; rm {FILE}"]).read_all().decode().split()[0]
    print(json.dumps({"sent": sent.hexdigest(), "received": received.hexdigest(), "there": there, "memory_mib": more}))


if __name__ == "__main__":
    main(*sys.argv[1:])
