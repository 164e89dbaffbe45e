"""Our engine against restic: the same data, the same disk, the same run; whole processes, start to end.

    make bench                      # both data sets, three rounds: about five minutes
    python bench/backup.py --rounds 1 --sets small
    python bench/backup.py --dir /var/tmp          # on a disk
    python bench/backup.py --store s3

Prints a Markdown table of medians, with peak memory (the PSS of all processes of the act, in a round of its own, as
weighing takes time of the cores that are measured), and fails where a promise of the table is not kept. Sets: `large`, 1 GB
in 5,000 files as IPFS blocks are, a third of them compressible; `small`, 100,000 files of 1 to 8 KiB. Restic runs with its
defaults (compression on), without a password prompt, its cache warm.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from g3zkp_maint.settings import S3Store as S3Settings
from g3zkp_maint.testing.seaweed import ADMIN, Seaweed, running_seaweed

HERE = Path(__file__).parent
ACTS = ("full", "unchanged", "restore")
#: Our promises, by set and act: at least so many times as fast as restic.
PROMISED = {
    ("large", "full"): 2.0,
    ("large", "unchanged"): 1.0,
    ("large", "restore"): 1.2,
    ("small", "full"): 1.0,
    ("small", "unchanged"): 1.0,
    ("small", "restore"): 1.2,
}
#: Over S3, where the server shares the cores with whoever is measured.
PROMISED_S3 = {(kind, act): 1.3 if act == "full" else 1.0 for kind in ("large", "small") for act in ACTS}
#: And so many times as fast as the script that operators have run, of large files: of small ones it has less to compress.
OLD_SCRIPT = {"large": 4.0, "small": 2.0}
MEMORY_MIB = 250
#: Over S3 each of the two processes holds besides boto3 with a client (30 MiB), and by the default settings four parts of
#: 8 MiB on their way and the one that is being filled.
MEMORY_S3_MIB = MEMORY_MIB + 2 * (30 + 5 * 8)
#: A file system in memory, where there is one with room: engines are compared there, not the moods of a disk.
MEMORY = Path("/dev/shm")
_ROOM = 8 << 30
#: Weighing takes milliseconds of a core itself, most of them where there are several processes.
_SAMPLE_SECONDS = 0.1


@dataclass(frozen=True)
class Measured:
    """One act: wall time in seconds, peak memory in MiB; 0 where it was not weighed."""

    seconds: float
    mib: float


def make_data(root: Path, kind: str) -> int:
    """Writes the set, the same at every call; returns its bytes."""
    rnd = random.Random(1)
    words = [bytes(rnd.choices(b"abcdefghijklmnopqrstuvwxyz", k=rnd.randint(3, 9))) for _ in range(2000)]
    count = 5_000 if kind == "large" else 100_000
    total = 0
    for number in range(count):
        size = rnd.randint(150_000, 250_000) if kind == "large" else rnd.randint(1024, 8192)
        content = b" ".join(rnd.choices(words, k=size // 6))[:size] if number % 3 == 0 else rnd.randbytes(size)
        name = base64.b32encode(rnd.randbytes(33)).decode().rstrip("=")
        folder = root / "blocks" / name[-3:-1]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"CIQ{name}.data").write_bytes(content)
        total += len(content)
    return total


def measure(argv: list[str], env: dict[str, str], *, weighed: bool) -> Measured:
    """Runs a command in a session of its own, and weighs all its processes until it ends where that is asked for. Raises
    where it fails."""
    os.sync()  # nobody pays for the writes of the act before
    began = time.perf_counter()
    process = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    with _scale(process.pid) if weighed else nullcontext([0.0]) as peak:
        _, errors = process.communicate()
        seconds = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"{' '.join(argv)} failed:\n{errors.decode()}")
    return Measured(seconds, peak[0])


@contextmanager
def _scale(leader: int) -> Iterator[list[float]]:
    """The most that a session has weighed so far, in MiB."""
    peak, stop = [0.0], threading.Event()

    def weigh() -> None:
        while not stop.wait(_SAMPLE_SECONDS):
            peak[0] = max(peak[0], sum(pss_mib(pid) for pid in _session(leader)))

    thread = threading.Thread(target=weigh)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def _session(leader: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.getsid(int(entry.name)) == leader:
                    found.append(int(entry.name))
            except ProcessLookupError:
                continue
    return found


def pss_mib(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("Pss:")), 0.0)


@dataclass(frozen=True)
class Place:
    """Where repositories go: a folder, or a bucket each of a server."""

    work: Path
    server: Seaweed | None = None

    def bucket(self, name: str) -> str:
        """A new bucket, which has taken an object: making room for its first takes the server up to a second, and of the
        three only restic's `init`, which is not measured, would have it made."""
        bucket = f"{name}-{secrets.token_hex(4)}"
        if self.server is not None:
            client = self.server.client()
            client.create_bucket(Bucket=bucket)
            client.put_object(Bucket=bucket, Key="first", Body=b"first")
            client.delete_object(Bucket=bucket, Key="first")
        return bucket


