"""How the engine grows: 10,000 to 1,000,000 small files, full, then 0.1 % changed; and two processes against one.

    python bench/scale.py                 # about ten minutes, 5 GB of disk
    python bench/scale.py --files 100000

Prints a Markdown table and fails where a promise is not kept: memory under 512 MiB, manifest and indexes under 100 MB,
cost per file flat within 1.5 times, the incremental as long as its scan and its change; sharding at least 1.6 times.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from backup import MEMORY, Measured, has_room, measure

HERE = Path(__file__).parent
MEMORY_MIB = 512
MANIFEST_MB = 100
FLAT = 1.5
SHARDING = 1.6
#: Level 1 is done before two processes have started well.
SHARDING_LEVEL = 6
#: An incremental of a tree must stay well under its full: it reads what changed only.
INCREMENTAL_SHARE = 0.5
_A_FOLDER = 1000


def make_tree(root: Path, files: int) -> None:
    """`files` files of 200 to 1,000 bytes, a thousand a folder."""
    rnd = random.Random(files)
    for number in range(files):
        folder = root / f"{number // _A_FOLDER:05d}"
        if number % _A_FOLDER == 0:
            folder.mkdir(parents=True)
        (folder / f"{number:07d}-{rnd.getrandbits(64):016x}.msg").write_bytes(rnd.randbytes(rnd.randint(200, 1000)))


def change_tree(root: Path) -> None:
    """Writes one file in a thousand anew."""
    rnd = random.Random(0)
    for folder in sorted(root.iterdir()):
        victim = sorted(folder.iterdir())[rnd.randrange(_A_FOLDER)]
        victim.write_bytes(rnd.randbytes(700))


def act(name: str, place: Path, data: Path, *more: Path, **options: int) -> Measured:
    """`options` are those of engine.py: processes, level, shard_mib."""
    argv = [sys.executable, str(HERE / "engine.py"), name, *map(str, (place, data, *more))]
    given = {f"BENCH_{option.upper()}": str(value) for option, value in options.items()}
    return measure(argv, {**given, "PATH": "/usr/bin:/bin"}, weighed=True)


def manifest_mb(place: Path) -> float:
    """Of the newest backup: MANIFEST.json with its indexes."""
    newest = max((path for path in place.glob("store/*/*/*/MANIFEST.json")), key=lambda path: path.parent.name)
    sizes = [path.stat().st_size for path in newest.parent.iterdir() if ".index." in path.name or path == newest]
    json.loads(newest.read_bytes())
    return sum(sizes) / 1e6


def grow(counts: list[int], work: Path) -> list[str]:
    print("| files | full | µs a file | incremental of 0.1 % | µs a file | peak MiB | manifest MB |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    broken, first = [], None
    for files in counts:
        data, place = work / f"data-{files}", work / f"place-{files}"
        make_tree(data, files)
        act("init", place, data)
        full = act("full", place, data)
        change_tree(data)
        incremental = act("incremental", place, data)
        mib, size = max(full.mib, incremental.mib), manifest_mb(place)
        each = full.seconds / files * 1e6
        print(
            f"| {files:,} | {full.seconds:.1f} s | {each:.0f} | {incremental.seconds:.1f} s "
            f"| {incremental.seconds / files * 1e6:.1f} | {mib:.0f} | {size:.1f} |",
            flush=True,
        )
        first = first or each
        broken += _broken(files, full, incremental, mib, size, each / first)
    return broken


def _broken(files: int, full: Measured, incremental: Measured, mib: float, size: float, growth: float) -> list[str]:
    checks = {
        f"{files:,} files: {mib:.0f} MiB, promised {MEMORY_MIB}": mib > MEMORY_MIB,
        f"{files:,} files: a manifest of {size:.0f} MB, promised {MANIFEST_MB}": size > MANIFEST_MB,
        f"{files:,} files: {growth:.2f} times the cost a file of the smallest, promised {FLAT}": growth > FLAT,
        f"{files:,} files: the incremental took {incremental.seconds:.1f} s": (
            incremental.seconds > INCREMENTAL_SHARE * full.seconds + 1
        ),
    }
    return [text for text, is_broken in checks.items() if is_broken]


def shard(work: Path) -> list[str]:
    """Compressible data in memory, compressed hard, so that the cores are what is short; in more shards than are left
    over when two share them. The two take turns, the medians count."""
    data = work / "text"
    rnd = random.Random(3)
    words = [bytes(rnd.choices(b"abcdefghijklmnopqrstuvwxyz", k=rnd.randint(3, 9))) for _ in range(3000)]
    data.mkdir()
    for number in range(1500):
        (data / f"{number:05d}.txt").write_bytes(b" ".join(rnd.choices(words, k=120_000)))
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for turn in range(3):
        for processes, taken in seconds.items():
            place = work / f"shards-{processes}-{turn}"
            act("init", place, data)
            done = act("full", place, data, processes=processes, level=SHARDING_LEVEL, shard_mib=64)
            taken.append(done.seconds)
            shutil.rmtree(place)
    one, two = (statistics.median(seconds[processes]) for processes in (1, 2))
    print(
        f"\nSharding, 1.1 GB of text at level {SHARDING_LEVEL}: one process {one:.1f} s, two {two:.1f} s: "
        f"{one / two:.2f} times."
    )
    return [f"sharding: {one / two:.2f} times, promised {SHARDING}"] if one / two < SHARDING else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--dir", type=Path, help="where the data goes for a while; default: a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="g3zkp-scale-", dir=options.dir) as work:
        broken = grow(options.files, Path(work))
    in_memory = MEMORY if has_room(MEMORY) else options.dir
    with tempfile.TemporaryDirectory(prefix="g3zkp-shards-", dir=in_memory) as work:
        broken += shard(Path(work))
    if broken:
        raise SystemExit("not as promised:\n  " + "\n  ".join(broken))


if __name__ == "__main__":
    main()
