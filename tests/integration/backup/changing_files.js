// Loaded into the agent by a test: does to one file what a busy messenger might, before each reading of it.
'use strict';
const fs = require('fs');

const file = process.env.CHANGED_FILE;
const { ino, size } = fs.statSync(file);
const read = fs.readSync;
let calls = 0;

const same = (length) => Buffer.alloc(length, calls % 251);
const changes = {
  grow: () => fs.appendFileSync(file, 'more'),
  rewrite: () => fs.writeFileSync(file, same(size)),
  'rewrite-shorter': () => fs.writeFileSync(file, same(Math.max(size - calls, 1))),
  'cut-and-grow': () => fs.truncateSync(file, calls % 2 ? size >> 1 : size + calls),
  'rewrite-once': () => calls === 1 && fs.writeFileSync(file, same(size + 5)),
  fail: () => {
    if (calls === 2 || size < 1 << 20) throw Object.assign(new Error('EIO'), { code: 'EIO', errno: -5 });
  },
};

fs.readSync = (fd, ...rest) => {
  if (fd > 2 && fs.fstatSync(fd).ino === ino) {
    calls += 1;
    changes[process.env.CHANGE]();
  }
  return read(fd, ...rest);
};
