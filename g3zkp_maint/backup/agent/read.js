// The content of listed files, each read until a reading finds it unchanged; what is said of the others is the worker's
// to write down. What the parent has already, byte for byte, stays here.
const STABLE = 0, UNSTABLE = 1, SHORT = 2, FAILED = 3;
const ZEROS = Buffer.alloc(PIECE);
const ZERO_RUN = 0x80000000;
const piece = Buffer.alloc(PIECE);
const O_FILE = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;

const isSame = (one, other) =>
  one.size === other.size && one.mtimeNs === other.mtimeNs && one.ctimeNs === other.ctimeNs;

function isParted(confined, path, first) {
  try {
    return fs.lstatSync(confined.at(path), BIG).ino !== fs.lstatSync(confined.at(first), BIG).ino;
  } catch (error) {
    errno(error);
    return true;
  }
}

class Small {
  constructor(limit) {
    this.limit = limit;
    this.data = Buffer.alloc(limit + 1);
    this.earlier = Buffer.alloc(limit + 1);
  }

  // Whether it was one; then it is sent.
  send(fd, first, digest, readings) {
    let found = first;
    let had = 0;
    let onlyGrew = true;
    for (let reading = 1; Number(found.size) <= this.limit; reading += 1) {
      const size = Number(found.size);
      const count = Math.min(fs.readSync(fd, this.data, 0, size + 1, 0), size);
      const after = fs.fstatSync(fd, BIG);
      if (count === size && isSame(found, after)) {
        this.answer(found, count, digest, STABLE);
        return true;
      }
      onlyGrew = onlyGrew && count === size && !this.data.compare(this.earlier, 0, had, 0, Math.min(had, count));
      found = after;
      if (reading === readings) {
        if (Number(found.size) > this.limit) return false;
        this.answer(found, count, null, onlyGrew ? UNSTABLE : SHORT);
        return true;
      }
      [this.data, this.earlier] = [this.earlier, this.data];
      had = count;
    }
    return false;
  }

  answer(found, count, digest, how) {
    const data = this.data.subarray(0, count);
    if (digest && new Blake3().update(data).digest().equals(digest)) {
      output.tag('K');
      output.status(found);
      return;
    }
    output.tag('S');
    output.status(found);
    output.u8(how);
    output.u32(count);
    output.bytes(data);
  }
}

function knownStatus(fd, digest) {
  const found = fs.fstatSync(fd, BIG);
  const hash = new Blake3();
  let at = 0;
  for (let count; (count = fs.readSync(fd, piece, 0, PIECE, at)); at += count) hash.update(piece.subarray(0, count));
  return hash.digest().equals(digest) && isSame(found, fs.fstatSync(fd, BIG)) ? found : null;
}

// One reading of a large file: as many bytes as it has now. Returns how it went.
function stream(fd) {
  const found = fs.fstatSync(fd, BIG);
  const size = Number(found.size);
  output.tag('L');
  output.status(found);
  let how = STABLE;
  let number = 0;
  for (let at = 0; at < size && how === STABLE; ) {
    let count = 0;
    try {
      count = fs.readSync(fd, piece, 0, Math.min(PIECE, size - at), at);
    } catch (error) {
      number = errno(error);
    }
    if (count) sendPiece(count);
    else how = number ? FAILED : SHORT;
    at += count;
  }
  if (how === STABLE && !isSame(found, fs.fstatSync(fd, BIG))) how = UNSTABLE;
  output.u32(0);
  output.u8(how);
  output.u32(number);
  return how;
}

function sendPiece(count) {
  if (piece.compare(ZEROS, 0, count, 0, count) === 0) {
    output.u32((ZERO_RUN | count) >>> 0);
    return;
  }
  output.u32(count);
  output.bytes(piece.subarray(0, count));
}

function sendLarge(fd, digest, readings) {
  const found = digest ? knownStatus(fd, digest) : null;
  if (found) {
    output.tag('K');
    output.status(found);
    return;
  }
  for (let reading = 0; reading < readings; reading += 1) {
    const how = stream(fd);
    if (how === STABLE || how === FAILED) break;
  }
}

function sendFile(confined, small, { path, digest, readings }) {
  let fd = -1;
  try {
    fd = fs.openSync(confined.at(path), O_FILE);
    const found = fs.fstatSync(fd, BIG);
    if (!isFile(found)) throw systemError('', 0);
    if (!small.send(fd, found, digest, readings)) sendLarge(fd, digest, readings);
  } catch (error) {
    const number = errno(error);
    output.tag('X');
    output.u32(number);
  } finally {
    if (fd >= 0) fs.closeSync(fd);
  }
}

function readList(count) {
  const list = [];
  for (let number = 0; number < count; number += 1) {
    const path = input.text();
    const first = input.text();
    const size = input.u32();
    list.push({ path, first, digest: size ? Buffer.from(input.take(size)) : null });
  }
  input.checkEnd();
  return list;
}

serve(({ root, count, limit, readings }) => {
  const list = readList(count);
  const confined = new Confined(root);
  const small = new Small(limit);
  for (const { path, first, digest } of list) {
    if (first && !isParted(confined, path, first)) {
      output.tag('H');
      continue;
    }
    if (first) output.tag('D');
    sendFile(confined, small, { path, digest, readings });
  }
});
