'use strict';
/** Files that are there whole or not at all: temporary name, fsync, rename, fsync of the folder. */

const fs = require('node:fs');
const path = require('node:path');
const { randomBytes } = require('node:crypto');

const TEMPORARY = '.tmp-';
const LEFTOVER_MS = 3600_000;

function temporaryName(folder) {
  return path.join(folder, `${TEMPORARY}${process.pid}-${randomBytes(6).toString('hex')}`);
}

function syncFolder(folder) {
  const handle = fs.openSync(folder, 'r');
  try {
    fs.fsyncSync(handle);
  } finally {
    fs.closeSync(handle);
  }
}

function writeAll(handle, bytes) {
  for (let done = 0; done < bytes.length;) {
    done += fs.writeSync(handle, bytes, done, bytes.length - done);
  }
}

function writeSynced(file, bytes, mode) {
  const handle = fs.openSync(file, 'wx', mode);
  try {
    writeAll(handle, bytes);
    fs.fsyncSync(handle);
  } finally {
    fs.closeSync(handle);
  }
}

/** Replaces `file` by `content` (string or Buffer). `beforeCommit` runs before the rename and stops it by throwing. */
function replaceFile(file, content, { mode = 0o644, beforeCommit = () => {} } = {}) {
  const temporary = temporaryName(path.dirname(file));
  try {
    writeSynced(temporary, Buffer.from(content), mode);
    beforeCommit();
    fs.renameSync(temporary, file);
  } catch (error) {
    fs.rmSync(temporary, { force: true });
    throw error;
  }
  syncFolder(path.dirname(file));
}

/** Removes what writers that were killed left behind; an hour is far longer than any write. */
function sweepTemporaries(folder) {
  for (const name of fs.readdirSync(folder).filter((each) => each.startsWith(TEMPORARY))) {
    const file = path.join(folder, name);
    const stat = fs.statSync(file, { throwIfNoEntry: false });
    if (stat && Date.now() - stat.mtimeMs > LEFTOVER_MS) fs.rmSync(file, { force: true });
  }
}

/** A file's text, or null where there is no such file. */
function readIfThere(file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return null;
    throw error;
  }
}

module.exports = { temporaryName, syncFolder, writeAll, replaceFile, sweepTemporaries, readIfThere };
