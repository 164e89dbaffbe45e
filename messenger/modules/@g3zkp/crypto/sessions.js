'use strict';
/** Sessions: one file each, `sessions/<id>.json`, with `lastActiveAt`; stale when that is before a cutoff. */

const fs = require('node:fs');
const path = require('node:path');
const crypto = require('node:crypto');
const { dataFolder, replaceFile, syncFolder, withLock, requireMoment, readIfThere, sweepTemporaries } = require('../data');

const SESSION = /^[0-9a-f]{32}\.json$/;

const sessionId = (peer) => crypto.createHash('sha256').update(peer).digest('hex').slice(0, 32);

/** Notes that `peer` was active at `now` (ms); begins its session where there is none. Resolves to the session's id. */
function touchSession(peer, { now = Date.now() } = {}) {
  const id = sessionId(peer);
  return withLock('sessions', (lock) => {
    const file = path.join(dataFolder('sessions'), `${id}.json`);
    const known = JSON.parse(readIfThere(file) ?? 'null') ?? { id, peer, createdAt: now };
    const text = `${JSON.stringify({ ...known, lastActiveAt: now })}\n`;
    replaceFile(file, text, { mode: 0o600, beforeCommit: () => lock.check() });
    return id;
  });
}

function isStale(file, cutoffMs) {
  const { lastActiveAt } = JSON.parse(fs.readFileSync(file, 'utf8'));
  if (!Number.isFinite(lastActiveAt)) throw new Error(`the session ${file} has no lastActiveAt`);
  return lastActiveAt < cutoffMs;
}

function sessionFiles(folder) {
  return fs.readdirSync(folder).filter((name) => SESSION.test(name)).map((name) => path.join(folder, name));
}

/** How many sessions `cleanupStaleSessions` would delete now; of this messenger only, the protocols know no such call. */
async function countStaleSessions(cutoffMs) {
  requireMoment(cutoffMs, 'the cutoff');
  return sessionFiles(dataFolder('sessions')).filter((file) => isStale(file, cutoffMs)).length;
}

/** Deletes the sessions that were last active before `cutoffMs` (ms since 1970); resolves to how many. */
async function cleanupStaleSessions(cutoffMs) {
  requireMoment(cutoffMs, 'the cutoff');
  const folder = dataFolder('sessions');
  return withLock('sessions', (lock) => {
    sweepTemporaries(folder);
    let count = 0;
    for (const file of sessionFiles(folder).filter((each) => isStale(each, cutoffMs))) {
      lock.check();
      fs.rmSync(file);
      count += 1;
    }
    if (count > 0) syncFolder(folder);
    return count;
  });
}

module.exports = { sessionId, touchSession, countStaleSessions, cleanupStaleSessions };