class Restic:
    name = "restic"

    def __init__(self, place: Place) -> None:
        self._place = place
        self._env = {**os.environ, "RESTIC_PASSWORD": "bench", "RESTIC_CACHE_DIR": str(place.work / "restic-cache")}

    def acts(self, data: Path, *, weighed: bool) -> dict[str, Measured]:
        folder, target = self._place.work / "restic", self._place.work / "restic-out"
        where = str(folder)
        if self._place.server is not None:
            where = f"s3:{self._place.server.endpoint_url}/{self._place.bucket('restic')}"
            self._env |= {"AWS_ACCESS_KEY_ID": ADMIN.key_id, "AWS_SECRET_ACCESS_KEY": ADMIN.secret}
        base = ["restic", "-q", "-r", where]
        measured = partial(measure, env=self._env, weighed=weighed)
        measured([*base, "init"])
        done = {act: measured([*base, "backup", str(data)]) for act in ("full", "unchanged")}
        done["restore"] = measured([*base, "restore", "latest", "--target", str(target)])
        _compare(data, target / data.relative_to("/"))
        _done_with(folder, target)
        return done


class Ours:
    name = "g3zkp-maint"

    def __init__(self, place: Place) -> None:
        self._place = place

    def acts(self, data: Path, *, weighed: bool) -> dict[str, Measured]:
        folder, target = self._place.work / "ours", self._place.work / "ours-out"
        base = [sys.executable, str(HERE / "engine.py")]
        env = {name: value for name, value in os.environ.items() if not name.startswith("G3ZKP_")}
        measured = partial(measure, env=env, weighed=weighed)
        measured([*base, "init", str(folder), str(data)])
        if self._place.server is not None:
            settings = self._place.server.settings(self._place.bucket("ours"))
            (folder / "s3.json").write_text(_plain_json(settings), encoding="utf-8")
        done = {
            act: measured([*base, kind, str(folder), str(data)])
            for act, kind in (("full", "full"), ("unchanged", "incremental"))
        }
        done["restore"] = measured([*base, "restore", str(folder), str(data), str(target)])
        _compare(data, target / data.name)
        _done_with(folder, target)
        return done


class OldScript:
    """The operators' script: `tar czf`, then the upload of the archive (by boto3, as `aws s3 cp` does it). Full only."""

    name = "old script"

    def __init__(self, place: Place) -> None:
        self._place = place

    def acts(self, data: Path, *, weighed: bool) -> dict[str, Measured]:
        archive = self._place.work / "old.tar.gz"
        tar = ["tar", "czf", str(archive), "-C", str(data.parent), data.name]
        packed = measure(tar, dict(os.environ), weighed=weighed)
        began = time.perf_counter()
        if self._place.server is not None:
            self._place.server.client().upload_file(str(archive), self._place.bucket("old"), archive.name)
        archive.unlink()
        return {"full": Measured(packed.seconds + time.perf_counter() - began, packed.mib)}


def _compare(data: Path, back: Path) -> None:
    if subprocess.run(["diff", "-rq", str(data), str(back)], check=False).returncode:
        raise SystemExit(f"what came back at {back} is not what was backed up")


def _done_with(*folders: Path) -> None:
    """On a disk they are removed at the very end: for half a minute ext4 searches past each inode that was freed, and
    whoever is measured next would pay for it. Memory is given back at once."""
    for folder in filter(Path.exists, folders):
        if folder.is_relative_to(MEMORY):
            shutil.rmtree(folder)
        else:
            folder.rename(folder.with_name(f"{folder.name}-{secrets.token_hex(4)}"))


