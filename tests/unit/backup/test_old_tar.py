"""The old scripts' archives: read whole, confined, and made into rows as a scan would find them."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable

import pytest

from g3zkp_maint.backup import row as rows
from g3zkp_maint.backup.gunzip import gunzipped
from g3zkp_maint.backup.old_tar import OldTar
from g3zkp_maint.backup.repack import Repacker
from g3zkp_maint.backup.row import Row, read_rows
from g3zkp_maint.errors import ArchiveCorrupt
from g3zkp_maint.progress import NoProgress

Member = tuple[str, bytes, bytes, str]


def member(name: str, content: bytes = b"", *, type: bytes = tarfile.REGTYPE, link: str = "") -> Member:
    return (name, content, type, link)


FOLDER = member("data/ipfs", type=tarfile.DIRTYPE)


def tarred(*members: Member, format: int = tarfile.GNU_FORMAT) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=format, errors="surrogateescape") as tar:
        for name, content, kind, link in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size, info.mode = kind, link, len(content), 0o640
            info.uid, info.gid, info.mtime = 1001, 1002, 1_700_000_000.25  # type: ignore[assignment]
            tar.addfile(info, io.BytesIO(content))
    return raw.getvalue()


def pieces(raw: bytes, size: int = 1000) -> list[bytes]:
    return [raw[at : at + size] for at in range(0, len(raw), size)]


def read(packed: bytes) -> dict[str, tuple[Row, bytes]]:
    found = OldTar(pieces(packed), top="ipfs", what="old.tar.gz")
    return {row.path: (row, b"".join(content)) for row, content in found}


def repacked(*members: Member, weight: int = 1 << 20) -> tuple[Repacker, list[bytes], list[Row]]:
    source = OldTar(pieces(gzip.compress(tarred(*members))), top="ipfs", what="old.tar.gz")
    repacker = Repacker(source, "ipfs", "old.tar.gz", weight=weight, per_file=0, progress=NoProgress())
    archives = []
    while repacker.has_more:
        archives.append(b"".join(repacker.chunks(len(archives))))
    return repacker, archives, list(read_rows(repacker.index_chunks()))


def test_members_come_with_their_metadata_and_content() -> None:
    found = read(gzip.compress(tarred(FOLDER, member("data/ipfs/a", b"content"))))
    row, content = found["ipfs/a"]
    assert (row.kind, row.mode, row.uid, row.gid, row.size, content) == ("f", 0o640, 1001, 1002, 7, b"content")
    assert found["ipfs"][0].kind == rows.FOLDER


def test_a_fraction_of_a_second_in_pax_headers_stays_exact() -> None:
    found = read(gzip.compress(tarred(FOLDER, member("data/ipfs/a"), format=tarfile.PAX_FORMAT)))
    assert found["ipfs/a"][0].mtime_ns == 1_700_000_000_250_000_000


def test_names_that_are_no_utf8_stay_what_they_are() -> None:
    found = read(gzip.compress(tarred(FOLDER, member("data/ipfs/caf\udce9"))))
    assert rows.unescape(list(found)[1]) == b"ipfs/caf\xe9"


@pytest.mark.parametrize(
    "name",
    ["data/ipfs/../../etc/passwd", "/data/ipfs/a", "data/keys/a", "data/ipfsx", "ipfs/a", "data/ipfs/./a", "data"],
)
def test_a_member_that_leads_elsewhere_ends_it(name: str) -> None:
    with pytest.raises(ArchiveCorrupt, match="not below data/ipfs"):
        read(gzip.compress(tarred(FOLDER, member(name, b"x"))))


def test_a_hard_link_that_leads_elsewhere_ends_it() -> None:
    with pytest.raises(ArchiveCorrupt, match="not below data/ipfs"):
        read(gzip.compress(tarred(FOLDER, member("data/ipfs/a", type=tarfile.LNKTYPE, link="etc/shadow"))))


def test_a_device_is_left_out_and_no_other_sort_is_taken() -> None:
    device = member("data/ipfs/null", type=tarfile.CHRTYPE)
    repacker, _, listed = repacked(FOLDER, device)
    assert [(row.path, row.kind) for row in listed] == [("ipfs", "d"), ("ipfs/null", "x")]
    assert repacker.counts().notes == {"device": 1}
    with pytest.raises(ArchiveCorrupt, match="member of type"):
        read(gzip.compress(tarred(FOLDER, member("data/ipfs/a", type=b"V"))))


WHOLE = gzip.compress(tarred(FOLDER, *(member(f"data/ipfs/{n}", b"content" * 500) for n in range(20))))


def test_an_archive_cut_anywhere_is_not_whole() -> None:
    for end in range(0, len(WHOLE), 7):
        with pytest.raises(ArchiveCorrupt):
            read(WHOLE[:end])


def test_one_changed_byte_anywhere_shows_or_changes_nothing() -> None:
    """A bit that fills up a byte of the compressed stream means nothing; nor does gzip's own time stamp."""
    whole, shown = read(WHOLE), 0
    for at in range(len(WHOLE)):
        changed = bytearray(WHOLE)
        changed[at] ^= 0x10
        try:
            assert read(bytes(changed)) == whole
        except ArchiveCorrupt:
            shown += 1
    assert shown > len(WHOLE) * 0.9


