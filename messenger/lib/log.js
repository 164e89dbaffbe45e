'use strict';
/** Structured log lines on stdout: one JSON object a line, an event in the past tense and what belongs to it. */

function log(level, event, fields = {}) {
  process.stdout.write(`${JSON.stringify({ timestamp: new Date().toISOString(), level, event, ...fields })}\n`);
}

module.exports = { log };
