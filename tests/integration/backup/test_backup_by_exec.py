"""Backups whose files are listed and read by commands where they are: the same as from a mounted folder, and never less.

The commands run on this machine, as real processes; tests/cluster has the same over a real API server.
"""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from blake3 import blake3
from trees import IS_ROOT, become_nobody, in_child, make_everything

import messenger
from g3zkp_maint.backup.agent import call
from g3zkp_maint.backup.agent.call import Agent, Answer
from g3zkp_maint.backup.exec_source import ExecSource, _listed
from g3zkp_maint.backup.manifest import Manifest, Outcome
from g3zkp_maint.backup.mounted import MountedSource
from g3zkp_maint.backup.row import Row, unescape
from g3zkp_maint.backup.source import Source
from g3zkp_maint.backup.verify import VerifyMode, verify
from g3zkp_maint.errors import ExecFailed, SourceError, StreamBroken, TemporaryError
from g3zkp_maint.platforms.base import ExecStream
from g3zkp_maint.testing.backup_site import BackupSite
from g3zkp_maint.testing.exec_place import ExecPlace

pytestmark = pytest.mark.integration

SEAM = Path(__file__).with_name("changing_files.js")


@pytest.fixture
def site(tmp_path: Path) -> BackupSite:
    return BackupSite(tmp_path, by_exec=True)


def notes(manifest: Manifest) -> dict[str, int]:
    return manifest.component("ipfs").counts.notes


def told(source: Source, worklist: list[Row]) -> list[tuple[Row, object]]:
    """All that a source says of the files."""
    found: list[tuple[Row, object]] = []
    for row, file in source.files(worklist):
        if file is None or isinstance(file, OSError):
            found.append((row, file and (file.errno, file.strerror)))
        elif (whole := file.whole()) is not None:
            found.append((row, (whole.data, whole.note)))
        elif file.known() is not None:
            found.append((row, "known"))
        else:
            left, hasher = file.begin().st_size, blake3()
            while left and (piece := file.piece(left)):
                hasher.update(piece)
                left -= len(piece)
            found.append((row, (hasher.hexdigest(), file.end())))
    return found


# -- the same ----------------------------------------------------------------------------------------------------------


def test_both_sources_tell_the_same_rows_and_contents(site: BackupSite, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"not ours")
    make_everything(site.tree, outside, depth=100, hole=32 << 20)
    mounted, by_exec = MountedSource(site.data), site.place.source(site.data)
    listed = list(by_exec.scan("ipfs"))
    assert listed == list(mounted.scan("ipfs"))
    assert len(listed) > 140
    assert told(by_exec, listed) == told(mounted, list(mounted.scan("ipfs")))


def test_content_that_the_parent_has_is_recognised_where_it_is(site: BackupSite) -> None:
    for name, content in ((b"small", b"small"), (b"\xff large", os.urandom(3 << 20)), (b"other", b"other")):
        Path(os.fsdecode(os.fsencode(site.tree) + b"/" + name)).write_bytes(content)
    listed = [row for row in site.place.source(site.data).scan("ipfs") if row.kind == "f"]
    for row in listed:
        row.digest = blake3(
            Path(os.fsdecode(os.fsencode(site.data) + b"/" + unescape(row.path))).read_bytes()
        ).hexdigest()
        if row.path.endswith("other"):
            row.digest = "00" * 32
    for source in (site.place.source(site.data), MountedSource(site.data)):
        said = {row.path.rpartition("/")[2]: what == "known" for row, what in told(source, listed)}
        # A small file is read at once, so a folder that is mounted has no need to know it beforehand.
        assert said == {"small": isinstance(source, ExecSource), "\\xff large": True, "other": False}


