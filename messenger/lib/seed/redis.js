'use strict';
/** A small Redis client: RESP2 (redis.io/docs/reference/protocol-spec) over one socket, commands in pipelines. */

const net = require('node:net');
const { once } = require('node:events');

const TIMEOUT_MS = 10_000;
const PIPELINE = 1_000;

function encode(command) {
  const parts = command.map((each) => `$${Buffer.byteLength(String(each))}\r\n${each}\r\n`);
  return `*${command.length}\r\n${parts.join('')}`;
}

class Redis {
  #pieces;
  #rest = '';
  #socket;

  static async connect({ host, port, password }) {
    const redis = new Redis();
    const socket = net.connect({ host, port });
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error(`Redis at ${host}:${port} did not answer`)));
    socket.setEncoding('utf8');
    await once(socket, 'connect');
    redis.#socket = socket;
    redis.#pieces = socket[Symbol.asyncIterator]();
    if (password) await redis.#authenticate(password);
    return redis;
  }

  /** Sends all commands; resolves when each was answered by a status or a number, as those are that set keys. Rejects
   * with the first refusal. */
  async send(commands) {
    for (let at = 0; at < commands.length; at += PIPELINE) {
      const part = commands.slice(at, at + PIPELINE);
      this.#socket.write(part.map(encode).join(''));
      const refusal = (await this.#lines(part.length)).find((line) => !/^[+:]/.test(line));
      if (refusal) throw new Error(`Redis refused: ${refusal.replace(/^-/, '').slice(0, 200)}`);
    }
  }

  async #authenticate(password) {
    this.#socket.write(encode(['AUTH', password]));
    const [answer] = await this.#lines(1);
    if (answer === '+OK') return;
    this.close(); // or the open socket keeps the process alive until its timeout
    // Redis's own words may quote the command, and so the password.
    throw new Error('Redis refused the password');
  }

  async #lines(count) {
    let lines = this.#rest.split('\r\n');
    while (lines.length <= count) {
      const { value, done } = await this.#pieces.next();
      if (done) throw new Error('Redis closed the connection');
      this.#rest += value;
      lines = this.#rest.split('\r\n');
    }
    this.#rest = lines.slice(count).join('\r\n');
    return lines.slice(0, count);
  }

  close() {
    this.#socket.destroy();
  }
}

/** Commands that set `count` keys: strings, hashes and lists in turn, a third with a time to live, hashes that name blocks. */
function keyCommands({ random, text, blocks, from, count }) {
  const makers = [
    (n) => [['SET', `g3zkp:presence:${n}`, text.sentence(), ...(random.whole(0, 2) ? ['EX', random.whole(86_400, 864_000)] : [])]],
    (n) => [['HSET', `g3zkp:user:${n}`, 'name', text.sentence(), 'device', random.hex(32), 'avatar', random.pick(blocks) ?? '']],
    (n) => {
      const list = Array.from({ length: random.whole(1, 9) }, () => text.sentence());
      const push = ['RPUSH', `g3zkp:queue:${n}`, ...list];
      const expire = random.whole(0, 2) ? [['EXPIRE', `g3zkp:queue:${n}`, random.whole(86_400, 864_000)]] : [];
      return [['DEL', `g3zkp:queue:${n}`], push, ...expire];
    },
  ];
  return Array.from({ length: count }, (_, index) => makers[(from + index) % makers.length](from + index)).flat();
}

/** Writes the keys numbered from `from` on; returns how many. */
async function writeRedis({ server, random, text, blocks, from = 0, count }) {
  const redis = await Redis.connect(server);
  try {
    await redis.send(keyCommands({ random, text, blocks, from, count }));
  } finally {
    redis.close();
  }
  return count;
}

module.exports = { Redis, writeRedis };
