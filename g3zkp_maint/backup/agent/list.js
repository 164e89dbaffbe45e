// The walk: every path at and below one, in walk order, a record each. Holds the names of the folders on the way, and
// nothing else of what it has seen.
const isLink = (found) => isKind(found, fs.constants.S_IFLNK);

function record(tag, path, found, target) {
  output.tag(tag);
  output.u32(path.length);
  output.u32(target.length);
  output.status(found);
  output.bytes(raw(path));
  output.bytes(raw(target));
}

function target(confined, path) {
  try {
    return fs.readlinkSync(confined.at(path), 'latin1');
  } catch {
    return ''; // gone or replaced since it was seen; no link has an empty target
  }
}

function unreadable(path, found, error) {
  record('U', path, found, '');
  output.u32(errno(error));
}

function names(confined, path, found) {
  try {
    return fs.readdirSync(raw(`/proc/self/fd/${confined.folder(path)}/.`), 'latin1').sort();
  } catch (error) {
    if (error.code !== 'ENOENT') unreadable(path, found, error);
    return [];
  }
}

function look(confined, path) {
  try {
    return fs.lstatSync(confined.at(path), BIG);
  } catch (error) {
    if (error.code === 'ENOENT') return null;
    throw error;
  }
}

function visit(confined, path, found, pending) {
  record('P', path, found, isLink(found) ? target(confined, path) : '');
  if (isFolder(found)) pending.push({ path, found, names: names(confined, path, found), next: 0 });
}

serve(({ root, path }) => {
  const confined = new Confined(root);
  const found = fs.lstatSync(confined.at(path), BIG);
  confined.folder(path); // a link in its place, or one that we may not read, would be a list of nothing
  const pending = [];
  visit(confined, path, found, pending);
  while (pending.length) {
    const here = pending[pending.length - 1];
    if (here.next === here.names.length) {
      pending.pop();
      continue;
    }
    const below = `${here.path}/${here.names[here.next]}`;
    here.next += 1;
    try {
      const there = look(confined, below);
      if (there) visit(confined, below, there, pending);
    } catch (error) {
      unreadable(here.path, here.found, error); // a folder that may be listed and not be entered
      here.next = here.names.length;
    }
  }
});
