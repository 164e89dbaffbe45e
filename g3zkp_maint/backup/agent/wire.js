// What goes in and out. All numbers are little-endian; all calls block, so a slow reader slows us down and nothing piles up.
'use strict';
const { createCipheriv } = require('crypto');

const PIECE = 1 << 20;
const CUT_SHORT = 74; // EX_IOERR: whoever sees this exit code knows that the input ended before its end
const nap = new Int32Array(new SharedArrayBuffer(4));

// Pipes may be set to non-blocking by whoever made them.
function patiently(call) {
  for (;;) {
    try {
      return call();
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
      Atomics.wait(nap, 0, 0, 2);
    }
  }
}

// checksum.py says what it is, and why.
const SIZE = 16;
class Checksum {
  constructor() {
    this.gmac = createCipheriv('aes-128-gcm', Buffer.alloc(16), Buffer.alloc(12));
  }

  update(data) {
    this.gmac.setAAD(data);
  }

  digest() {
    this.gmac.final();
    return this.gmac.getAuthTag();
  }
}

class Input {
  constructor() {
    this.buffer = Buffer.alloc(PIECE);
    this.start = 0;
    this.end = 0;
    this.checksum = new Checksum();
  }

  // The next `size` bytes, valid until the next call.
  take(size) {
    if (this.end - this.start < size) this.fill(size);
    const taken = this.buffer.subarray(this.start, this.start + size);
    this.start += size;
    this.checksum.update(taken);
    return taken;
  }

  fill(size) {
    const roomy = size > this.buffer.length ? Buffer.alloc(size) : this.buffer;
    this.buffer.copy(roomy, 0, this.start, this.end);
    this.end -= this.start;
    this.start = 0;
    this.buffer = roomy;
    while (this.end < size) {
      const count = patiently(() => fs.readSync(0, this.buffer, this.end, this.buffer.length - this.end));
      if (!count) process.exit(CUT_SHORT);
      this.end += count;
    }
  }

  u32() {
    return this.take(4).readUInt32LE();
  }

  text(size = this.u32()) {
    return this.take(size).toString('latin1');
  }

  // The sender's checksum of all that it sent must be ours.
  checkEnd() {
    const ours = this.checksum.digest();
    if (this.end - this.start < SIZE) this.fill(SIZE);
    if (!ours.equals(this.buffer.subarray(this.start, this.start + SIZE))) throw new Error('the input arrived changed');
  }
}

class Output {
  constructor() {
    this.buffer = Buffer.alloc(PIECE);
    this.held = 0;
    this.sent = 0n;
    this.checksum = new Checksum();
  }

  // Where `size` bytes may be written; -1 is never the answer.
  room(size) {
    if (this.held + size > this.buffer.length) this.flush();
    const at = this.held;
    this.held += size;
    return at;
  }

  bytes(data) {
    if (data.length >= 64 << 10) {
      this.flush();
      this.send(data);
    } else {
      const at = this.room(data.length);
      data.copy(this.buffer, at);
    }
  }

  tag(letter) {
    this.u8(letter.charCodeAt(0));
  }

  u8(value) {
    const at = this.room(1);
    this.buffer[at] = value;
  }

  u32(value) {
    const at = this.room(4);
    this.buffer.writeUInt32LE(value, at);
  }

  status(found) {
    const at = this.room(64);
    const { buffer } = this;
    buffer.writeUInt32LE(Number(found.mode), at);
    buffer.writeUInt32LE(Number(found.uid), at + 4);
    buffer.writeUInt32LE(Number(found.gid), at + 8);
    buffer.writeUInt32LE(Number(found.nlink), at + 12);
    buffer.writeBigUInt64LE(BigInt.asUintN(64, found.ino), at + 16);
    buffer.writeBigInt64LE(found.size, at + 24);
    buffer.writeBigInt64LE(BigInt.asIntN(64, found.mtimeNs), at + 32);
    buffer.writeBigInt64LE(BigInt.asIntN(64, found.ctimeNs), at + 40);
    buffer.writeBigInt64LE(found.blocks, at + 48);
    buffer.writeBigUInt64LE(BigInt.asUintN(64, found.dev), at + 56);
  }

  flush() {
    const held = this.buffer.subarray(0, this.held);
    this.held = 0;
    this.send(held);
  }

  send(data) {
    this.checksum.update(data);
    this.sent += BigInt(data.length);
    this.write(data);
  }

  write(data) {
    for (let done = 0; done < data.length; ) {
      done += patiently(() => fs.writeSync(1, data, done, data.length - done));
    }
  }

  // The trailer: without it, what came before is not whole.
  end() {
    this.tag('T');
    this.flush();
    const trailer = Buffer.alloc(8);
    trailer.writeBigUInt64LE(this.sent);
    this.write(Buffer.concat([trailer, this.checksum.digest()]));
  }
}

const input = new Input();
const output = new Output();
const errno = (error) => {
  if (typeof error.errno !== 'number') throw error;
  return Math.abs(error.errno);
};

// Runs the program on its request. An error of the system that concerns it as a whole is an answer, too.
function serve(program) {
  const request = JSON.parse(input.take(input.u32()).toString());
  try {
    program(request);
  } catch (error) {
    const number = errno(error);
    output.tag('E');
    output.u32(number);
  }
  output.end();
}
