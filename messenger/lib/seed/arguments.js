'use strict';
/** The command line of the seeder: plain data out, UsageError for what makes no sense. */

const { parseArgs } = require('node:util');

const USAGE = `usage: node seed.js --bytes 200M [--files N] [--seed TEXT] [--now ISO-TIME] [--json]
       node seed.js --change PERCENT [--seed TEXT] [--now ISO-TIME] [--json]
       each with [--redis HOST:PORT [--redis-password-env NAME] [--redis-keys N]]
Sizes may end in K, M or G (powers of 1024). --bytes counts the IPFS blocks; keys and records come on top.
The data folder is $G3ZKP_DATA (default /data).`;

const UNITS = { '': 1, K: 1 << 10, M: 1 << 20, G: 1 << 30 };
const MEAN_BLOCK_BYTES = 200 << 10;

class UsageError extends Error {}

function parse(argv) {
  const text = { type: 'string' };
  const options = {
    bytes: text, files: text, seed: { ...text, default: '1' }, now: text, change: text, json: { type: 'boolean', default: false },
    redis: text, 'redis-password-env': text, 'redis-keys': { ...text, default: '1000' }, help: { type: 'boolean', default: false },
  };
  try {
    return parseArgs({ args: argv, options, allowPositionals: false }).values;
  } catch (error) {
    throw new UsageError(error.message);
  }
}

function count(value, name) {
  if (/^\d{1,12}$/.test(value) && Number(value) > 0) return Number(value);
  throw new UsageError(`--${name} ${value}: a whole number above 0 is wanted`);
}

function bytesOf(value) {
  const [, number, unit] = /^(\d+(?:\.\d+)?)([KMG]?)$/i.exec(value) ?? [];
  const bytes = Math.round(Number(number) * UNITS[unit?.toUpperCase()]);
  if (bytes >= 1) return bytes;
  throw new UsageError(`--bytes ${value}: a size such as 500000, 200M or 1.5G is wanted`);
}

function percentOf(value) {
  if (Number(value) > 0 && Number(value) <= 100) return Number(value);
  throw new UsageError(`--change ${value}: a percentage above 0 and up to 100 is wanted`);
}

function momentOf(value) {
  const moment = value === undefined ? Date.now() : Date.parse(value);
  if (Number.isFinite(moment)) return moment;
  throw new UsageError(`--now ${value}: a time such as 2026-01-31T00:00:00Z is wanted`);
}

function redisOf(values) {
  if (values.redis === undefined) return null;
  const [, host, port] = /^(.+):(\d{1,5})$/.exec(values.redis) ?? [];
  if (!host) throw new UsageError(`--redis ${values.redis}: HOST:PORT is wanted`);
  const variable = values['redis-password-env'];
  if (variable !== undefined && !process.env[variable]) throw new UsageError(`--redis-password-env ${variable}: it is not set`);
  return { host, port: Number(port), password: variable && process.env[variable], keys: count(values['redis-keys'], 'redis-keys') };
}

/** {mode: 'help' | 'seed' | 'change', ...} from the arguments. */
function readArguments(argv) {
  const values = parse(argv);
  if (values.help) return { mode: 'help' };
  if ((values.bytes === undefined) === (values.change === undefined)) throw new UsageError('give either --bytes or --change');
  const common = { seed: values.seed, now: momentOf(values.now), json: values.json, redis: redisOf(values) };
  if (values.change !== undefined) return { mode: 'change', percent: percentOf(values.change), ...common };
  const bytes = bytesOf(values.bytes);
  const files = values.files === undefined ? Math.ceil(bytes / MEAN_BLOCK_BYTES) : count(values.files, 'files');
  if (files > bytes) throw new UsageError(`--files ${files}: more files than bytes (${bytes})`);
  return { mode: 'seed', bytes, files, ...common };
}

module.exports = { USAGE, UsageError, readArguments };
