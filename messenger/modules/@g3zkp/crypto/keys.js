'use strict';
/**
 * Keys. A private key stays in `$G3ZKP_DATA/keys/<type>-<keyId>.json`, mode 0600, and is never returned or printed.
 *
 * Which key of a type is in use: what `$G3ZKP_KEYS_DIR/<type>-key` names (the mounted Secret, without private parts), else
 * the newest in the data folder that is not retired.
 */

const fs = require('node:fs');
const path = require('node:path');
const crypto = require('node:crypto');
const { dataFolder, replaceFile, withLock } = require('../data');

const CURVES = Object.freeze({ identity: 'ed25519', signing: 'ed25519', encryption: 'x25519', session: 'x25519' });
const KEY_TYPES = Object.freeze(Object.keys(CURVES));

class KeyFileInvalid extends Error {}

const rawPublicKey = (publicKey) => Buffer.from(publicKey.export({ format: 'jwk' }).x, 'base64url');
const keyIdOf = (publicKey) => crypto.createHash('sha256').update(publicKey).digest('hex').slice(0, 16);

/** Stores a private key (KeyObject) of that type; returns {publicKey: Buffer of 32 bytes, keyId}. */
function storeKey(type, privateKey, { createdAt = Date.now() } = {}) {
  const publicKey = rawPublicKey(crypto.createPublicKey(privateKey));
  const keyId = keyIdOf(publicKey);
  const record = {
    type, keyId, publicKey: publicKey.toString('base64'), createdAt: new Date(createdAt).toISOString(),
    privateKey: privateKey.export({ format: 'pem', type: 'pkcs8' }),
  };
  replaceFile(path.join(dataFolder('keys'), `${type}-${keyId}.json`), `${JSON.stringify(record)}\n`, { mode: 0o600 });
  return { publicKey, keyId };
}

/** A new key of that type; on the disk when it returns. Throws TypeError for an unknown type. */
function generateKey(type) {
  if (!Object.hasOwn(CURVES, type)) {
    throw new TypeError(`unknown key type ${JSON.stringify(type)}: one of ${KEY_TYPES.join(', ')}`);
  }
  return storeKey(type, crypto.generateKeyPairSync(CURVES[type]).privateKey);
}

/** One key file as written, or null where it is not a regular file. Throws KeyFileInvalid; never shows content. */
function readKeyFile(file) {
  if (!fs.statSync(file).isFile()) return null;
  let record;
  try {
    record = JSON.parse(fs.readFileSync(file, 'utf8'));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  if (!KEY_TYPES.includes(record?.type) || typeof record.keyId !== 'string' || typeof record.publicKey !== 'string') {
    throw new KeyFileInvalid(`the key file ${file} does not hold JSON with type, keyId and publicKey`);
  }
  return { ...record, file };
}

function keyFiles(folder, pattern) {
  return fs.readdirSync(folder)
    .filter((name) => pattern.test(name))
    .map((name) => readKeyFile(path.join(folder, name)))
    .filter(Boolean);
}

const ownKeys = () => keyFiles(dataFolder('keys'), /^[a-z]+-[0-9a-f]{16}\.json$/);
const namedKeys = (folder) => (folder ? keyFiles(folder, /^[a-z]+-key$/) : []);

function newest(keys) {
  return keys.reduce((best, key) => (best && best.createdAt >= key.createdAt ? best : key), undefined);
}

/** Makes a key of each type that has none. Under a lock, for servers that start side by side. */
function ensureKeys(keysFolder = process.env.G3ZKP_KEYS_DIR) {
  return withLock('keys', () => {
    const present = new Set([...namedKeys(keysFolder), ...ownKeys()].filter((key) => !key.retiredAt).map((key) => key.type));
    const missing = KEY_TYPES.filter((type) => !present.has(type));
    missing.forEach(generateKey);
    return missing;
  });
}

/**
 * What a server works with from its start to its end: {known, inUse}. `known` is every key without its private part;
 * `inUse` maps each type to {keyId, type, publicKey, createdAt, privateKey: KeyObject or null where its file is missing}.
 */
function loadKeys(keysFolder = process.env.G3ZKP_KEYS_DIR) {
  const own = ownKeys();
  const named = namedKeys(keysFolder);
  const inUse = {};
  for (const type of KEY_TYPES) {
    const key = named.find((each) => each.type === type)
      ?? newest(own.filter((each) => each.type === type && !each.retiredAt));
    if (!key) throw new KeyFileInvalid(`there is no ${type} key in use`);
    const pem = own.find((each) => each.keyId === key.keyId)?.privateKey;
    inUse[type] = { ...withoutPrivate(key), privateKey: pem ? crypto.createPrivateKey(pem) : null };
  }
  const known = new Map([...own, ...named].map((key) => [key.keyId, withoutPrivate(key)]));
  return { known: [...known.values()], inUse };
}

function withoutPrivate({ type, keyId, publicKey, createdAt }) {
  return { type, keyId, publicKey, createdAt };
}

/** What is wrong with the keys, as sentences: others can read one, or a private part is missing or of another key. */
function auditKeys({ inUse }) {
  const folder = dataFolder('keys');
  const open = (file) => (fs.statSync(file).mode & 0o077) !== 0;
  const findings = open(folder) ? [`${folder} is open to other users`] : [];
  for (const { file } of ownKeys()) if (open(file)) findings.push(`${file} is open to other users`);
  for (const key of Object.values(inUse)) {
    const matches = key.privateKey
      && rawPublicKey(crypto.createPublicKey(key.privateKey)).equals(Buffer.from(key.publicKey, 'base64'));
    if (!matches) findings.push(`the ${key.type} key ${key.keyId} has no private part that fits`);
  }
  return findings;
}

module.exports = { CURVES, KEY_TYPES, KeyFileInvalid, generateKey, storeKey, ensureKeys, loadKeys, ownKeys, auditKeys };
