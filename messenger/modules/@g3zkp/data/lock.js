'use strict';
/**
 * A lock between processes, because maintenance runs `node -e` beside the server, and several servers share a volume.
 *
 * A lock is a folder of numbered tickets. The highest ticket is the lock's state: empty means free, else it names its
 * holder. Taking the lock is creating the next number (link(2), so it appears with its content and only one can win).
 * There is nothing to unlink when a dead holder is succeeded, hence no race between two who both found it dead, and the
 * number is a fencing token: a holder that was stopped and succeeded sees a higher number and must not commit.
 *
 * A holder is dead when its process is gone (same machine, boot and pid namespace; a reused pid has another start time),
 * or, wherever it ran, when its ticket was not renewed for STALE_MS.
 */

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { setTimeout: pause } = require('node:timers/promises');
const { dataFolder } = require('./folder');
const { temporaryName } = require('./atomic');

const STALE_MS = 30_000;
const RENEW_MS = 5_000;
const WAIT_MS = 60_000;
const KEPT_TICKETS = 4;
const TICKET = /^ticket-(\d+)$/;

class LockBusy extends Error {}
class LockLost extends Error {}

function firstLine(read) {
  try {
    return read().trim();
  } catch {
    return ''; // not a Linux machine: the pid and the ticket's age must do
  }
}

function startTime(pid) {
  const stat = firstLine(() => fs.readFileSync(`/proc/${pid}/stat`, 'utf8'));
  // The name in brackets may itself hold blanks and brackets; field 22 is the 20th after it.
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}

function place() {
  const boot = firstLine(() => fs.readFileSync('/proc/sys/kernel/random/boot_id', 'utf8'));
  return [os.hostname(), boot, firstLine(() => fs.readlinkSync('/proc/self/ns/pid'))].join('|');
}

const SELF = Object.freeze({ pid: process.pid, started: startTime(process.pid), place: place() });

function isRunning({ pid, started }) {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return error.code === 'EPERM';
  }
  return startTime(pid) === started;
}

function newestNumber(folder) {
  const numbers = fs.readdirSync(folder).map((name) => Number(TICKET.exec(name)?.[1] ?? 0));
  return Math.max(0, ...numbers);
}

function isFree(folder, number) {
  if (number === 0) return true;
  const file = path.join(folder, `ticket-${number}`);
  const stat = fs.statSync(file, { throwIfNoEntry: false });
  if (!stat) return false; // a higher one came and this one was cleared away: look again
  if (stat.size === 0 || Date.now() - stat.mtimeMs > STALE_MS) return true;
  try {
    const holder = JSON.parse(fs.readFileSync(file, 'utf8'));
    return holder.place === SELF.place && !isRunning(holder);
  } catch {
    return false; // released, or cleared away, since the stat: look again
  }
}

function createTicket(folder, number) {
  const temporary = temporaryName(folder);
  fs.writeFileSync(temporary, JSON.stringify(SELF), { flag: 'wx', mode: 0o600 });
  try {
    fs.linkSync(temporary, path.join(folder, `ticket-${number}`));
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  } finally {
    fs.rmSync(temporary, { force: true });
  }
}

class Lock {
  constructor(folder, number) {
    this.folder = folder;
    this.number = number;
    this.file = path.join(folder, `ticket-${number}`);
    this.renewedAt = Date.now();
  }

  /** To be called before each step that cannot be taken back. Throws LockLost. Renews when it is time. */
  check() {
    if (newestNumber(this.folder) !== this.number) {
      throw new LockLost(`the lock ${this.folder} was taken over while its holder was stopped: run it again`);
    }
    if (Date.now() - this.renewedAt < RENEW_MS) return;
    this.renewedAt = Date.now();
    fs.utimesSync(this.file, new Date(), new Date());
  }

  release() {
    try {
      fs.truncateSync(this.file, 0);
    } catch (error) {
      if (error.code !== 'ENOENT') throw error; // succeeded and cleared away: not ours any more
    }
  }

  /** Clears away old tickets. A few are kept, so that a listing under way cannot miss all of them. */
  prune() {
    for (const name of fs.readdirSync(this.folder)) {
      const number = Number(TICKET.exec(name)?.[1] ?? this.number);
      if (number <= this.number - KEPT_TICKETS) fs.rmSync(path.join(this.folder, name), { force: true });
    }
  }
}

function tryLock(folder) {
  const newest = newestNumber(folder);
  if (!isFree(folder, newest) || !createTicket(folder, newest + 1)) return null;
  const lock = new Lock(folder, newest + 1);
  if (newestNumber(folder) === lock.number) return lock;
  // Others took and freed the lock, and cleared this number away, since it was read: the ticket means nothing.
  fs.rmSync(lock.file, { force: true });
  return null;
}

/** Runs the synchronous `work(lock)` as the only holder of the lock `name`, resolves to what it returns. Rejects with
 * LockBusy after `waitMs`. */
async function withLock(name, work, { waitMs = WAIT_MS } = {}) {
  const folder = dataFolder(path.join('locks', name));
  const deadline = Date.now() + waitMs;
  let lock = tryLock(folder);
  while (!lock) {
    if (Date.now() > deadline) throw new LockBusy(`another process held the lock ${folder} for ${waitMs} ms`);
    await pause(3 + Math.random() * 12);
    lock = tryLock(folder);
  }
  try {
    lock.prune();
    return work(lock);
  } finally {
    lock.release();
  }
}

module.exports = { LockBusy, LockLost, withLock };
