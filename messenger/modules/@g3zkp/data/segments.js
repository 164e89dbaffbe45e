'use strict';
/**
 * Records in append-only JSON lines, cut into segments: `messages/00000001.jsonl`, beside it `00000001.deleted` with the ids
 * of the deleted ones. No process keeps an index: a record's id begins with the number of its segment.
 *
 * Guarantees: an id is given out after fsync; a line without its newline was never given out and is cut off by the next
 * writer; a deletion is one rename; compaction rewrites one segment by one rename and drops the list of the deleted after
 * it, so that a crash between leaves a list that names nothing. Readers take no lock.
 */

const fs = require('node:fs');
const path = require('node:path');
const { randomBytes } = require('node:crypto');
const { dataFolder } = require('./folder');
const { replaceFile, syncFolder, writeAll, sweepTemporaries, readIfThere } = require('./atomic');
const { withLock } = require('./lock');

const SEGMENT_BYTES = 4 << 20;
const SEGMENT = /^(\d{8})\.jsonl$/;
const ID = /^(\d{8})-[0-9a-f]{16}$/;

class CorruptRecord extends Error {}

const randomToken = () => randomBytes(8).toString('hex');
const segmentFile = (folder, number) => path.join(folder, `${number}.jsonl`);
const deletedFile = (folder, number) => path.join(folder, `${number}.deleted`);
const sizeOf = (file) => fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0;

function segmentNumbers(folder) {
  return fs.readdirSync(folder).map((name) => SEGMENT.exec(name)?.[1]).filter(Boolean).sort();
}

function wholeLines(file) {
  const text = readIfThere(file) ?? '';
  return text.slice(0, text.lastIndexOf('\n') + 1).split('\n').slice(0, -1);
}

function deletedIds(folder, number) {
  return new Set(wholeLines(deletedFile(folder, number)));
}

function parse(line, file, index) {
  try {
    const record = JSON.parse(line);
    if (ID.test(record.id) && Number.isFinite(record.createdAt)) return record;
  } catch {
    // falls through: the error below says where, and never what
  }
  throw new CorruptRecord(`${file}, line ${index + 1} is not a record: restore this file from a backup`);
}

/** The records of a segment that are not deleted, each with its line. */
function liveRecords(folder, number) {
  const file = segmentFile(folder, number);
  const deleted = deletedIds(folder, number);
  return wholeLines(file)
    .map((line, index) => ({ line, record: parse(line, file, index) }))
    .filter(({ record }) => !deleted.has(record.id));
}

/** Cuts off what a killed writer left after the last whole line; returns the size that is good. */
function repairTail(file) {
  if (!fs.existsSync(file)) return 0;
  const bytes = fs.readFileSync(file);
  const good = bytes.lastIndexOf(0x0a) + 1;
  if (good < bytes.length) fs.truncateSync(file, good);
  return good;
}

function appendBytes(file, bytes, size) {
  const handle = fs.openSync(file, 'a', 0o600);
  try {
    writeAll(handle, bytes);
    fs.fsyncSync(handle);
  } catch (error) {
    fs.ftruncateSync(handle, size);
    throw error;
  } finally {
    fs.closeSync(handle);
  }
}

/** As many of `records`, from `start` on, as the segment has room for; at least one. */
function linesThatFit(records, { start, number, room, token }) {
  const lines = [];
  const ids = [];
  for (let left = room; start + ids.length < records.length && left > 0;) {
    const id = `${number}-${token()}`;
    const line = Buffer.from(`${JSON.stringify({ id, ...records[start + ids.length] })}\n`);
    left -= line.length;
    lines.push(line);
    ids.push(id);
  }
  return { bytes: Buffer.concat(lines), ids };
}

function appendLocked(folder, records, { token, lock }) {
  const ids = [];
  let number = segmentNumbers(folder).at(-1) ?? '00000001';
  while (ids.length < records.length) {
    const size = repairTail(segmentFile(folder, number));
    if (size >= SEGMENT_BYTES) {
      number = String(Number(number) + 1).padStart(8, '0');
      continue;
    }
    const part = linesThatFit(records, { start: ids.length, number, room: SEGMENT_BYTES - size, token });
    lock.check();
    appendBytes(segmentFile(folder, number), part.bytes, size);
    if (size === 0) syncFolder(folder);
    ids.push(...part.ids);
  }
  return ids;
}

