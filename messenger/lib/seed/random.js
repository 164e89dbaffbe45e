'use strict';
/** Chance that a seed decides: the same seed gives the same bytes on every machine and Node version. */

const { createCipheriv, createHash } = require('node:crypto');

class Random {
  #cipher;
  #buffer = Buffer.alloc(0);
  #at = 0;

  /** `seed` is any text; AES-256-CTR of zeros, keyed by its SHA-256, is the stream. */
  constructor(seed) {
    this.#cipher = createCipheriv('aes-256-ctr', createHash('sha256').update(seed).digest(), Buffer.alloc(16));
  }

  bytes(count) {
    return this.#cipher.update(Buffer.alloc(count));
  }

  /** A number in [0, 1), of 32 bits. */
  fraction() {
    if (this.#at >= this.#buffer.length) {
      this.#buffer = this.bytes(4096);
      this.#at = 0;
    }
    this.#at += 4;
    return this.#buffer.readUInt32LE(this.#at - 4) / 2 ** 32;
  }

  /** A whole number in [low, high). */
  whole(low, high) {
    return low + Math.floor(this.fraction() * (high - low));
  }

  pick(list) {
    return list[this.whole(0, list.length)];
  }

  hex(digits) {
    let text = '';
    while (text.length < digits) text += this.whole(0, 65_536).toString(16).padStart(4, '0');
    return text.slice(0, digits);
  }

  /** `count` different elements of `list`, in no particular order. */
  sample(list, count) {
    const rest = [...list];
    return Array.from({ length: Math.min(count, rest.length) }, () => {
      const at = this.whole(0, rest.length);
      const chosen = rest[at];
      rest[at] = rest.at(-1);
      rest.pop();
      return chosen;
    });
  }
}

module.exports = { Random };
