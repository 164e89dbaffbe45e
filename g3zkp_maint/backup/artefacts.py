"""What the operators' old scripts left: which objects belong to which backup. Pure.

`backup.sh` wrote four files a backup, flat into a local folder and below `YYYY/MM/` into the bucket:

    g3zkp_{full|incremental}_YYYYMMDD_HHMMSS_ipfs.tar.gz       tar of data/ipfs, gzip
                                            _keys.tar.gz.enc   the same of data/keys: nothing in it is encrypted
                                            _redis.rdb         a dump
                                            _k8s.yaml          a List of objects, Secrets among them

Its "incremental" was full. Nothing says that a set is whole but its content, and a second copy may be the better one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from g3zkp_maint.backup.name import BackupName, BackupType
from g3zkp_maint.errors import BadInput
from g3zkp_maint.stores.base import ObjectInfo

_FILE = re.compile(
    r"(?:.*/)?(g3zkp_(?:full|incremental)_\d{8}_\d{6})_(ipfs|keys|redis|k8s)\.(tar\.gz|tar\.gz\.enc|rdb|yaml)"
)
#: Where another backup has the name already, the seconds after it are tried.
_NAMES_TRIED = 60
RUN_PREFIX = "import:"


class Part(StrEnum):
    """In the order in which they were taken; each becomes the component of its name."""

    IPFS = "ipfs"
    KEYS = "keys"
    REDIS = "redis"
    K8S = "k8s"


_ENDINGS = {Part.IPFS: "tar.gz", Part.KEYS: "tar.gz.enc", Part.REDIS: "rdb", Part.K8S: "yaml"}


@dataclass
class ArtefactSet:
    """One old backup: the objects of each part, the largest first, as that is the least likely to be cut short."""

    name: BackupName
    parts: dict[Part, list[ObjectInfo]] = field(default_factory=dict)

    @property
    def missing(self) -> tuple[Part, ...]:
        return tuple(part for part in Part if part not in self.parts)

    @property
    def size(self) -> int:
        """In bytes, of one copy of each part."""
        return sum(found[0].size for found in self.parts.values())

    @property
    def run(self) -> str:
        """By which the backup that is made of it is known again."""
        return f"{RUN_PREFIX}{self.name}"

    def new_names(self) -> Iterator[str]:
        """The names that the backup may get: a full one of the same time, or, where that is taken, of just after it."""
        for second in range(_NAMES_TRIED):
            yield str(BackupName(self.name.at + timedelta(seconds=second), BackupType.FULL))


def find_sets(objects: Iterable[ObjectInfo]) -> list[ArtefactSet]:
    """Those among `objects`, oldest first. Whatever else is there is passed over."""
    sets: dict[BackupName, ArtefactSet] = {}
    for info in objects:
        match = _FILE.fullmatch(info.key)
        if match is None or _ENDINGS[Part(match[2])] != match[3]:
            continue
        try:
            name = BackupName.parse(match[1])
        except BadInput:  # no time that there is
            continue
        sets.setdefault(name, ArtefactSet(name)).parts.setdefault(Part(match[2]), []).append(info)
    for one in sets.values():
        for copies in one.parts.values():
            copies.sort(key=lambda info: (-info.size, info.key))
    return [sets[name] for name in sorted(sets)]
