// BLAKE3, as in its specification (github.com/BLAKE3-team/BLAKE3-specs): node has none, and the digests of a manifest are
// these. The seven rounds are written out once, at the start, with all words in local variables: that is what makes it
// fast enough to be worth more than sending the bytes.
const IV = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];
const CHUNK_START = 1, CHUNK_END = 2, PARENT = 4, ROOT = 8;
const CHUNK = 1024, BLOCK = 64;

function compressor() {
  const order = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
  const lines = [];
  for (let i = 0; i < 8; i += 1) lines.push(`let v${i} = cv[${i}];`);
  for (let i = 0; i < 4; i += 1) lines.push(`let v${8 + i} = ${IV[i] | 0};`);
  lines.push('let v12 = counter | 0, v13 = (counter / 4294967296) | 0, v14 = length, v15 = flags;');
  for (let i = 0; i < 16; i += 1) lines.push(`const m${i} = m[at + ${i}];`);
  const mix = (a, b, c, d, x, y) => {
    const turn = (v, w, by) =>
      `v${v} ^= v${w}; v${v} = (v${v} >>> ${by}) | (v${v} << ${32 - by});`;
    lines.push(`v${a} = (v${a} + v${b} + m${x}) | 0; ${turn(d, a, 16)} v${c} = (v${c} + v${d}) | 0; ${turn(b, c, 12)}`);
    lines.push(`v${a} = (v${a} + v${b} + m${y}) | 0; ${turn(d, a, 8)} v${c} = (v${c} + v${d}) | 0; ${turn(b, c, 7)}`);
  };
  let w = order.map((_, i) => i);
  for (let round = 0; round < 7; round += 1) {
    for (let i = 0; i < 4; i += 1) mix(i, 4 + i, 8 + i, 12 + i, w[2 * i], w[2 * i + 1]);
    for (let i = 0; i < 4; i += 1) mix(i, 4 + ((i + 1) % 4), 8 + ((i + 2) % 4), 12 + ((i + 3) % 4), w[8 + 2 * i], w[9 + 2 * i]);
    w = order.map((i) => w[i]);
  }
  for (let i = 0; i < 8; i += 1) lines.push(`out[${i}] = v${i} ^ v${8 + i};`);
  return new Function('cv', 'm', 'at', 'counter', 'length', 'flags', 'out', lines.join('\n'));
}
const compress = compressor();
const START = Int32Array.from(IV);

class Blake3 {
  constructor() {
    this.stack = []; // the chaining values of finished subtrees, the largest first
    this.chunks = 0;
    this.held = Buffer.alloc(CHUNK);
    this.words = new Int32Array(this.held.buffer, this.held.byteOffset, CHUNK / 4);
    this.size = 0;
    this.pair = new Int32Array(16);
  }

  update(data) {
    for (let at = 0; at < data.length; ) {
      if (this.size === CHUNK) this.endChunk();
      const count = Math.min(CHUNK - this.size, data.length - at);
      data.copy(this.held, this.size, at, at + count);
      this.size += count;
      at += count;
    }
    return this;
  }

  endChunk() {
    let value = this.chunk(0);
    this.chunks += 1;
    for (let total = this.chunks; total % 2 === 0; total /= 2) value = this.parent(this.stack.pop(), value, 0);
    this.stack.push(value);
    this.size = 0;
  }

  chunk(flags) {
    this.held.fill(0, this.size);
    const value = Int32Array.from(START);
    const blocks = Math.max(Math.ceil(this.size / BLOCK), 1);
    for (let i = 0; i < blocks; i += 1) {
      const isLast = i === blocks - 1;
      const length = isLast ? this.size - i * BLOCK : BLOCK;
      const marks = (i === 0 ? CHUNK_START : 0) | (isLast ? CHUNK_END | flags : 0);
      compress(value, this.words, i * 16, this.chunks, length, marks, value);
    }
    return value;
  }

  parent(left, right, flags) {
    this.pair.set(left, 0);
    this.pair.set(right, 8);
    const value = new Int32Array(8);
    compress(START, this.pair, 0, 0, BLOCK, PARENT | flags, value);
    return value;
  }

  digest() {
    let value = this.chunk(this.stack.length ? 0 : ROOT);
    for (let i = this.stack.length - 1; i >= 0; i -= 1) value = this.parent(this.stack[i], value, i ? 0 : ROOT);
    const bytes = Buffer.alloc(32);
    value.forEach((word, i) => bytes.writeInt32LE(word, i * 4));
    return bytes;
  }
}
