'use strict';
/** IPFS blocks in quantity: a third text, two thirds random bytes (media, ciphertext). */

const fs = require('node:fs');
const path = require('node:path');
const { blockName, blockPath, prepareBlocks } = require('../../modules/@g3zkp/data');

// From 0.22 to 1.78 times the mean: with a mean of 4.5 KiB, 1 to 8 KiB.
const SPREAD = { least: 0.22, span: 1.56 };

/** `count` sizes that differ and add up to exactly `bytes`. Needs bytes >= count. */
function blockSizes(random, { count, bytes }) {
  const weights = Array.from({ length: count }, () => SPREAD.least + SPREAD.span * random.fraction());
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  let weight = 0;
  let end = 0;
  return weights.map((each, index) => {
    weight += each;
    const start = end;
    // Each has at least a byte, and leaves one to each that follows.
    const aim = index === count - 1 ? bytes : Math.floor((bytes * weight) / total);
    end = Math.min(Math.max(aim, start + 1), bytes - (count - 1 - index));
    return end - start;
  });
}

/** Writes blocks; not synced, as a seed that was cut short is made again. Returns their names. */
function writeBlocks({ random, text, sizes, onBytes }) {
  const folder = prepareBlocks();
  const shards = new Set();
  return sizes.map((size) => {
    const content = random.whole(0, 3) === 0 ? text.buffer(size) : random.bytes(size);
    const name = blockName(content);
    const file = path.join(folder, blockPath(name));
    const shard = path.dirname(file);
    if (!shards.has(shard)) fs.mkdirSync(shard, { recursive: true });
    shards.add(shard);
    fs.writeFileSync(file, content);
    onBytes(size);
    return name;
  });
}

/** Whether records and Redis keys of the seeder may refer to this block: three quarters of them, known by the name alone,
 * so that a later change knows it too. */
function isPinned(name) {
  return !/^.{5}[2-7YZ]/.test(name);
}

module.exports = { blockSizes, writeBlocks, isPinned };
