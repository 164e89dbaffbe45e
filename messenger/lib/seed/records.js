'use strict';
/** Messages with their proofs, sessions and keys, of all ages from now to 90 days. */

const fs = require('node:fs');
const path = require('node:path');
const nodeCrypto = require('node:crypto');
const crypto = require('../../modules/@g3zkp/crypto');
const { appendRecords, dataFolder, replaceFile } = require('../../modules/@g3zkp/data');

const OLDEST_MS = 90 * 86_400_000;
// PKCS #8 (RFC 8410) up to the 32 bytes of the private key itself.
const PKCS8_HEAD = {
  ed25519: Buffer.from('302e020100300506032b657004220420', 'hex'),
  x25519: Buffer.from('302e020100300506032b656e04220420', 'hex'),
};

function seededKey(random, type) {
  const der = Buffer.concat([PKCS8_HEAD[crypto.CURVES[type]], random.bytes(32)]);
  return nodeCrypto.createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
}

/** Three keys of each type: two of earlier months, retired, and the one in use. Returns the one that signs. */
function writeKeys({ random, now }) {
  for (const type of crypto.KEY_TYPES) {
    for (const monthsAgo of [2, 1, 0]) {
      const createdAt = now - monthsAgo * (OLDEST_MS / 3) - random.whole(1, 86_400_000);
      const { keyId } = crypto.storeKey(type, seededKey(random, type), { createdAt });
      if (monthsAgo > 0) retireKey(path.join(dataFolder('keys'), `${type}-${keyId}.json`), now);
    }
  }
  return crypto.loadKeys('').inUse.signing;
}

function retireKey(file, at) {
  const record = JSON.parse(fs.readFileSync(file, 'utf8'));
  replaceFile(file, `${JSON.stringify({ ...record, retiredAt: new Date(at).toISOString() })}\n`, { mode: 0o600 });
}

/** A key of one type is rotated, as the calendar does: a new file beside the old one, and the old one changed. */
function rotateKey({ random, now }) {
  const type = random.pick(crypto.KEY_TYPES);
  const old = crypto.ownKeys().filter((key) => key.type === type && !key.retiredAt);
  crypto.storeKey(type, seededKey(random, type), { createdAt: now });
  old.forEach((key) => retireKey(key.file, now));
  return type;
}

const person = (number) => `user-${String(number).padStart(5, '0')}`;

function message({ random, text, blocks, people, now, spanMs }) {
  const attachment = random.whole(0, 4) === 0 && blocks.length > 0 ? { attachment: random.pick(blocks) } : {};
  return {
    createdAt: now - random.whole(0, spanMs),
    from: person(random.whole(0, people)), to: person(random.whole(0, people)), body: text.sentence(), ...attachment,
  };
}

/** Appends `count` messages, the oldest first, each with a real proof. A quarter refers to a block of `blocks`. */
async function writeMessages({ random, text, blocks, people, count, key, now, spanMs = OLDEST_MS }) {
  const messages = Array.from({ length: count }, () => message({ random, text, blocks, people, now, spanMs }))
    .sort((a, b) => a.createdAt - b.createdAt);
  const token = () => random.hex(16);
  const proofIds = await appendRecords('proofs', messages.map((each) => crypto.prove(each, key)), { token });
  await appendRecords('messages', messages.map((each, index) => ({ ...each, proofId: proofIds[index] })), { token });
}

/** A session a person; not synced, as blocks are not. */
function writeSessions({ random, people, now }) {
  const folder = dataFolder('sessions');
  for (let number = 0; number < people; number += 1) {
    const id = crypto.sessionId(person(number));
    const lastActiveAt = now - random.whole(0, OLDEST_MS);
    const session = { id, peer: person(number), createdAt: lastActiveAt - random.whole(0, 3_600_000), lastActiveAt };
    fs.writeFileSync(path.join(folder, `${id}.json`), `${JSON.stringify(session)}\n`, { mode: 0o600 });
  }
}

module.exports = { writeKeys, rotateKey, writeMessages, writeSessions };
