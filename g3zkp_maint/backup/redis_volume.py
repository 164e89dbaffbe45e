"""The folder of a stopped Redis, changed through a helper that has its volume: by small `sh` scripts, with what a busybox has.

The length of the dump goes before it (`head -c`), since an input that breaks off looks like one that ends; what arrived is
compared by its SHA-256 before anything is moved. Each script may be killed at any line and run again. What was there goes
aside under a name of this restore's own, and is removed when the server has come up with the right keys.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from g3zkp_maint.errors import ExecFailed, RestoreError, StreamBroken
from g3zkp_maint.platforms.base import Platform

#: At the end of every name that is not the server's own.
_MARK = ".g3zkp-"
_NO_FOLDER = 44
_PART = f"{_MARK}part"
_PLAIN = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class RedisLayout:
    """How a server keeps its data: its folder, as it sees it itself, and names in it. `append_folder` is None where the
    append-only file is a single one (before version 7)."""

    folder: str
    dump: str
    is_append_only: bool
    append_file: str
    append_folder: str | None

    def as_facts(self) -> dict[str, Any]:
        return asdict(self)


# $1 folder. Ends with 44 where there is none; prints how data seems to be kept.
_LOOK = """
[ -d "$1" ] || exit 44
cd "$1"
if [ -d appendonlydir ]; then echo folder; elif [ -e appendonly.aof ]; then echo file; else echo dump; fi
"""

# $1 folder, $2 name, $3 bytes. Writes stdin to the name; prints the digest of what is on the disk then.
_RECEIVE = """
set -eu
umask 077
[ -d "$1" ] || exit 44
cd "$1"
rm -f "./$2"
head -c "$3" > "./$2"
sync "./$2"
sha256sum < "./$2"
"""

# $1 folder, $2 what was received, $3 end of the names of what goes aside, $4 name of the dump; $5 name of the append-only
# file or folder, or empty; of a folder $6 the name of its base and $7 of its manifest, $8 the manifest's one line.
# Owner and mode are those of the former files; in an empty folder the folder's, and its group may read and write.
_PLACE = """
set -eu
umask 077
cd "$1"
like=. mode=660
for former in "./$4" "./$4$3" ${5:+"./$5" "./$5$3"}; do
    if [ -f "$former" ]; then like=$former mode=$(stat -c %a "$former"); break; fi
    if [ -d "$former" ]; then like=$former; break; fi
done
owner=$(stat -c %u:%g "$like")
settle() {
    [ "$(stat -c %u:%g "$2")" = "$owner" ] || chown "$owner" "$2"
    chmod "$1" "$2"
}
aside() {
    if [ -e "$1$2" ]; then rm -rf "$1"; elif [ -e "$1" ]; then mv "$1" "$1$2"; fi
}
settle "$mode" "./$2"
if [ -n "$5" ]; then
    new="./$5.g3zkp-new"
    rm -rf "$new"
    if [ -n "$6" ]; then
        mkdir "$new"
        ln "./$2" "$new/$6" 2>/dev/null || cp "./$2" "$new/$6"
        printf '%s\\n' "$8" > "$new/$7"
        settle "$mode" "$new/$6"
        settle "$mode" "$new/$7"
        settle 770 "$new"
    else
        cp "./$2" "$new"
        settle "$mode" "$new"
    fi
    sync
    aside "./$5" "$3"
    mv "$new" "./$5"
fi
aside "./$4" "$3"
mv "./$2" "./$4"
sync
"""

# $1 folder: removes what any restore has put aside in it.
_DROP = """
set -eu
[ -d "$1" ] || exit 0
cd "$1"
for former in ./*.g3zkp-before-*; do
    [ ! -e "$former" ] || rm -rf "$former"
done
rm -f ./.g3zkp-part
"""


@dataclass(frozen=True)
class RedisVolume:
    """`helper` is a workload in which commands may write to the folder. `run` names the restore: the same at each
    repetition, another one for another restore."""

    platform: Platform
    helper: str
    run: str

    def guess(self, folder: str) -> RedisLayout:
        """From the files, where the server cannot be asked as it is down; with the names that a server has by default.
        Raises RestoreError where there is no such folder."""
        try:
            seen = self._script(_LOOK, folder).read_all().decode().strip()
        except ExecFailed as error:
            raise self._failed(folder, error) from error
        append_folder = None if seen == "file" else "appendonlydir"
        return RedisLayout(folder, "dump.rdb", seen != "dump", "appendonly.aof", append_folder)

    def place(self, layout: RedisLayout, pieces: Iterable[bytes], size: int) -> bool:
        """Puts the dump of `size` bytes where the stopped server will read it; with `appendonly yes` that is the base of
        an append-only set. May be repeated. False where the server's folder is no part of the volume, and so went with
        the server.

        Raises RestoreError (a full disk, a wrong owner), StreamBroken, and what `pieces` raises: then what was there is
        as it was."""
        digest = hashlib.sha256()
        try:
            received = self._script(_RECEIVE, layout.folder, _PART, str(size), stdin=_through(pieces, digest))
            arrived = received.read_all().decode().split()[0]
            if arrived != digest.hexdigest():
                raise self._not_whole(layout.folder)
            self._script(_PLACE, layout.folder, _PART, self._aside, layout.dump, *_append_names(layout)).read_all()
        except ExecFailed as error:
            if error.exit_code == _NO_FOLDER:
                return False
            if error.exit_code == 0:
                # More was sent than its size.
                raise self._not_whole(layout.folder) from error
            raise self._failed(layout.folder, error) from error
        return True

    def drop_former(self, folder: str) -> None:
        """Removes what the server had before; called when it has come up with the restored keys. Raises ExecFailed."""
        self._script(_DROP, folder).read_all()

    @property
    def _aside(self) -> str:
        return f"{_MARK}before-{hashlib.sha256(self.run.encode()).hexdigest()[:8]}"

    def _script(self, script: str, *args: str, stdin: Iterable[bytes] | None = None) -> Any:
        return self.platform.exec(self.helper, ["sh", "-c", script, "g3zkp", *args], stdin)

    def _not_whole(self, folder: str) -> StreamBroken:
        return StreamBroken(f"the dump did not arrive whole in {folder} of {self.helper}; send it again")

    def _failed(self, folder: str, error: ExecFailed) -> RestoreError:
        if error.exit_code == _NO_FOLDER:
            return RestoreError(
                f"there is no folder {folder} in {self.helper}; set backup.redis_data to the server's dir"
            )
        said = error.stderr_tail.strip().rpartition("\n")[2] or str(error)
        return RestoreError(f"{folder} of the messenger's Redis cannot be changed: {said}; check its space and owner")


def _append_names(layout: RedisLayout) -> tuple[str, ...]:
    if not layout.is_append_only:
        return ("", "", "", "")
    if layout.append_folder is None:
        return (layout.append_file, "", "", "")
    base = f"{layout.append_file}.1.base.rdb"
    return (layout.append_folder, base, f"{layout.append_file}.manifest", f"file {_quoted(base)} seq 1 type b")


def _quoted(name: str) -> str:
    """As the server writes names with blanks into a manifest."""
    if _PLAIN.fullmatch(name):
        return name
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _through(pieces: Iterable[bytes], digest: Any) -> Iterator[bytes]:
    for piece in pieces:
        digest.update(piece)
        yield piece
