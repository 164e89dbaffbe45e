'use strict';
const { test } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { freshData, startNode } = require('./world');
const crypto = require('../modules/@g3zkp/crypto');

for (const type of ['identity', 'signing', 'encryption', 'session']) {
  test(`a new ${type} key has 32 public bytes, and its private part only in a file of mode 0600`, (t) => {
    const folder = freshData(t);
    const key = crypto.generateKey(type);
    assert.deepEqual(Object.keys(key).sort(), ['keyId', 'publicKey']);
    assert.ok(Buffer.isBuffer(key.publicKey) && key.publicKey.length === 32);
    const file = path.join(folder, 'keys', `${type}-${key.keyId}.json`);
    assert.equal(fs.statSync(file).mode & 0o777, 0o600);
    assert.match(JSON.parse(fs.readFileSync(file, 'utf8')).privateKey, /BEGIN PRIVATE KEY/);
  });
}

test('an unknown type throws and makes nothing', (t) => {
  const folder = freshData(t);
  for (const type of ['master', undefined, '__proto__', 'toString']) assert.throws(() => crypto.generateKey(type), TypeError);
  assert.equal(fs.existsSync(path.join(folder, 'keys')), false);
});

test('a generated key is in use after the next load', async (t) => {
  freshData(t);
  await crypto.ensureKeys('');
  const before = crypto.loadKeys('').inUse.signing.keyId;
  const { keyId } = crypto.generateKey('signing');
  assert.notEqual(keyId, before);
  assert.equal(crypto.loadKeys('').inUse.signing.keyId, keyId);
});

test('the mounted Secret decides which key is in use', async (t) => {
  const folder = freshData(t);
  const { keyId, publicKey } = crypto.generateKey('signing');
  await crypto.ensureKeys('');
  crypto.generateKey('signing');
  const secret = path.join(folder, 'secret');
  fs.mkdirSync(secret);
  const value = { type: 'signing', publicKey: publicKey.toString('base64'), keyId, createdAt: '2026-01-01T00:00:00Z' };
  fs.writeFileSync(path.join(secret, 'signing-key'), JSON.stringify(value));
  assert.equal(crypto.loadKeys(secret).inUse.signing.keyId, keyId);
  assert.deepEqual(crypto.auditKeys(crypto.loadKeys(secret)), []);
});

test('a key file that is no JSON is an error that shows its name and not its content', async (t) => {
  const folder = freshData(t);
  await crypto.ensureKeys('');
  fs.writeFileSync(path.join(folder, 'signing-key'), 'c2VjcmV0IG1hdGVyaWFs\n');
  assert.throws(() => crypto.loadKeys(folder), (error) => /signing-key/.test(error.message) && !/c2Vj/.test(error.message));
});

test('the audit finds a key that others can read, and a missing private part', async (t) => {
  const folder = freshData(t);
  await crypto.ensureKeys('');
  const keys = crypto.loadKeys('');
  assert.deepEqual(crypto.auditKeys(keys), []);
  const file = path.join(folder, 'keys', `identity-${keys.inUse.identity.keyId}.json`);
  fs.chmodSync(file, 0o640);
  assert.equal(crypto.auditKeys(keys).length, 1);
  keys.inUse.signing.privateKey = null;
  assert.equal(crypto.auditKeys(keys).length, 2);
});

test('a proof holds for its message and key alone', async (t) => {
  freshData(t);
  await crypto.ensureKeys('');
  const { signing, identity } = crypto.loadKeys('').inUse;
  const message = { from: 'a', to: 'b', body: 'words', createdAt: 1 };
  const proof = crypto.prove(message, signing);
  assert.equal(crypto.verify(message, proof, signing.publicKey), true);
  assert.equal(crypto.verify({ ...message, body: 'word' }, proof, signing.publicKey), false);
  assert.equal(crypto.verify(message, proof, identity.publicKey), false);
});

test('sessions last active before the cutoff are deleted, however old the others', async (t) => {
  const folder = freshData(t);
  await crypto.touchSession('idle', { now: 1000 });
  await crypto.touchSession('busy', { now: 1000 });
  await crypto.touchSession('busy', { now: 9000 });
  assert.equal(await crypto.cleanupStaleSessions(5000), 1);
  assert.deepEqual(fs.readdirSync(path.join(folder, 'sessions')), [`${crypto.sessionId('busy')}.json`]);
  await assert.rejects(crypto.cleanupStaleSessions('yesterday'), TypeError);
});

test('node -e finds the modules by name, and the old scripts run as they were', async (t) => {
  freshData(t);
  const child = startNode(t, `
    const crypto = require('@g3zkp/crypto');
    const storage = require('@g3zkp/storage');
    const key = crypto.generateKey('identity');
    const results = [storage.deleteMessagesBefore(1), storage.deleteProofsBefore(1), crypto.cleanupStaleSessions(1)];
    Promise.all([...results, storage.compact()]).then((all) => console.log(JSON.stringify([key.keyId.length, ...all])));`);
  assert.deepEqual(await child.ended, { status: 0, signal: null });
  assert.deepEqual(JSON.parse(child.text), [16, 0, 0, 0, { freedBytes: 0 }]);
});