def test_the_digest_of_the_agent_is_blake3(tmp_path: Path) -> None:
    sizes = [0, 1, 63, 64, 65, 1023, 1024, 1025, 2048, 3072, 4097, 31 * 1024 + 5, 1 << 20]
    script = (Path(call.__file__).parent / "blake3.js").read_text() + (
        "const data = require('fs').readFileSync(process.argv[1]);"
        "for (const size of process.argv.slice(2)) {"
        "  const hash = new Blake3();"
        "  for (let at = 0; at < size; at += 777) hash.update(data.subarray(at, Math.min(at + 777, size)));"
        "  console.log(hash.digest().toString('hex'));"
        "}"
    )
    data = os.urandom(1 << 20)
    (tmp_path / "data").write_bytes(data)
    argv = [messenger.node_binary(), "-e", script, str(tmp_path / "data"), *map(str, sizes)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == [blake3(data[:size]).hexdigest() for size in sizes]


def test_the_command_line_is_short() -> None:
    assert len(call._loader()) < 500


# -- only what changed -------------------------------------------------------------------------------------------------


def test_an_incremental_moves_only_what_changed_out_of_the_pod(site: BackupSite, tmp_path: Path) -> None:
    for number in range(40):
        (site.tree / f"{number:02}").write_bytes(os.urandom(500_000 if number % 4 else 1_500_000))
    site.back_up()
    assert site.place.received > 30_000_000
    for path in site.tree.iterdir():
        os.utime(path)
    (site.tree / "07").write_bytes(os.urandom(300_000))
    (site.tree / "08").write_bytes(os.urandom(1_500_000))  # of the same size as before
    site.place.received = 0
    made = site.back_up("incremental")
    assert made.component("ipfs").counts.new_bytes == 1_800_000
    assert 1_800_000 < site.place.received < 1_820_000
    site.place.received = 0
    assert site.back_up("incremental").component("ipfs").counts.new_bytes == 0
    assert site.place.received < 30_000


# -- files that change -------------------------------------------------------------------------------------------------

#: What is done to the file before each reading, and what is said of it then, as of one in a mounted folder.
CHANGES = {
    "grow": (Outcome.OK, {"grew": 1}),
    "rewrite": (Outcome.PARTIAL, {"changed": 1}),
    "rewrite-shorter": (Outcome.PARTIAL, {"changed": 1}),
    "cut-and-grow": (Outcome.PARTIAL, {"changed": 1}),
    "rewrite-once": (Outcome.OK, {}),
    "fail": (Outcome.PARTIAL, {"unreadable": 1}),
}


@pytest.mark.parametrize("size", [1000, 9 << 20])
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_while_it_is_read_is_noted_as_in_a_mounted_folder(
    site: BackupSite, change: str, size: int, tmp_path: Path
) -> None:
    (site.tree / "a").write_bytes(b"before it")
    file = site.tree / "busy"
    file.write_bytes(os.urandom(size))
    (site.tree / "z").write_bytes(b"after it")
    site.place.env = {"NODE_OPTIONS": f"--require {SEAM}", "CHANGE": change, "CHANGED_FILE": str(file)}
    made = site.back_up()
    site.place.env = {}
    assert (made.outcome, notes(made)) == CHANGES[change]
    site.restore(made, tmp_path / "to")
    names = {path.name for path in (tmp_path / "to" / "ipfs").iterdir()}
    assert names == ({"a", "z"} if change == "fail" else {"a", "busy", "z"})
    if change in {"grow", "rewrite-once"}:
        stored = (tmp_path / "to" / "ipfs" / "busy").read_bytes()
        assert file.read_bytes().startswith(stored)
        assert len(stored) >= size


# -- never less --------------------------------------------------------------------------------------------------------


@dataclass
class Recorded:
    """A stream that was recorded, with an end of our choice."""

    pieces: list[bytes]
    error: Exception | None = None

    def __iter__(self) -> Iterator[bytes]:
        yield from self.pieces
        if self.error is not None:
            raise self.error

    def read_all(self, limit: int = 1 << 20) -> bytes:
        raise NotImplementedError

    def close(self) -> None:
        return


@dataclass
class Altered:
    """A place where input does not arrive as it was sent."""

    place: ExecPlace
    change: Callable[[Iterable[bytes]], Iterator[bytes]]

    def exec(
        self, workload: str, argv: Sequence[str], stdin: Iterable[bytes] | None = None, *, may_leave_input: bool = False
    ) -> ExecStream:
        return self.place.exec(workload, argv, self.change(stdin or []), may_leave_input=may_leave_input)


@pytest.fixture
def recording(site: BackupSite) -> bytes:
    """What the agent really sends for a list of three paths."""
    (site.tree / "a").write_bytes(b"a")
    (site.tree / "b").symlink_to("a")
    with site.place.source(site.data).agent.call("list", path="ipfs") as answer:
        return b"".join(answer._pieces)


def rows_of(stream: Recorded) -> list[Row]:
    return list(_listed(Answer(stream, "a list")))


def test_a_stream_that_ends_anywhere_but_at_its_end_is_an_error(recording: bytes) -> None:
    assert len(rows_of(Recorded([recording]))) == 3
    assert len(rows_of(Recorded([recording[at : at + 1] for at in range(len(recording))]))) == 3
    for end in range(len(recording)):
        with pytest.raises(StreamBroken):
            rows_of(Recorded([recording[:end]]))


def test_a_stream_that_arrives_changed_anywhere_is_an_error(recording: bytes) -> None:
    for at in range(len(recording)):
        changed = bytearray(recording)
        changed[at] ^= 1
        with pytest.raises(StreamBroken):
            rows_of(Recorded([bytes(changed)]))


@pytest.mark.parametrize(("number", "at"), [(1, -2), (2, 6), (3, 0)], ids=["request", "path", "checksum"])
def test_a_request_that_arrives_changed_is_not_carried_out(site: BackupSite, number: int, at: int) -> None:
    (site.tree / "a").write_bytes(b"a")
    worklist = [row for row in site.place.source(site.data).scan("ipfs") if row.path.endswith("/a")]

    def changed(pieces: Iterable[bytes]) -> Iterator[bytes]:
        for count, piece in enumerate(pieces):
            sent = bytearray(piece)
            if count == number:
                sent[at] ^= 1
            yield bytes(sent)

    with pytest.raises(SourceError, match="the input arrived changed"):
        list(ExecSource(Agent(Altered(site.place, changed), "g3zkp-messenger", str(site.data))).files(worklist))


def test_a_stream_without_a_good_exit_status_is_an_error_even_when_all_of_it_came(recording: bytes) -> None:
    for error in (StreamBroken("no status"), ExecFailed("killed", exit_code=137)):
        with pytest.raises(TemporaryError):
            rows_of(Recorded([recording], error))
    with pytest.raises(SourceError):
        rows_of(Recorded([recording], ExecFailed("failed", exit_code=1)))
    with pytest.raises(StreamBroken):
        rows_of(Recorded([recording, b"more"]))


@pytest.mark.parametrize("after", [1, 3_000_000, 5_500_000])
def test_a_shard_whose_reader_is_killed_fails_for_now_and_the_next_attempt_makes_it_whole(
    site: BackupSite, after: int, tmp_path: Path
) -> None:
    site.shard_bytes = 1 << 30
    for number in range(6):
        (site.tree / f"{number}").write_bytes(os.urandom(1_000_000))
    prepared = site.place.started
    with pytest.raises(TemporaryError):
        _back_up_killed(site, after)
    assert site.place.started == prepared + 2  # the list came whole
    assert not list(site.objects.rglob("MANIFEST.json"))
    assert not list(site.objects.rglob("*.tar.zst.age"))
    made = site.back_up("full", "run-1")
    assert made.outcome is Outcome.OK
    assert verify(site.repository, made, VerifyMode.FULL).is_whole
    site.restore(made, tmp_path / "to")
    for path in site.tree.iterdir():
        assert (tmp_path / "to" / "ipfs" / path.name).read_bytes() == path.read_bytes()


def _back_up_killed(site: BackupSite, after: int) -> None:
    from g3zkp_maint.backup.component import archive_shard  # noqa: PLC0415
    from g3zkp_maint.backup.plan import BackupPlan  # noqa: PLC0415
    from g3zkp_maint.backup.prepare import prepare  # noqa: PLC0415

    workshop = site.workshop()
    plan = prepare(workshop, site.request())
    assert isinstance(plan, BackupPlan)
    site.place.kill_after_received = after
    archive_shard(workshop, plan, plan.shards[0].archive)


# -- what is in the way ------------------------------------------------------------------------------------------------


def test_a_folder_that_is_missing_or_a_link_is_no_backup_of_nothing(site: BackupSite) -> None:
    site.tree.rmdir()
    with pytest.raises(SourceError, match="is not there"):
        site.back_up()
    site.tree.symlink_to(site.base)
    with pytest.raises(SourceError, match="no link"):
        site.back_up()


def test_a_container_without_node_says_so(site: BackupSite) -> None:
    site.place.env = {"PATH": str(site.base)}
    with pytest.raises(SourceError, match="no node"):
        site.back_up()


def test_a_link_in_the_place_of_a_folder_leads_nowhere(site: BackupSite, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_bytes(b"secret")
    (site.tree / "folder").mkdir()
    (site.tree / "folder" / "file").write_bytes(b"ours")
    source = site.place.source(site.data)
    listed = list(source.scan("ipfs"))
    (site.tree / "folder").rename(site.tree / "moved")
    (site.tree / "folder").symlink_to(tmp_path / "outside")
    assert [what for row, what in told(source, listed) if row.kind == "f"] == [(errno.ENOTDIR, "Not a directory")]


@pytest.mark.skipif(not IS_ROOT, reason="gives up root")
def test_what_its_user_may_not_read_is_told_as_a_mounted_folder_tells_it(public_site: BackupSite) -> None:
    tree = public_site.tree
    (tree / "shut").mkdir()
    (tree / "shut" / "file").write_bytes(b"")
    (tree / "listed-only").mkdir()
    (tree / "listed-only" / "file").write_bytes(b"")
    (tree / "unreadable").write_bytes(b"")
    for name, mode in (("shut", 0o700), ("listed-only", 0o744), ("unreadable", 0o600)):
        (tree / name).chmod(mode)

    def compare() -> None:
        become_nobody()
        mounted, by_exec = MountedSource(public_site.data), public_site.place.source(public_site.data)
        listed = list(by_exec.scan("ipfs"))
        assert listed == list(mounted.scan("ipfs"))
        assert sum(row.kind == "x" for row in listed) == 2
        assert told(by_exec, listed) == told(mounted, list(listed))

    assert in_child(compare) == 0
