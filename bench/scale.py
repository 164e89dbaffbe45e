"""How the engine grows: 10,000 to 1,000,000 small files, full, then 0.1 % and 1 % changed; and two processes against one.

    python bench/scale.py                 # about ten minutes, 6 GB
    python bench/scale.py --files 2000 10000 50000 --no-sharding

Prints a Markdown table and fails where a promise is not kept: memory under 512 MiB, manifest and indexes under 100 MB;
what a further file costs the same, within 1.5 times, from the first to the second size as from the second to the third, in
all three acts; an incremental that takes up what changed and nothing else, for no more than a full takes it up for, beside
a scan that does not depend on it; sharding at least 1.6 times.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
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
#: So much may two acts of the same work differ by: a tenth, and what the start of a process does.
_NOISE, _NOISE_SECONDS = 0.1, 0.3
TURNS = 3
_A_FOLDER = 1000
#: Of a folder's files, for 0.1 % and 1 %.
CHANGES = (1, 10)


def make_tree(root: Path, files: int) -> None:
    """`files` files of 200 to 1,000 bytes, a thousand a folder."""
    rnd = random.Random(files)
    for number in range(files):
        folder = root / f"{number // _A_FOLDER:05d}"
        if number % _A_FOLDER == 0:
            folder.mkdir(parents=True)
        (folder / f"{number:07d}-{rnd.getrandbits(64):016x}.msg").write_bytes(rnd.randbytes(rnd.randint(200, 1000)))


def change_tree(root: Path, each: int, turn: int) -> int:
    """Writes so many files of each folder anew, in each turn others; returns how many that were."""
    rnd = random.Random(f"{each}, {turn}")
    changed = 0
    for folder in sorted(root.iterdir()):
        for victim in rnd.sample(sorted(folder.iterdir()), each):
            victim.write_bytes(rnd.randbytes(700))
            changed += 1
    return changed


def act(name: str, place: Path, data: Path, *more: Path, **options: int) -> Measured:
    """`options` are those of engine.py: processes, level, shard_mib."""
    argv = [sys.executable, str(HERE / "engine.py"), name, *map(str, (place, data, *more))]
    given = {f"BENCH_{option.upper()}": str(value) for option, value in options.items()}
    return measure(argv, {**given, "PATH": "/usr/bin:/bin"}, weighed=True)


def newest(place: Path) -> Path:
    """The manifest of the newest backup."""
    return max(place.glob("store/*/*/*/MANIFEST.json"), key=lambda path: path.parent.name)


def manifest_mb(place: Path) -> float:
    """Of the newest backup: MANIFEST.json with its indexes."""
    manifest = newest(place)
    sizes = [path.stat().st_size for path in manifest.parent.iterdir() if ".index." in path.name or path == manifest]
    return sum(sizes) / 1e6


def stored_files(place: Path) -> int:
    """How many files the newest backup has stored itself."""
    document = json.loads(newest(place).read_bytes())
    return sum(one["entries"] for one in document["archives"] if one["backup"] == document["name"])


@dataclass(frozen=True)
class Size:
    """What was measured on a tree of `files`: medians, and the highest peaks. `incrementals` are by how many files had
    changed; so many the incrementals have `taken` up, each turn."""

    files: int
    full: Measured
    incrementals: dict[int, Measured]
    taken: dict[int, list[int]]
    manifest_mb: float

    @property
    def mib(self) -> float:
        return max(act.mib for act in (self.full, *self.incrementals.values()))

    @property
    def seconds(self) -> tuple[float, ...]:
        """Of all acts."""
        return (self.full.seconds, *(act.seconds for act in self.incrementals.values()))

    def row(self) -> str:
        small, large = (act.seconds for act in self.incrementals.values())
        return (
            f"| {self.files:,} | {self.full.seconds:.1f} s | {small:.1f} s | {large:.1f} s "
            f"| {self.mib:.0f} | {self.manifest_mb:.1f} |"
        )

    def broken(self) -> list[str]:
        (small, less), (large, more) = self.incrementals.items()
        each = self.full.seconds / self.files
        most = less.seconds * (1 + _NOISE) + FLAT * each * (large - small) + _NOISE_SECONDS
        checks = {
            f"{self.mib:.0f} MiB, promised {MEMORY_MIB}": self.mib > MEMORY_MIB,
            f"a manifest of {self.manifest_mb:.0f} MB, promised {MANIFEST_MB}": self.manifest_mb > MANIFEST_MB,
            f"the incremental took {less.seconds:.1f} s": less.seconds > INCREMENTAL_SHARE * self.full.seconds + 1,
            f"{large:,} changed took {more.seconds:.1f} s, {small:,} {less.seconds:.1f} s": more.seconds > most,
            f"of changed files were stored: {self.taken}": any(
                set(stored) != {changed} for changed, stored in self.taken.items()
            ),
        }
        return [f"{self.files:,} files: {text}" for text, is_broken in checks.items() if is_broken]


def grow(counts: list[int], work: Path) -> list[str]:
    print("| files | full | incremental of 0.1 % | of 1 % | peak MiB | manifest MB |")
    print("|---:|---:|---:|---:|---:|---:|")
    sizes = []
    for files in counts:
        sizes.append(measured(files, work))
        print(sizes[-1].row(), flush=True)
    return [text for size in sizes for text in size.broken()] + flatness(sizes)


def measured(files: int, work: Path) -> Size:
    data = work / f"data-{files}"
    make_tree(data, files)
    fulls: list[Measured] = []
    incrementals: defaultdict[int, list[Measured]] = defaultdict(list)
    taken: defaultdict[int, list[int]] = defaultdict(list)
    for turn in range(TURNS):
        place = work / f"place-{files}"
        act("init", place, data)
        fulls.append(act("full", place, data))
        for each in CHANGES:
            changed = change_tree(data, each, turn)
            incrementals[changed].append(act("incremental", place, data))
            taken[changed].append(stored_files(place))
        size = manifest_mb(place)
        shutil.rmtree(place)
    return Size(files, _median(fulls), {changed: _median(acts) for changed, acts in incrementals.items()}, taken, size)


def _median(acts: list[Measured]) -> Measured:
    return Measured(statistics.median(one.seconds for one in acts), max(one.mib for one in acts))


def flatness(sizes: list[Size]) -> list[str]:
    """What a further file costs, from size to size: the start of the processes is not in it."""
    costs = [
        [
            (after - before) / (larger.files - smaller.files) * 1e6
            for before, after in zip(smaller.seconds, larger.seconds, strict=True)
        ]
        for smaller, larger in pairwise(sizes)
    ]
    if costs:
        print(
            "\nµs for each further file:\n\n| from | to | full | incremental of 0.1 % | of 1 % |\n|---:|---:|---:|---:|---:|"
        )
    for (smaller, larger), each in zip(pairwise(sizes), costs, strict=True):
        print(f"| {smaller.files:,} | {larger.files:,} | " + " | ".join(f"{cost:.1f}" for cost in each) + " |")
    return [
        f"a further file costs the {act} {now / before:.2f} times what it did with fewer, promised {FLAT}"
        for former, later in pairwise(costs)
        for act, before, now in zip(("full", "incremental of 0.1 %", "incremental of 1 %"), former, later, strict=True)
        if now > FLAT * before
    ]


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
    for turn in range(TURNS):
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
    parser.add_argument("--no-sharding", action="store_true", help="leave out what two processes gain")
    parser.add_argument("--dir", type=Path, help="where the data goes for a while; default: memory if it has room")
    options = parser.parse_args()
    parent = options.dir or (MEMORY if has_room(MEMORY) else None)
    with tempfile.TemporaryDirectory(prefix="g3zkp-scale-", dir=parent) as work:
        broken = grow(options.files, Path(work))
    if not options.no_sharding:
        with tempfile.TemporaryDirectory(prefix="g3zkp-shards-", dir=parent) as work:
            broken += shard(Path(work))
    if broken:
        raise SystemExit("not as promised:\n  " + "\n  ".join(broken))


if __name__ == "__main__":
    main()
