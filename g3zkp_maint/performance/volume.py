"""How fast the messenger's volume writes and reads: one scratch file beside its data, through the messenger's own pod.

Written and synced, then read past the system's cache; where the volume cannot do that, reading is left unmeasured: what
the cache gives says nothing of the volume. The file is removed, also that of a call which was killed before.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from g3zkp_maint.clock import Clock
from g3zkp_maint.coordination.guard import Guard
from g3zkp_maint.lack import Lack
from g3zkp_maint.messenger_call import call
from g3zkp_maint.performance.figure import Figure, Unit
from g3zkp_maint.platforms.base import Platform

_MIB = 1 << 20
_SCRIPT = """
const [folder, mebibytes] = args;
const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const prefix = '.g3zkp-benchmark-';
for (const left of fs.readdirSync(folder).filter((name) => name.startsWith(prefix))) {
  fs.rmSync(path.join(folder, left), { force: true });
}
const room = fs.statfsSync?.(folder);
if (room && room.bavail * room.bsize < 10 * mebibytes * 2 ** 20) throw new Error('the volume has too little room to be measured');
const file = path.join(folder, prefix + process.pid);
const seconds = (work) => {
  const began = process.hrtime.bigint();
  work();
  return Number(process.hrtime.bigint() - began) / 1e9;
};
const piece = require('node:crypto').randomBytes(1 << 20);
try {
  const descriptor = fs.openSync(file, 'wx', 0o600);
  let write;
  try {
    write = seconds(() => {
      for (let number = 0; number < mebibytes; number += 1) fs.writeSync(descriptor, piece);
      fs.fsyncSync(descriptor);
    });
  } finally {
    fs.closeSync(descriptor);
  }
  let status;
  const read = seconds(() => {
    status = spawnSync('dd', [`if=${file}`, 'of=/dev/null', 'bs=1048576', 'iflag=direct']).status;
  });
  return { write, read: status === 0 ? read : null };
} finally {
  fs.rmSync(file, { force: true });
}
"""


def measure(
    platform: Platform, folder: PurePosixPath, *, mebibytes: int, seconds: float, guard: Guard, clock: Clock
) -> tuple[tuple[Figure, ...], tuple[Lack, ...]]:
    """Of the volume that holds `folder`, as the messenger sees it, with a file of that size and within that time.
    Raises what `messenger_call.call` does."""
    answer = call(platform, _SCRIPT, timeout_seconds=seconds, args=[str(folder), mebibytes], guard=guard, clock=clock)
    return judged(answer, mebibytes)


def judged(answer: Any, mebibytes: int) -> tuple[tuple[Figure, ...], tuple[Lack, ...]]:
    """What the script's answer comes to."""
    moved = mebibytes * _MIB
    found = {"volume.write": answer["write"], "volume.read": answer["read"]}
    figures = [Figure(name, moved / took, Unit.BYTES_PER_SECOND) for name, took in found.items() if took]
    lacks = []
    if not answer["read"]:
        lacks.append(Lack("volume.read", "the volume cannot be read past the system's cache (dd iflag=direct)"))
    return tuple(figures), tuple(lacks)
