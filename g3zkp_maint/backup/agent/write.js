// A tree is brought to the state of a snapshot, one small order after another; some are answered with a letter. Every
// order may be carried out twice. What is there is replaced, never written through: other hard links keep their content.
const { spawnSync } = require('child_process');
const { O_WRONLY, O_CREAT, O_EXCL } = fs.constants;
const END = 0xffffffff;
const OPEN_TO_US = 0o700;
const MAKING = '.g3zkp-restore-fifo';
const LOOK = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;
const piece = Buffer.alloc(PIECE);

let confined;
let order; // the bytes of the order in hand
let place = 0;
let ownersNotSet = 0;
let file = null;

const u32 = () => order.readUInt32LE((place += 4) - 4);
const i64 = () => order.readBigInt64LE((place += 8) - 8);
const bytes = (size) => order.subarray(place, (place += size));
const rest = () => order.toString('latin1', place);
const path = () => bytes(u32()).toString('latin1');
const meta = () => ({ mode: u32(), uid: u32(), gid: u32(), mtime: i64() });

// Node sets times in microseconds. The middle of one is never rounded to its neighbour.
const seconds = (ns) => (ns % 1000000000n === 0n ? Number(ns / 1000000000n) : (Number(ns / 1000n) + 0.5) / 1e6);

function ignoring(codes, call) {
  try {
    return call();
  } catch (error) {
    if (!codes.includes(error.code)) throw error;
    return undefined;
  }
}

function own(call) {
  try {
    call();
  } catch (error) {
    if (error.code !== 'EPERM' && error.code !== 'EACCES') throw error;
    ownersNotSet += 1;
  }
}

// On an open descriptor. The owner comes first: chown clears set-user-id bits.
function setAll(fd, { mode, uid, gid, mtime }) {
  const found = fs.fstatSync(fd);
  if (found.uid !== uid || found.gid !== gid) own(() => fs.fchownSync(fd, uid, gid));
  fs.fchmodSync(fd, mode);
  fs.futimesSync(fd, seconds(mtime), seconds(mtime));
}

// Modes by a descriptor that needs no permission to be had, and that no link can turn aside.
function setMode(where, mode) {
  const fd = fs.openSync(confined.at(where), O_PATH | O_NOFOLLOW);
  try {
    fs.chmodSync(`/proc/self/fd/${fd}`, mode);
  } finally {
    fs.closeSync(fd);
  }
}

// A folder that its owner may not write is made writable, until its modes are set at the end. Whether it had to be.
function openToUs(where, found) {
  if ((found.mode & OPEN_TO_US) === OPEN_TO_US || process.geteuid() === 0) return false;
  setMode(where, (found.mode & 0o7777) | OPEN_TO_US);
  return true;
}

// Removes whatever is there, also a folder with all that it holds.
function removeAll(where) {
  if (unlinked(where)) return;
  const folders = [where];
  for (let i = 0; i < folders.length; i += 1) {
    openToUs(folders[i], fs.lstatSync(confined.at(folders[i])));
    for (const name of fs.readdirSync(raw(`/proc/self/fd/${confined.folder(folders[i])}/.`), 'latin1')) {
      if (!unlinked(`${folders[i]}/${name}`)) folders.push(`${folders[i]}/${name}`);
    }
  }
  for (const folder of folders.reverse()) ignoring(['ENOENT'], () => fs.rmdirSync(confined.at(folder)));
}

function unlinked(where) {
  try {
    fs.unlinkSync(confined.at(where));
  } catch (error) {
    if (error.code === 'EISDIR') return false;
    if (error.code !== 'ENOENT') throw error;
  }
  return true;
}

function isMade(where) {
  try {
    fs.mkdirSync(confined.at(where), 0o700);
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  }
  return true;
}

function makeParent() {
  const where = rest();
  if (isMade(where)) return 'N';
  const found = fs.lstatSync(confined.at(where));
  if (!isFolder(found)) return 'W';
  if (!openToUs(where, found)) return 'D';
  output.tag('M');
  output.u32(found.mode & 0o7777);
  return '';
}

function makeFolder() {
  const where = rest();
  if (isMade(where)) return 'N';
  const found = fs.lstatSync(confined.at(where));
  if (isFolder(found)) {
    openToUs(where, found);
    return 'D';
  }
  fs.unlinkSync(confined.at(where));
  fs.mkdirSync(confined.at(where), 0o700);
  return 'N';
}

function hasContent(fd, size, digest) {
  const hash = new Blake3();
  let at = 0;
  for (let count; (count = fs.readSync(fd, piece, 0, PIECE, at)); at += count) hash.update(piece.subarray(0, count));
  return at === size && hash.digest().equals(digest);
}

