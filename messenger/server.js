'use strict';
/**
 * The reference messenger. `$HOST` and `$PORT` (0.0.0.0, 3000), data in `$G3ZKP_DATA`, named keys in `$G3ZKP_KEYS_DIR`.
 *
 * It listens at once and is ready when its data can be used and its keys are loaded, which it tries once a second.
 * At SIGTERM it says "not ready" for `$G3ZKP_DRAIN_MS` (250), so that a load balancer can take notice, then stops
 * listening and ends when the requests under way are answered, or after STOP_MS.
 */

const http = require('node:http');
const { Messenger } = require('./lib/messenger');
const { Metrics } = require('./lib/metrics');
const { listener } = require('./lib/routes');
const { log } = require('./lib/log');

const RETRY_MS = 1_000;
const STOP_MS = 10_000;

function numberFrom(name, fallback, highest) {
  const value = process.env[name] ?? String(fallback);
  if (/^\d+$/.test(value) && Number(value) <= highest) return Number(value);
  log('error', 'setting_wrong', { reason: `${name}=${value} must be a number from 0 to ${highest}` });
  return process.exit(2);
}

async function loadUntilReady(messenger, state) {
  if (state.stopping || (await messenger.load())) return;
  state.retry = setTimeout(() => loadUntilReady(messenger, state), RETRY_MS);
}

function stop(signal, { server, messenger, state, drainMs }) {
  if (state.stopping) return;
  state.stopping = true;
  clearTimeout(state.retry);
  messenger.drain();
  log('info', 'stopping', { signal });
  setTimeout(() => {
    server.close(() => log('info', 'stopped'));
    server.closeIdleConnections();
    setTimeout(() => server.closeAllConnections(), STOP_MS).unref();
  }, drainMs);
}

function main() {
  const port = numberFrom('PORT', 3000, 65_535);
  const drainMs = numberFrom('G3ZKP_DRAIN_MS', 250, 600_000);
  const host = process.env.HOST || '0.0.0.0';
  const metrics = new Metrics();
  const messenger = new Messenger({ metrics });
  const state = { stopping: false, retry: undefined };
  const server = http.createServer(listener({ messenger, metrics }));
  server.on('error', (error) => {
    log('error', 'listen_failed', { host, port, reason: error.message });
    process.exit(1);
  });
  server.listen(port, host, () => {
    log('info', 'listening', { host, port: server.address().port, pid: process.pid });
    loadUntilReady(messenger, state);
  });
  for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => stop(signal, { server, messenger, state, drainMs }));
}

process.on('uncaughtException', (error) => {
  log('error', 'crashed', { reason: error.message, stack: error.stack });
  process.exit(1);
});

main();
