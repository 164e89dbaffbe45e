'use strict';
const { test } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { freshData, startNode, until } = require('./world');
const { appendRecords, readRecord, allRecords, CorruptRecord } = require('../modules/@g3zkp/data');
const storage = require('../modules/@g3zkp/storage');

const record = (createdAt, body = 'x') => ({ createdAt, from: 'a', to: 'b', body });
const sizeOf = (folder) => fs.readdirSync(folder).reduce((sum, name) => sum + fs.statSync(path.join(folder, name)).size, 0);

test('deletes exactly what was created before the cutoff, and counts it', async (t) => {
  freshData(t);
  const ids = await appendRecords('messages', [record(999), record(1000), record(1001), record(5)]);
  assert.equal(await storage.deleteMessagesBefore(1000), 2);
  assert.deepEqual(ids.map((id) => readRecord('messages', id) !== null), [false, true, true, false]);
  assert.equal(await storage.deleteMessagesBefore(1000), 0);
});

test('the time of the file decides nothing', async (t) => {
  const folder = freshData(t);
  await appendRecords('proofs', [record(Date.now())]);
  fs.utimesSync(path.join(folder, 'proofs/00000001.jsonl'), 1, 1);
  assert.equal(await storage.deleteProofsBefore(Date.now() - 1000), 0);
});

test('compaction gives back the bytes that it says, and loses no live record', async (t) => {
  const folder = path.join(freshData(t), 'messages');
  const records = Array.from({ length: 9000 }, (_, index) => record(index, 'body '.repeat(200)));
  const ids = await appendRecords('messages', records);
  assert.ok(fs.readdirSync(folder).length >= 3, 'several segments');
  assert.equal(await storage.deleteMessagesBefore(6000), 6000);
  const before = sizeOf(folder);
  const { freedBytes } = await storage.compact();
  assert.equal(before - sizeOf(folder), freedBytes);
  assert.ok(freedBytes > 6000 * 1000);
  assert.deepEqual(allRecords('messages').map(({ id }) => id), ids.slice(6000));
  assert.deepEqual(await storage.compact(), { freedBytes: 0 });
});

test('a cutoff that is no moment is refused and nothing is deleted', async (t) => {
  freshData(t);
  await appendRecords('messages', [record(1)]);
  for (const cutoff of [undefined, NaN, '2026-01-01', null, -1, Infinity]) {
    await assert.rejects(storage.deleteMessagesBefore(cutoff), TypeError);
  }
  assert.equal(allRecords('messages').length, 1);
});

test('a data folder that is not there is an error, not zero deletions', async (t) => {
  process.env.G3ZKP_DATA = path.join(freshData(t), 'not-mounted');
  await assert.rejects(storage.deleteMessagesBefore(1), /is not there: mount the volume/);
  await assert.rejects(storage.compact(), /is not there/);
});

test('a half-written last line is cut off by the next writer and hides nothing', async (t) => {
  const folder = freshData(t);
  const [first] = await appendRecords('messages', [record(1)]);
  fs.appendFileSync(path.join(folder, 'messages/00000001.jsonl'), '{"id":"00000001-0123456789abcdef","crea');
  assert.equal(readRecord('messages', first).createdAt, 1);
  const [second] = await appendRecords('messages', [record(2)]);
  assert.deepEqual(allRecords('messages').map(({ id }) => id), [first, second]);
});

test('a damaged line stops deletion and compaction, and the error shows where and not what', async (t) => {
  const folder = freshData(t);
  await appendRecords('messages', [record(1), record(2, 'private words')]);
  const file = path.join(folder, 'messages/00000001.jsonl');
  const damaged = fs.readFileSync(file, 'utf8').replace('"createdAt":2', '"createdAt":"2"');
  fs.writeFileSync(file, damaged);
  await assert.rejects(storage.deleteMessagesBefore(10), (error) => {
    assert.ok(error instanceof CorruptRecord);
    assert.match(error.message, /00000001\.jsonl, line 2/);
    return !error.message.includes('private');
  });
  assert.equal(fs.readFileSync(file, 'utf8'), damaged);
});

test('what was acknowledged is there after kill -9 of a writer, beside deletions and compactions that are killed too', async (t) => {
  freshData(t);
  await appendRecords('messages', Array.from({ length: 400 }, () => record(1, 'old'.repeat(300))));
  const writer = startNode(t, `
    const { appendRecords } = require('@g3zkp/data');
    (async () => { for (;;) {
      const [id] = await appendRecords('messages', [{ createdAt: 5000, body: 'new' }]);
      require('node:fs').writeSync(1, id + '\\n');
    } })();`);
  const cleaner = startNode(t, `
    const storage = require('@g3zkp/storage');
    (async () => { for (let cutoff = 2; ; cutoff += 1) {
      await storage.deleteMessagesBefore(cutoff);
      await storage.compact();
      await require('@g3zkp/data').appendRecords('messages', [{ createdAt: 1, body: 'old' }]);
      console.log(cutoff);
    } })();`);
  await until(() => writer.text.split('\n').length > 60 && cleaner.text.split('\n').length > 20, 'both work');
  writer.kill('SIGKILL');
  cleaner.kill('SIGKILL');
  await Promise.all([writer.ended, cleaner.ended]);
  const acknowledged = writer.text.split('\n').filter(Boolean);
  await storage.deleteMessagesBefore(4999);
  await storage.compact();
  const there = new Set(allRecords('messages').map(({ id }) => id));
  assert.deepEqual(acknowledged.filter((id) => !there.has(id)), []);
  assert.ok(there.size <= acknowledged.length + 1, 'at most the one that was under way');
});
