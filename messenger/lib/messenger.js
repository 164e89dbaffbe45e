'use strict';
/**
 * What the server is apart from HTTP: the keys it loaded at its start, whether it is ready, what it does with a message.
 *
 * Keys are read once: a rotation is in use after a restart, and `GET /keys` shows it.
 */

const fs = require('node:fs');
const path = require('node:path');
const crypto = require('../modules/@g3zkp/crypto');
const storage = require('../modules/@g3zkp/storage');
const { dataRoot, prepareDataFolder, prepareBlocks, putBlock, sweepTemporaries } = require('../modules/@g3zkp/data');
const { log } = require('./log');

class NotReady extends Error {}

class Messenger {
  #metrics;
  #keys = null;
  #loadedAt = null;
  #failure = 'the keys are not loaded yet';
  #draining = false;

  constructor({ metrics }) {
    this.#metrics = metrics;
  }

  /** Makes the data folder usable and loads the keys. Resolves to whether that went well; if not, /ready tells why. */
  async load() {
    try {
      prepareDataFolder();
      prepareBlocks();
      sweepTemporaries(path.join(dataRoot(), 'keys'));
      const generated = await crypto.ensureKeys();
      const keys = crypto.loadKeys();
      this.#proof({ from: 'self-test', to: 'self-test', body: '', createdAt: Date.now() }, keys.inUse.signing);
      this.#keys = keys;
      this.#loadedAt = new Date().toISOString();
      log('info', 'keys_loaded', { generated, inUse: this.keysInUse().inUse });
      return true;
    } catch (error) {
      if (this.#failure !== error.message) log('error', 'load_failed', { reason: error.message });
      this.#failure = error.message;
      return false;
    }
  }

  drain() {
    this.#draining = true;
  }

  /** Why requests should not come here now, or null. */
  unreadyReason() {
    if (this.#draining) return 'shutting down';
    if (!this.#keys) return this.#failure;
    return dataFolderProblem();
  }

  /** Public parts only: the keys loaded, and by type the id of the one that works. */
  keysInUse() {
    if (!this.#keys) throw new NotReady(this.#failure);
    const inUse = Object.fromEntries(Object.entries(this.#keys.inUse).map(([type, key]) => [type, key.keyId]));
    return { loadedAt: this.#loadedAt, inUse, keys: this.#keys.known };
  }

  /** Stores a message with its proof, and its attachment (Buffer) as a block. Resolves to what the sender may know. */
  async accept({ from, to, body, attachment }) {
    if (!this.#keys) throw new NotReady(this.#failure);
    const message = { createdAt: Date.now(), from, to, body, ...(attachment && { attachment: putBlock(attachment) }) };
    const proof = this.#proof(message, this.#keys.inUse.signing);
    const { id, proofId } = await storage.saveMessage({ message, proof });
    await crypto.touchSession(from, { now: message.createdAt });
    return { id, proofId, createdAt: message.createdAt, keyId: proof.keyId, attachment: message.attachment ?? null };
  }

  /** {message, proof, verified}, or null. `proof` is null once it has expired; `verified` is null where the proof or its
   * key is gone. */
  find(id) {
    const found = storage.readMessage(id);
    if (!found) return null;
    const key = found.proof && this.#keys?.known.find((each) => each.keyId === found.proof.keyId);
    return { ...found, verified: key ? crypto.verify(found.message, found.proof, key.publicKey) : null };
  }

  /** The gauges that are measured when they are asked for; null where that was not possible. */
  gauges() {
    return { diskUsagePercent: orNull(diskUsagePercent), auditPassed: orNull(() => this.#auditPassed()) };
  }

  #auditPassed() {
    if (!this.#keys) return null;
    const findings = crypto.auditKeys(this.#keys);
    if (findings.length > 0) log('error', 'security_audit_failed', { findings });
    return findings.length === 0 ? 1 : 0;
  }

  #proof(message, key) {
    const start = process.hrtime.bigint();
    const proof = crypto.prove(message, key);
    this.#metrics.observeProof(Number(process.hrtime.bigint() - start) / 1e9);
    return proof;
  }
}

function dataFolderProblem() {
  const root = dataRoot();
  try {
    fs.accessSync(root, fs.constants.R_OK | fs.constants.W_OK | fs.constants.X_OK);
    return fs.statfsSync(root).bavail > 0 ? null : `the file system of the data folder ${root} is full`;
  } catch (error) {
    return `the data folder ${root} cannot be used: ${error.code}`;
  }
}

/** As df counts: of what an ordinary user could have. */
function diskUsagePercent() {
  const { blocks, bfree, bavail } = fs.statfsSync(dataRoot());
  const used = blocks - bfree;
  return Number(((100 * used) / (used + bavail)).toFixed(3));
}

function orNull(measure) {
  try {
    return measure();
  } catch (error) {
    log('error', 'measurement_failed', { reason: error.message });
    return null;
  }
}

module.exports = { Messenger, NotReady };
