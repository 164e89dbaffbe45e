'use strict';
/**
 * Makes a realistic data set of any size in `$G3ZKP_DATA`, or changes one as a day would. The same arguments with the same
 * `--now` give the same bytes.
 *
 * May run beside the server: blocks are named by their content and records are appended under the messenger's own lock.
 * It refuses a folder that has blocks already; `--change` refuses one that has none.
 */

const fs = require('node:fs');
const path = require('node:path');
const { createHash } = require('node:crypto');
const { prepareDataFolder, dataRoot, listBlocks, allRecords } = require('./modules/@g3zkp/data');
const { loadKeys } = require('./modules/@g3zkp/crypto');
const { USAGE, UsageError, readArguments } = require('./lib/seed/arguments');
const { Progress } = require('./lib/seed/progress');
const { Random } = require('./lib/seed/random');
const { Text } = require('./lib/seed/text');
const { blockSizes, writeBlocks, isPinned } = require('./lib/seed/blocks');
const { writeKeys, rotateKey, writeMessages, writeSessions } = require('./lib/seed/records');
const { writeRedis } = require('./lib/seed/redis');

const MOST_MESSAGES = 20_000;
const MOST_PEOPLE = 2_000;
const DAY_MS = 86_400_000;
const DELETED_SHARE = 0.25; // of a day's new blocks: unpinned ones that were collected

const messagesFor = (files) => Math.min(Math.max(files * 2, 100), MOST_MESSAGES);
const peopleFor = (files) => Math.min(Math.max(Math.ceil(files / 5), 20), MOST_PEOPLE);

function makeBlocks({ random, text, count, bytes, quiet }) {
  const progress = new Progress(bytes, { quiet });
  const sizes = blockSizes(random, { count, bytes });
  const names = writeBlocks({ random, text, sizes, onBytes: (size) => progress.add(size) });
  progress.end();
  return names;
}

async function seed({ bytes, files, seed: chance, now, json, redis }) {
  prepareDataFolder();
  if (listBlocks().length > 0) throw new UsageError(`${dataRoot()} holds blocks already: empty it, or use --change`);
  const random = new Random(`seed ${chance}`);
  const text = new Text(random, bytes / 3);
  const blocks = makeBlocks({ random, text, count: files, bytes, quiet: json });
  const key = writeKeys({ random, now });
  const people = peopleFor(files);
  await writeMessages({ random, text, blocks: blocks.filter(isPinned), people, count: messagesFor(files), key, now });
  writeSessions({ random, people, now });
  const redisKeys = redis ? await writeRedis({ server: redis, random, text, blocks: blocks.filter(isPinned), count: redis.keys }) : 0;
  return { ...measure(), blocks: blocks.length, blockBytes: bytes, messages: messagesFor(files), sessions: people, redisKeys };
}

/** What a garbage collection may take: never a block that a message or, by isPinned, a Redis key refers to. */
function collectable(blocks) {
  const attached = new Set(allRecords('messages').map(({ attachment }) => attachment));
  return blocks.filter(({ name }) => !isPinned(name) && !attached.has(name));
}

/** The seed, and what is there now: so that a second change is another one, and the same one everywhere. */
function chanceOfChange(chance, blocks) {
  const state = createHash('sha256').update(blocks.map(({ name }) => name).join('\n')).digest('hex');
  return new Random(`change ${chance} ${state}`);
}

async function change({ percent, seed: chance, now, json, redis }) {
  prepareDataFolder();
  const old = listBlocks();
  if (old.length === 0) throw new UsageError(`${dataRoot()} holds no blocks: make some with --bytes`);
  const random = chanceOfChange(chance, old);
  const share = (whole) => Math.max(1, Math.round((whole * percent) / 100));
  const mean = Math.ceil(old.reduce((sum, { file }) => sum + fs.statSync(file).size, 0) / old.length);
  const count = share(old.length);
  const text = new Text(random, (count * mean) / 3);
  const deleted = random.sample(collectable(old), Math.ceil(count * DELETED_SHARE));
  const blocks = makeBlocks({ random, text, count, bytes: count * mean, quiet: json });
  const pinned = blocks.filter(isPinned);
  deleted.forEach(({ file }) => fs.rmSync(file, { force: true }));
  const rotated = rotateKey({ random, now });
  const messages = share(messagesFor(old.length));
  const key = loadKeys('').inUse.signing;
  await writeMessages({ random, text, blocks: pinned, people: peopleFor(old.length), count: messages, key, now, spanMs: DAY_MS });
  const server = redis && { server: redis, random, text, blocks: pinned, from: random.whole(0, redis.keys), count: share(redis.keys) };
  const redisKeys = server ? await writeRedis(server) : 0;
  return { ...measure(), newBlocks: count, deletedBlocks: deleted.length, rotatedKey: rotated, newMessages: messages, redisKeys };
}

/** What the data folder holds, locks excepted: {files, bytes}. */
function measure(folder = dataRoot()) {
  let [files, bytes] = [0, 0];
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    const place = path.join(folder, entry.name);
    if (place === path.join(dataRoot(), 'locks')) continue;
    const part = entry.isDirectory() ? measure(place) : { files: 1, bytes: fs.lstatSync(place).size };
    files += part.files;
    bytes += part.bytes;
  }
  return { files, bytes };
}

function say(summary, { json }) {
  const pairs = Object.entries(summary).map(([name, value]) => `  ${name.padEnd(14)} ${value}`);
  console.log(json ? JSON.stringify(summary) : [summary.folder, ...pairs.slice(1)].join('\n'));
}

async function main(argv) {
  const args = readArguments(argv);
  if (args.mode === 'help') return console.log(USAGE);
  const start = Date.now();
  const summary = await { seed, change }[args.mode](args);
  return say({ folder: dataRoot(), ...summary, seconds: (Date.now() - start) / 1000 }, args);
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error instanceof UsageError ? `${error.message}\n\n${USAGE}` : `seeding ${dataRoot()} failed: ${error.message}`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
});
