'use strict';
const { test } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { freshData, startNode, until } = require('./world');
const { withLock, LockBusy } = require('../modules/@g3zkp/data');

/** A child that takes the lock, says so, and holds it until a file appears; then it checks the lock. */
const HOLDER = `
  const fs = require('node:fs');
  require('@g3zkp/data').withLock('x', (lock) => {
    fs.writeSync(1, 'held');
    while (!fs.existsSync(process.env.G3ZKP_DATA + '/go')) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    lock.check();
  }).then(() => console.log(' done'), (error) => console.log(' ' + error.constructor.name));`;

test('two processes are never inside at once', async (t) => {
  const counter = path.join(freshData(t), 'counter');
  fs.writeFileSync(counter, '0');
  const code = `
    const fs = require('node:fs');
    const { withLock } = require('@g3zkp/data');
    const step = () => fs.writeFileSync('${counter}', String(Number(fs.readFileSync('${counter}', 'utf8')) + 1));
    (async () => { for (let n = 0; n < 100; n += 1) await withLock('x', step); })();`;
  const children = [1, 2, 3, 4].map(() => startNode(t, code));
  const endings = await Promise.all(children.map((child) => child.ended));
  assert.deepEqual(endings.map(({ status }) => status), [0, 0, 0, 0]);
  assert.equal(fs.readFileSync(counter, 'utf8'), '400');
});

test('calls within one process wait for each other', async (t) => {
  freshData(t);
  const order = [];
  await Promise.all([1, 2, 3].map((n) => withLock('x', () => order.push(n))));
  assert.equal(order.length, 3);
});

test('a holder that was killed is succeeded at once', async (t) => {
  freshData(t);
  const holder = startNode(t, HOLDER);
  await until(() => holder.text === 'held', 'the child holds the lock');
  await assert.rejects(withLock('x', () => {}, { waitMs: 50 }), LockBusy);
  holder.kill('SIGKILL');
  await holder.ended;
  assert.equal(await withLock('x', () => 'mine', { waitMs: 2_000 }), 'mine');
});

test('a holder that stood still and was succeeded does not commit', async (t) => {
  const folder = freshData(t);
  const holder = startNode(t, HOLDER);
  await until(() => holder.text === 'held', 'the child holds the lock');
  const minuteAgo = new Date(Date.now() - 60_000);
  fs.utimesSync(path.join(folder, 'locks/x/ticket-1'), minuteAgo, minuteAgo);
  assert.equal(await withLock('x', () => 'mine', { waitMs: 2_000 }), 'mine');
  fs.writeFileSync(path.join(folder, 'go'), '');
  await holder.ended;
  assert.equal(holder.text.trim(), 'held LockLost');
  assert.equal(await withLock('x', () => 'free', { waitMs: 2_000 }), 'free');
});

test('work that throws gives the lock back', async (t) => {
  freshData(t);
  await assert.rejects(withLock('x', () => { throw new Error('work failed'); }), /work failed/);
  assert.equal(await withLock('x', () => 'free', { waitMs: 50 }), 'free');
});