def _without_end(raw: bytes) -> bytes:
    return raw.rstrip(b"\0").ljust(-(-len(raw.rstrip(b"\0")) // 512) * 512, b"\0")


def _with_a_bad_header(raw: bytes) -> bytes:
    at = raw.index(b"data/ipfs/b")
    return raw[: at + 148] + b"9" + raw[at + 149 :]


def _with_more_after_its_end(raw: bytes) -> bytes:
    return raw + raw


@pytest.mark.parametrize("damage", [_without_end, _with_a_bad_header, _with_more_after_its_end])
def test_a_tar_that_was_not_whole_before_it_was_compressed_shows(damage: Callable[[bytes], bytes]) -> None:
    members = [FOLDER, *(member(f"data/ipfs/{name}", b"x" * 600) for name in "abc")]
    with pytest.raises(ArchiveCorrupt, match="no whole archive"):
        read(gzip.compress(damage(tarred(*members))))


@pytest.mark.parametrize("padding", [b"", b"\0" * 700])
def test_gzip_in_several_parts_or_padded_is_whole(padding: bytes) -> None:
    packed = gzip.compress(b"one") + gzip.compress(b"two" * 10_000_000) + padding
    plain = list(gunzipped(pieces(packed), "x"))
    assert b"".join(plain) == b"one" + b"two" * 10_000_000
    assert max(map(len, plain)) <= 1 << 20


def test_archives_are_cut_to_size_and_each_is_a_tar() -> None:
    contents = {f"data/ipfs/{name}": name.encode() * 3000 for name in "cab"}
    _, archives, listed = repacked(FOLDER, *(member(*one) for one in contents.items()), weight=4000)
    assert len(archives) == 2
    assert [row.path for row in listed] == ["ipfs", "ipfs/a", "ipfs/b", "ipfs/c"]
    for row in listed[1:]:
        assert archives[row.archive][row.offset : row.offset + row.size] == contents[f"data/{row.path}"]
    names = []
    for raw in archives:
        with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
            names += tar.getnames()
    assert names == ["ipfs", "ipfs/c", "ipfs/a", "ipfs/b"]


def test_the_first_path_in_walk_order_is_the_file_and_the_others_are_its_links() -> None:
    links = [member(f"data/ipfs/{name}", type=tarfile.LNKTYPE, link="data/ipfs/m") for name in "za"]
    _, archives, listed = repacked(FOLDER, member("data/ipfs/m", b"content"), *links)
    assert [(row.path, row.kind, row.link) for row in listed[1:]] == [
        ("ipfs/a", "f", ""),
        ("ipfs/m", "h", "ipfs/a"),
        ("ipfs/z", "h", "ipfs/a"),
    ]
    first = listed[1]
    assert archives[0][first.offset : first.offset + first.size] == b"content"
    assert listed[2].archive == rows.NO_ARCHIVE


def test_of_a_path_that_comes_twice_the_last_counts() -> None:
    repacker, archives, listed = repacked(FOLDER, member("data/ipfs/a", b"old"), member("data/ipfs/a", b"newer"))
    assert [row.path for row in listed] == ["ipfs", "ipfs/a"]
    assert archives[0][listed[1].offset :].startswith(b"newer")
    assert repacker.counts().bytes == 5


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([FOLDER, member("data/ipfs/a/b", b"x")], "no folder 'ipfs/a'"),
        ([FOLDER, member("data/ipfs/a", b"x"), member("data/ipfs/a/b", b"x")], "no folder 'ipfs/a'"),
        ([member("data/ipfs", b"x")], "no folder 'ipfs'"),
        ([FOLDER, member("data/ipfs/a", type=tarfile.LNKTYPE, link="data/ipfs/b")], "no such file"),
    ],
)
def test_what_makes_no_tree_is_refused(members: list[Member], said: str) -> None:
    with pytest.raises(ArchiveCorrupt, match=said):
        repacked(*members)
