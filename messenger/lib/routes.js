'use strict';
/** HTTP: which address does what, and how errors are said. Every answer but /metrics is JSON. */

const { CONTENT_TYPE } = require('./metrics');
const { NotReady } = require('./messenger');
const { log } = require('./log');

const BODY_BYTES = 4 << 20;
const NAME_LENGTH = 200;

class HttpError extends Error {
  constructor(status, code, message) {
    super(message);
    Object.assign(this, { status, code });
  }
}

async function readJson(request) {
  const pieces = [];
  let size = 0;
  for await (const piece of request) {
    size += piece.length;
    if (size > BODY_BYTES) throw new HttpError(413, 'too-large', `a body may have ${BODY_BYTES} bytes`);
    pieces.push(piece);
  }
  try {
    return JSON.parse(Buffer.concat(pieces).toString('utf8'));
  } catch {
    throw new HttpError(400, 'bad-json', 'the body is not JSON');
  }
}

function requireText(value, field, { limit = Infinity } = {}) {
  if (typeof value === 'string' && value.length > 0 && value.length <= limit) return value;
  throw new HttpError(400, 'bad-field', `${field} must be a text of 1 to ${limit} characters`);
}

function attachmentOf(value) {
  if (value === undefined) return undefined;
  const bytes = Buffer.from(requireText(value, 'attachment'), 'base64');
  if (bytes.toString('base64') === value) return bytes;
  throw new HttpError(400, 'bad-field', 'attachment must be base64');
}

async function postMessage({ request, messenger }) {
  const input = (await readJson(request)) ?? {};
  const from = requireText(input.from, 'from', { limit: NAME_LENGTH });
  const to = requireText(input.to, 'to', { limit: NAME_LENGTH });
  const body = requireText(input.body, 'body');
  return { status: 201, json: await messenger.accept({ from, to, body, attachment: attachmentOf(input.attachment) }) };
}

function getMessage({ messenger, id }) {
  const found = messenger.find(id);
  if (!found) throw new HttpError(404, 'no-such-message', 'there is no message of that id, or it has expired');
  return { status: 200, json: found };
}

function ready({ messenger }) {
  const reason = messenger.unreadyReason();
  return reason ? { status: 503, json: { status: 'unready', reason } } : { status: 200, json: { status: 'ready' } };
}

const ROUTES = [
  { method: 'GET', path: /^\/health$/, answer: () => ({ status: 200, json: { status: 'ok' } }) },
  { method: 'GET', path: /^\/ready$/, answer: ready },
  {
    method: 'GET', path: /^\/metrics$/, unobserved: true,
    answer: ({ messenger, metrics }) => ({ status: 200, type: CONTENT_TYPE, text: metrics.render(messenger.gauges()) }),
  },
  { method: 'GET', path: /^\/keys$/, answer: ({ messenger }) => ({ status: 200, json: messenger.keysInUse() }) },
  { method: 'POST', path: /^\/messages$/, answer: postMessage },
  { method: 'GET', path: /^\/messages\/(?<id>[0-9a-f-]+)$/, answer: getMessage },
];

function routeOf(method, path) {
  const known = ROUTES.filter((route) => route.path.test(path));
  if (known.length === 0) throw new HttpError(404, 'no-such-address', 'there is nothing at this address');
  const wanted = method === 'HEAD' ? 'GET' : method;
  const route = known.find((each) => each.method === wanted);
  if (route) return route;
  throw new HttpError(405, 'method-not-allowed', `use ${known.map((each) => each.method).join(' or ')}`);
}

/** An error as an answer. What is not foreseen says nothing of its inside to the caller; the log has it. */
function answerOf(error) {
  const say = (status, code, message) => ({ status, json: { error: { code, message } } });
  if (error instanceof HttpError) return say(error.status, error.code, error.message);
  if (error instanceof NotReady) return say(503, 'unready', error.message);
  if (error.code === 'ENOSPC') return say(507, 'disk-full', 'the disk is full');
  return say(500, 'internal', 'the messenger failed; its log says how');
}

function send(response, { status, json, type = 'application/json; charset=utf-8', text }) {
  const body = Buffer.from(text ?? `${JSON.stringify(json)}\n`);
  response.writeHead(status, { 'content-type': type, 'content-length': body.length, 'cache-control': 'no-store' });
  response.end(body);
}

async function answerFor(request, context) {
  const { pathname } = new URL(request.url, 'http://messenger');
  let route;
  try {
    route = routeOf(request.method, pathname);
    const { groups } = route.path.exec(pathname);
    return { route, answer: await route.answer({ ...context, request, id: groups?.id }) };
  } catch (error) {
    return { route, error, answer: answerOf(error) };
  }
}

/** The listener for http.createServer. */
function listener({ messenger, metrics }) {
  return async (request, response) => {
    const start = process.hrtime.bigint();
    const { route, error, answer } = await answerFor(request, { messenger, metrics });
    // An unread body would be taken for the next request on this connection.
    if (!request.complete) response.setHeader('connection', 'close');
    send(response, answer);
    const seconds = Number(process.hrtime.bigint() - start) / 1e9;
    if (!route?.unobserved) metrics.observeRequest(seconds);
    // A probe that is told "not ready" got the right answer: that is no error of the messenger.
    if (error && answer.status >= 500) metrics.countError();
    const reason = error && answer.status >= 500 ? { reason: error.message } : {};
    log(answer.status >= 500 ? 'error' : 'info', 'request_answered', {
      method: request.method, path: request.url.split('?')[0], status: answer.status, seconds, ...reason,
    });
  };
}

module.exports = { listener };
