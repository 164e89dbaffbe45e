'use strict';
/** The data folder: `$G3ZKP_DATA`, default `/data`, asked for at every call because `node -e` sets it per process. */

const fs = require('node:fs');
const path = require('node:path');

const FOLDERS = {
  'ipfs/blocks': 0o755, keys: 0o700, messages: 0o700, proofs: 0o700, sessions: 0o700, logs: 0o755, locks: 0o700,
};

class DataFolderMissing extends Error {}

function dataRoot() {
  return path.resolve(process.env.G3ZKP_DATA || '/data');
}

/** A folder inside the data folder, made if need be. The root itself is never made: where a volume is not mounted, "deleted 0
 * messages" would be a lie. Throws DataFolderMissing. */
function dataFolder(name) {
  const root = dataRoot();
  if (!fs.statSync(root, { throwIfNoEntry: false })?.isDirectory()) {
    throw new DataFolderMissing(`the data folder ${root} is not there: mount the volume or set G3ZKP_DATA`);
  }
  const folder = path.join(root, name);
  fs.mkdirSync(folder, { recursive: true, mode: FOLDERS[name] ?? FOLDERS[name.split('/')[0]] });
  return folder;
}

/** Makes the data folder and all that is in it: for the server and the seeder only. */
function prepareDataFolder() {
  fs.mkdirSync(dataRoot(), { recursive: true });
  Object.keys(FOLDERS).forEach(dataFolder);
  return dataRoot();
}

module.exports = { DataFolderMissing, dataRoot, dataFolder, prepareDataFolder };
