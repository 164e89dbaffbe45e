'use strict';
/** Text that compresses like text: words by a skewed choice, in JSON lines as clients export their chats. */

const POOL_BYTES = 16 << 20;
const SYLLABLES = 'ka ri to me su la ven dor mi pa el an te shi or un ba de fo gra hul is jen kel lo mar nes op qua ros'.split(' ');

function vocabulary(random) {
  return Array.from({ length: 4000 }, () => Array.from({ length: random.whole(1, 5) }, () => random.pick(SYLLABLES)).join(''));
}

/** A word; the product of two chances prefers the first ones of the list, as languages do. */
function word(random, words) {
  return words[Math.floor(random.fraction() * random.fraction() * words.length)];
}

function sentence(random, words) {
  return Array.from({ length: random.whole(4, 24) }, () => word(random, words)).join(' ');
}

/** Makes buffers of compressible text: each is a piece of one pool, with a first line of its own. */
class Text {
  #random;
  #words;
  #pool;

  /** `bytes` is about how much will be asked for in all; it bounds the pool. */
  constructor(random, bytes) {
    this.#random = random;
    this.#words = vocabulary(random);
    const lines = [];
    const wanted = Math.min(POOL_BYTES, Math.max(bytes, 64 << 10));
    for (let size = 0; size < wanted; size += lines.at(-1).length) lines.push(this.#line());
    this.#pool = Buffer.from(lines.join(''), 'latin1');
  }

  sentence() {
    return sentence(this.#random, this.#words);
  }

  buffer(size) {
    const head = Buffer.from(`{"export":"${this.#random.hex(32)}"}\n`);
    const pieces = [head];
    for (let left = size - head.length; left > 0;) {
      const from = this.#random.whole(0, this.#pool.length);
      const piece = this.#pool.subarray(from, from + left);
      pieces.push(piece);
      left -= piece.length;
    }
    return Buffer.concat(pieces, size);
  }

  #line() {
    const random = this.#random;
    const [from, to] = [random.hex(8), random.hex(8)];
    return `{"at":${1.7e12 + random.whole(0, 1e9)},"from":"${from}","to":"${to}","text":"${this.sentence()}"}\n`;
  }
}

module.exports = { Text };
