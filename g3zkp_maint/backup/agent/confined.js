// Folders below a root, each step opened without following a link, relative to the one before. Node has no openat; a path
// through /proc/self/fd is one: the kernel goes on from that very folder, whatever its name leads to by now.
// Paths are strings of one character a byte (latin1), so any name stays what it is, and sorts by its bytes.
const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
const O_PATH = 0o10000000;
const OPEN_FOLDERS = 64; // of a deeper chain only the last ones stay open
const BIG = { bigint: true };

const raw = (text) => Buffer.from(text, 'latin1');
const through = (fd, name) => raw(`/proc/self/fd/${fd}/${name}`);

function systemError(code, number) {
  return Object.assign(new Error(code), { code, errno: -number });
}

class Confined {
  constructor(root) {
    this.root = fs.openSync(raw(root), O_RDONLY | O_DIRECTORY);
    this.steps = [];
    this.open = [];
    this.last = '';
  }

  // The descriptor of a folder; it stays ours, until another one is asked for.
  folder(path) {
    if (path !== this.last) {
      this.last = null; // a step that fails leaves the chain somewhere between the two
      this.go(path);
      this.last = path;
    }
    return this.open.length ? this.open[this.open.length - 1] : this.root;
  }

  // What the system takes for `path`.
  at(path) {
    const cut = path.lastIndexOf('/');
    return through(this.folder(cut < 0 ? '' : path.slice(0, cut)), path.slice(cut + 1));
  }

  go(path) {
    const steps = path ? path.split('/') : [];
    let common = 0;
    while (common < steps.length && steps[common] === this.steps[common]) common += 1;
    this.leaveTo(common);
    for (const step of steps.slice(this.steps.length)) {
      if (step === '' || step === '.' || step === '..') throw systemError('ENOTDIR', 20);
      const above = this.open.length ? this.open[this.open.length - 1] : this.root;
      this.open.push(fs.openSync(through(above, step), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      this.steps.push(step);
      if (this.open.length > OPEN_FOLDERS) fs.closeSync(this.open.shift());
    }
  }

  leaveTo(depth) {
    while (this.steps.length > depth) {
      this.steps.pop();
      if (this.open.length) fs.closeSync(this.open.pop());
    }
    if (!this.open.length) this.steps = [];
  }
}

const isKind = (found, kind) => (Number(found.mode) & fs.constants.S_IFMT) === kind;
const isFolder = (found) => isKind(found, fs.constants.S_IFDIR);
const isFile = (found) => isKind(found, fs.constants.S_IFREG);
