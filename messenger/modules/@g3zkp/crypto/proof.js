'use strict';
/**
 * Proofs of authorship. An Ed25519 signature (RFC 8032) is a Schnorr proof of knowledge of the private key, made
 * non-interactive by hashing: it shows that the prover knows the key, and nothing of the key. The statement is the
 * SHA-256 of the message's fields in a fixed order.
 */

const crypto = require('node:crypto');

function statementOf({ from, to, body, attachment = null, createdAt }) {
  return crypto.createHash('sha256').update(JSON.stringify([from, to, body, attachment, createdAt])).digest();
}

/** The proof of `message` by a key in use (as loadKeys gives it). */
function prove(message, key) {
  if (!key.privateKey) throw new Error(`the ${key.type} key ${key.keyId} has no private part in the data folder`);
  const statement = statementOf(message);
  const proof = crypto.sign(null, statement, key.privateKey).toString('base64');
  return { createdAt: message.createdAt, keyId: key.keyId, statement: statement.toString('hex'), proof };
}

/** Whether `proof` belongs to `message` and was made by the owner of `publicKey` (base64, 32 bytes). */
function verify(message, proof, publicKey) {
  const statement = statementOf(message);
  if (statement.toString('hex') !== proof.statement) return false;
  const x = Buffer.from(publicKey, 'base64').toString('base64url');
  const key = crypto.createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
  return crypto.verify(null, statement, key, Buffer.from(proof.proof, 'base64'));
}

module.exports = { prove, verify };