function isRight() {
  const wanted = meta();
  const size = Number(i64());
  const digest = bytes(32);
  const where = rest();
  let fd;
  try {
    fd = fs.openSync(confined.at(where), LOOK);
  } catch (error) {
    errno(error);
    return 'C';
  }
  try {
    const found = fs.fstatSync(fd);
    if (isFolder(found)) removeAll(where);
    if (!isFile(found) || found.nlink !== 1 || found.size !== size || !hasContent(fd, size, digest)) return 'C';
    setAll(fd, wanted);
    return 'R';
  } finally {
    fs.closeSync(fd);
  }
}

function create() {
  const wanted = meta();
  const size = Number(i64());
  const where = rest();
  const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
  let fd = ignoring(['EEXIST'], () => fs.openSync(confined.at(where), flags, 0o600));
  if (fd === undefined) {
    fs.unlinkSync(confined.at(where));
    fd = fs.openSync(confined.at(where), flags, 0o600);
  }
  file = { fd, wanted, size, at: 0 };
  return '';
}

function write() {
  const data = order.subarray(place);
  for (let done = 0; done < data.length; ) {
    done += fs.writeSync(file.fd, data, done, data.length - done, file.at + done);
  }
  file.at += data.length;
  return '';
}

function skip() {
  file.at += u32();
  return '';
}

// The worker has compared the digest of what it sent with that of the index.
function complete() {
  if (file.at !== file.size) throw new Error(`a file of ${file.size} bytes was sent with ${file.at}`);
  fs.ftruncateSync(file.fd, file.size);
  setAll(file.fd, file.wanted);
  fs.closeSync(file.fd);
  file = null;
  return '';
}

function ownAndTime(where, { uid, gid, mtime }) {
  own(() => fs.lchownSync(confined.at(where), uid, gid));
  fs.lutimesSync(confined.at(where), seconds(mtime), seconds(mtime));
}

function makeLink() {
  const wanted = meta();
  const where = path();
  removeAll(where);
  fs.symlinkSync(bytes(order.length - place), confined.at(where));
  ownAndTime(where, wanted);
  return '';
}

let others; // the folder of a first path, which is another one than that of the link
function makeHardLink() {
  const where = path();
  removeAll(where);
  others = others || new Confined(confined.rootPath);
  fs.linkSync(others.at(rest()), confined.at(where));
  return '';
}

// Node cannot make one, and a command takes no name that is no UTF-8: it is made under another and renamed.
function makeFifo() {
  const wanted = meta();
  const where = rest();
  removeAll(where);
  const cut = where.lastIndexOf('/');
  const making = cut < 0 ? MAKING : `${where.slice(0, cut)}/${MAKING}`;
  removeAll(making);
  const folder = confined.folder(cut < 0 ? '' : where.slice(0, cut));
  const done = spawnSync('mkfifo', ['-m', '600', MAKING], { cwd: `/proc/self/fd/${folder}` });
  if (done.error) throw done.error;
  if (done.status !== 0) throw systemError('EIO', 5);
  own(() => fs.lchownSync(confined.at(making), wanted.uid, wanted.gid));
  setMode(making, wanted.mode);
  fs.lutimesSync(confined.at(making), seconds(wanted.mtime), seconds(wanted.mtime));
  fs.renameSync(confined.at(making), confined.at(where));
  return '';
}

function remove() {
  const isOfFolder = order[place++] === 1;
  const where = rest();
  if (isOfFolder) ignoring(['ENOENT'], () => fs.rmdirSync(confined.at(where)));
  else ignoring(['ENOENT'], () => fs.unlinkSync(confined.at(where)));
  return '';
}

function setFolder() {
  const wanted = meta();
  setAll(confined.folder(rest()), wanted);
  return '';
}

function setOnlyMode() {
  const mode = u32();
  setMode(rest(), mode);
  return '';
}

function has() {
  const found = ignoring(['ENOENT', 'ENOTDIR', 'ELOOP'], () => fs.lstatSync(confined.at(rest())));
  if (!found) return 'N';
  return isFolder(found) ? 'F' : 'Y';
}

function settle() {
  const done = spawnSync('sync');
  if (done.error) throw done.error;
  if (done.status !== 0) throw systemError('EIO', 5);
  return '';
}

const CARRY_OUT = {
  P: makeParent, F: makeFolder, R: isRight, C: create, d: write, z: skip, c: complete, L: makeLink, H: makeHardLink,
  I: makeFifo, X: remove, S: setFolder, M: setOnlyMode, Q: has, Y: settle,
};

serve(({ root }) => {
  ignoring(['EEXIST'], () => fs.mkdirSync(raw(root)));
  confined = new Confined(root);
  confined.rootPath = root;
  let count = 0;
  for (let size; (size = input.u32()) !== END; count += 1) {
    order = input.take(size);
    place = 1;
    const answer = CARRY_OUT[String.fromCharCode(order[0])]();
    if (answer) output.tag(answer);
  }
  input.checkEnd();
  output.tag('O');
  output.u32(count);
  output.u32(ownersNotSet);
});
