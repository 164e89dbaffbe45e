'use strict';
/** For tests: a data folder of its own for each, and children that work in it. */

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { spawn, spawnSync } = require('node:child_process');
const { setTimeout: pause } = require('node:timers/promises');

const HOME = path.resolve(__dirname, '..');

function freshData(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'g3zkp-messenger-'));
  process.env.G3ZKP_DATA = folder;
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** `node -e code` as maintenance runs it: modules by name, nothing but the environment. */
const environment = () => ({ ...process.env, NODE_PATH: path.join(HOME, 'modules') });

function startNode(t, code) {
  const child = spawn(process.execPath, ['-e', code], { env: environment(), stdio: ['ignore', 'pipe', 'inherit'] });
  child.text = '';
  child.stdout.setEncoding('utf8').on('data', (piece) => { child.text += piece; });
  child.ended = new Promise((resolve) => { child.on('close', (status, signal) => resolve({ status, signal })); });
  t.after(() => child.exitCode === null && child.signalCode === null && child.kill('SIGKILL'));
  return child;
}

function runSeed(args) {
  const done = spawnSync(process.execPath, [path.join(HOME, 'seed.js'), ...args], { env: environment(), encoding: 'utf8' });
  return { ...done, summary: done.status === 0 && args.includes('--json') ? JSON.parse(done.stdout) : null };
}

async function until(condition, what, deadlineMs = 10_000) {
  const deadline = Date.now() + deadlineMs;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`not within ${deadlineMs} ms: ${what}`);
    await pause(5);
  }
}

/** Every file below a folder but locks: relative path to content. */
function tree(folder) {
  const names = fs.readdirSync(folder, { withFileTypes: true, recursive: true });
  const files = names.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath ?? entry.path, entry.name));
  const kept = files.filter((file) => !file.startsWith(path.join(folder, 'locks')));
  return new Map(kept.sort().map((file) => [path.relative(folder, file), fs.readFileSync(file)]));
}

module.exports = { HOME, freshData, startNode, runSeed, until, tree };