/** Stores `records` (each with `createdAt`, ms since 1970); resolves to their ids once they are on the disk. */
function appendRecords(collection, records, { token = randomToken } = {}) {
  return withLock(collection, (lock) => appendLocked(dataFolder(collection), records, { token, lock }));
}

/** The record of that id, or null where there is none or it was deleted. */
function readRecord(collection, id) {
  const number = ID.exec(id)?.[1];
  if (!number) return null;
  const folder = dataFolder(collection);
  if (deletedIds(folder, number).has(id)) return null;
  const file = segmentFile(folder, number);
  const lines = wholeLines(file);
  const index = lines.findIndex((line) => line.startsWith(`{"id":"${id}"`));
  return index < 0 ? null : parse(lines[index], file, index);
}

/** All records of a collection that are not deleted. Reads everything: for tools, not for requests. */
function allRecords(collection) {
  const folder = dataFolder(collection);
  return segmentNumbers(folder).flatMap((number) => liveRecords(folder, number).map(({ record }) => record));
}

function deleteInSegment(folder, number, { cutoffMs, lock }) {
  const expired = liveRecords(folder, number).filter(({ record }) => record.createdAt < cutoffMs);
  if (expired.length === 0) return 0;
  const ids = [...deletedIds(folder, number), ...expired.map(({ record }) => record.id)];
  replaceFile(deletedFile(folder, number), `${ids.join('\n')}\n`, { mode: 0o600, beforeCommit: () => lock.check() });
  return expired.length;
}

function requireMoment(value, name) {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) {
    throw new TypeError(`${name} must be milliseconds since 1970, got ${JSON.stringify(value)}`);
  }
}

/** Deletes every record created before `cutoffMs`; resolves to how many. The lock is held for one segment at a time, so
 * that the messenger goes on meanwhile. */
async function deleteRecordsBefore(collection, cutoffMs) {
  requireMoment(cutoffMs, 'the cutoff');
  const folder = dataFolder(collection);
  let count = 0;
  for (const number of segmentNumbers(folder)) {
    count += await withLock(collection, (lock) => deleteInSegment(folder, number, { cutoffMs, lock }));
  }
  return count;
}

/** How many records were created before `cutoffMs`. Deletes nothing, and takes no lock. */
function countRecordsBefore(collection, cutoffMs) {
  requireMoment(cutoffMs, 'the cutoff');
  return allRecords(collection).filter(({ createdAt }) => createdAt < cutoffMs).length;
}

function compactSegment(folder, number, lock) {
  const segment = segmentFile(folder, number);
  const deleted = deletedFile(folder, number);
  if (!fs.existsSync(deleted)) return 0;
  const before = sizeOf(segment) + sizeOf(deleted);
  const lines = liveRecords(folder, number).map(({ line }) => `${line}\n`);
  if (lines.length > 0) {
    replaceFile(segment, lines.join(''), { mode: 0o600, beforeCommit: () => lock.check() });
  } else {
    lock.check();
    fs.rmSync(segment, { force: true });
    syncFolder(folder);
  }
  fs.rmSync(deleted, { force: true });
  syncFolder(folder);
  return before - sizeOf(segment);
}

/** Rewrites the segments that hold deleted records; resolves to the bytes given back to the file system. */
async function compactRecords(collection) {
  const folder = dataFolder(collection);
  sweepTemporaries(folder);
  const numbers = new Set(fs.readdirSync(folder).map((name) => /^(\d{8})\.(jsonl|deleted)$/.exec(name)?.[1]));
  numbers.delete(undefined);
  let freed = 0;
  for (const number of numbers) {
    freed += await withLock(collection, (lock) => compactSegment(folder, number, lock));
  }
  return freed;
}

module.exports = {
  CorruptRecord, appendRecords, readRecord, allRecords, countRecordsBefore, deleteRecordsBefore, compactRecords, requireMoment,
};