def _plain_json(settings: S3Settings) -> str:
    """With the test server's secrets, which `model_dump` would mask."""
    document = settings.model_dump(mode="json", exclude_none=True)
    return json.dumps(document | {"access_key_id": ADMIN.key_id, "secret_access_key": ADMIN.secret})


def bench(kind: str, rounds: int, place: Place) -> list[str]:
    """Prints the table of a set; returns the promises that were not kept."""
    data = place.work / kind
    size = make_data(data, kind)
    tools: list[Restic | Ours | OldScript] = [Restic(place), Ours(place)]
    if place.server is not None:
        tools.append(OldScript(place))
    runs: dict[str, list[dict[str, Measured]]] = {tool.name: [] for tool in tools}
    for number in range(rounds):
        for tool in tools if number % 2 == 0 else reversed(tools):
            runs[tool.name].append(tool.acts(data, weighed=False))
    peaks = {tool.name: {act: done.mib for act, done in tool.acts(data, weighed=True).items()} for tool in tools[:2]}
    promised, most = (PROMISED_S3, MEMORY_S3_MIB) if place.server else (PROMISED, MEMORY_MIB)
    print(
        f"\n**{kind}**, {'SeaweedFS by S3' if place.server else 'a folder'}: {size / 1e6:,.0f} MB, median of {rounds}\n"
    )
    print("| act | restic | g3zkp-maint | times as fast | MB/s | peak MiB restic | peak MiB ours |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    broken = []
    for act in ACTS:
        theirs, ours = (_median(runs[name], act) for name in (Restic.name, Ours.name))
        ratio = theirs / ours
        print(
            f"| {act} | {theirs:.2f} s | {ours:.2f} s | {ratio:.2f} | {size / 1e6 / ours:,.0f} "
            f"| {peaks[Restic.name][act]:.0f} | {peaks[Ours.name][act]:.0f} |"
        )
        if ratio < promised[kind, act]:
            broken.append(f"{kind} {act}: {ratio:.2f} times restic, promised {promised[kind, act]}")
        if peaks[Ours.name][act] > most:
            broken.append(f"{kind} {act}: {peaks[Ours.name][act]:.0f} MiB, promised {most}")
    if place.server is not None:
        old, ours = _median(runs[OldScript.name], "full"), _median(runs[Ours.name], "full")
        broken += _against_the_old_script(old, ours, kind)
    _done_with(data)
    return broken


def _against_the_old_script(old: float, ours: float, kind: str) -> list[str]:
    ratio = old / ours
    print(f"\nThe old script's `tar czf` and upload: {old:.2f} s, ours {ratio:.1f} times as fast.")
    return (
        [f"{kind}: {ratio:.1f} times the old script, promised {OLD_SCRIPT[kind]}"] if ratio < OLD_SCRIPT[kind] else []
    )


def _median(rounds: list[dict[str, Measured]], act: str) -> float:
    """In seconds."""
    return statistics.median(one[act].seconds for one in rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sets", nargs="+", choices=("large", "small"), default=["large", "small"])
    parser.add_argument(
        "--store", choices=("directory", "s3"), default="directory", help="s3: a real SeaweedFS, started here"
    )
    parser.add_argument(
        "--dir", type=Path, help="where data and repositories go for a while; default: memory if it has room"
    )
    options = parser.parse_args()
    if shutil.which("restic") is None:
        raise SystemExit("restic is not installed; on Debian: apt-get install restic")
    with ExitStack() as stack:
        parent = options.dir or (MEMORY if has_room(MEMORY) else None)
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="g3zkp-bench-", dir=parent)))
        server = stack.enter_context(running_seaweed(work / "seaweed")) if options.store == "s3" else None
        place = Place(work, server)
        broken = [line for kind in options.sets for line in bench(kind, options.rounds, place)]
        where = "in memory" if work.is_relative_to(MEMORY) else "on a disk"
    print(f"\n{where}, {os.cpu_count()} cores, Python {sys.version.split()[0]}, {_version()}")
    if broken:
        raise SystemExit("not as promised:\n  " + "\n  ".join(broken))


def has_room(folder: Path) -> bool:
    return folder.is_dir() and shutil.disk_usage(folder).free > _ROOM


def _version() -> str:
    return subprocess.run(["restic", "version"], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
