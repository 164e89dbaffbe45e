'use strict';
const { test } = require('node:test');
const assert = require('node:assert/strict');
const path = require('node:path');
const zlib = require('node:zlib');
const { freshData, runSeed, tree } = require('./world');
const { listBlocks, blockName, allRecords } = require('../modules/@g3zkp/data');
const crypto = require('../modules/@g3zkp/crypto');
const fs = require('node:fs');

const DAY_MS = 86_400_000;
const NOW = '2026-03-01T00:00:00Z';
const SEED = ['--bytes', '3M', '--files', '90', '--now', NOW, '--json'];

test('makes the bytes and files asked for, as flatfs lays them out', (t) => {
  const folder = freshData(t);
  const { summary } = runSeed(SEED);
  const blocks = listBlocks();
  assert.equal(blocks.length, 90);
  assert.equal(blocks.reduce((sum, { file }) => sum + fs.statSync(file).size, 0), 3 << 20);
  for (const { name, file } of blocks) {
    assert.match(name, /^CIQ[A-Z2-7]{52}$/);
    assert.equal(name, blockName(fs.readFileSync(file)));
    assert.equal(path.basename(path.dirname(file)), name.slice(-3, -1));
  }
  assert.equal(fs.readFileSync(path.join(folder, 'ipfs/blocks/SHARDING'), 'utf8'), '/repo/flatfs/shard/v1/next-to-last/2\n');
  const files = tree(folder);
  assert.equal(files.size, summary.files);
  assert.equal([...files.values()].reduce((sum, content) => sum + content.length, 0), summary.bytes);
});

test('the name of a known block is what IPFS gives it', () => {
  // The digest is that of "hello world" (FIPS 180-4); its base32 with the head 0x12 0x20 was computed by Python's base64.
  assert.equal(blockName(Buffer.from('hello world')), 'CIQLSTJHXGJU2PQIUUXFFV62PWV7VREE57RXUU4A52IIR55M4LX432I');
});

test('about a third of the bytes compress, the rest does not', (t) => {
  freshData(t);
  runSeed(SEED);
  const packed = listBlocks().map(({ file }) => fs.readFileSync(file)).map((all) => zlib.deflateSync(all).length / all.length);
  const text = packed.filter((ratio) => ratio < 0.6).length;
  assert.ok(text > 18 && text < 45, `${text} of 90`);
  assert.ok(packed.every((ratio) => ratio < 0.6 || ratio > 0.98));
});

test('the same arguments give the same bytes, another seed others, and so does a change of them', (t) => {
  const results = ['1', '1', '2'].map((seed) => {
    const folder = freshData(t);
    runSeed([...SEED, '--seed', seed]);
    const first = tree(folder);
    assert.equal(runSeed(['--change', '10', '--seed', seed, '--now', NOW, '--json']).status, 0);
    return [first, tree(folder)];
  });
  assert.deepEqual(results[0], results[1]);
  assert.notDeepEqual([...results[0][0].keys()], [...results[2][0].keys()]);
});

test('a change adds and collects blocks, appends messages and rotates a key; nothing referred to is missing', (t) => {
  const folder = freshData(t);
  runSeed(SEED);
  const before = tree(folder);
  const { summary } = runSeed(['--change', '10', '--now', NOW, '--json']);
  const after = tree(folder);
  const isBlock = (name) => name.endsWith('.data');
  assert.equal([...after.keys()].filter((name) => isBlock(name) && !before.has(name)).length, 9);
  assert.equal([...before.keys()].filter((name) => isBlock(name) && !after.has(name)).length, summary.deletedBlocks);
  assert.ok(summary.deletedBlocks > 0);
  const keys = [...after.keys()].filter((name) => name.startsWith('keys/'));
  assert.equal(keys.filter((name) => !before.has(name)).length, 1);
  assert.equal(keys.filter((name) => before.has(name) && !before.get(name).equals(after.get(name))).length, 1);
  assert.ok(after.get('messages/00000001.jsonl').length > before.get('messages/00000001.jsonl').length);
  const names = new Set(listBlocks().map(({ name }) => name));
  const attached = allRecords('messages').map(({ attachment }) => attachment).filter(Boolean);
  assert.ok(attached.length > 0 && attached.every((name) => names.has(name)));
});

test('ages run from now to 90 days, and each proof holds', (t) => {
  freshData(t);
  runSeed(SEED);
  const messages = allRecords('messages');
  const ages = messages.map(({ createdAt }) => (Date.parse(NOW) - createdAt) / DAY_MS);
  assert.ok(Math.min(...ages) >= 0 && Math.min(...ages) < 5 && Math.max(...ages) > 85 && Math.max(...ages) < 90);
  const proofs = new Map(allRecords('proofs').map((proof) => [proof.id, proof]));
  const { publicKey } = crypto.loadKeys('').inUse.signing;
  assert.ok(messages.every((message) => crypto.verify(message, proofs.get(message.proofId), publicKey)));
  assert.deepEqual(crypto.auditKeys(crypto.loadKeys('')), []);
});

test('a full folder, an empty one for --change, and arguments without sense are refused', (t) => {
  const folder = freshData(t);
  assert.match(runSeed(['--change', '5']).stderr, /holds no blocks/);
  runSeed(['--bytes', '20K']);
  const before = tree(folder);
  const wrong = [['--bytes', '20K'], ['--bytes', '-3'], ['--bytes', '12X'], [], ['--bytes', '1M', '--change', '3'], ['--change', '0'],
    ['--bytes', '10', '--files', '11'], ['--bytes', '1M', '--redis', 'nowhere'], ['--colour'], ['--bytes', '1M', '--now', 'noon']];
  for (const args of wrong) assert.equal(runSeed(args).status, 2, args.join(' '));
  assert.deepEqual(tree(folder), before);
});
