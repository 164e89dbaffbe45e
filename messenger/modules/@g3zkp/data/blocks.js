'use strict';
/**
 * IPFS blocks as Kubo's flatfs datastore keeps them (github.com/ipfs/go-ds-flatfs): a block's file is named by the base32
 * (RFC 4648, upper case, no padding) of its multihash, in a folder of the next-to-last two characters of that name.
 * A SHA-256 multihash is the bytes 0x12 0x20 and the digest, hence each name begins with CIQ.
 */

const fs = require('node:fs');
const path = require('node:path');
const { createHash } = require('node:crypto');
const { dataFolder } = require('./folder');
const { replaceFile } = require('./atomic');

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const SHARDING = '/repo/flatfs/shard/v1/next-to-last/2';
const README = `This is a repository of IPLD objects. Each IPLD object is in a single file,
named <base32 encoding of cid>.data. Where <base32 encoding of cid> is the
"base32" encoding of the CID (as specified in
https://github.com/multiformats/multibase) without the 'B' prefix.
All the object files are placed in a tree of directories, based on a
function of the CID. This is a form of sharding similar to
the objects directory in git repositories. Previously, we used
prefixes, we now use the next-to-last two characters.

    func NextToLast(base32cid string) {
      nextToLastLen := 2
      offset := len(base32cid) - nextToLastLen - 1
      return str[offset : offset+nextToLastLen]
    }

For example, an object with a base58 CIDv1 of

    zb2rhYSxw4ZjuzgCnWSt19Q94ERaeFhu9uSqRgjSdx9bsgM6f

has a base32 CIDv1 of

    BAFKREIA22FLID5AJ2KU7URG47MDLROZIH6YF2KALU2PWEFPVI37YLKRSCA

and will be placed at

    SC/AFKREIA22FLID5AJ2KU7URG47MDLROZIH6YF2KALU2PWEFPVI37YLKRSCA.data

with 'SC' being the last-to-next two characters and the 'B' at the
beginning of the CIDv1 string is the multibase prefix that is not
stored in the filename.
`;

function base32(bytes) {
  let text = '';
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = (value << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) text += ALPHABET[(value >>> (bits - 5)) & 31];
    value &= (1 << bits) - 1;
  }
  return bits > 0 ? text + ALPHABET[(value << (5 - bits)) & 31] : text;
}

/** The name of the block with this content, without `.data`. */
function blockName(content) {
  return base32(Buffer.concat([Buffer.from([0x12, 0x20]), createHash('sha256').update(content).digest()]));
}

/** The block's path below `ipfs/blocks`. */
function blockPath(name) {
  return path.join(name.slice(-3, -1), `${name}.data`);
}

/** `ipfs/blocks`, with the two files by which flatfs knows its own layout, and the two by which Kubo knows the repository. */
function prepareBlocks() {
  const folder = dataFolder('ipfs/blocks');
  const repository = path.dirname(folder);
  const spec = { mounts: [{ mountpoint: '/blocks', path: 'blocks', shardFunc: SHARDING, type: 'flatfs' }], type: 'mount' };
  const files = {
    [path.join(folder, 'SHARDING')]: `${SHARDING}\n`,
    [path.join(folder, '_README')]: README,
    [path.join(repository, 'version')]: '16\n',
    [path.join(repository, 'datastore_spec')]: JSON.stringify(spec),
  };
  for (const [file, text] of Object.entries(files)) if (!fs.existsSync(file)) replaceFile(file, text);
  return folder;
}

/** Stores a block; returns its name. Content that is there already is not written again: names are digests. */
function putBlock(content) {
  const name = blockName(content);
  const file = path.join(prepareBlocks(), blockPath(name));
  if (fs.existsSync(file)) return name;
  fs.mkdirSync(path.dirname(file), { recursive: true });
  replaceFile(file, content);
  return name;
}

/** Every block as {name, file (absolute)}, in the order of their names. */
function listBlocks() {
  const folder = dataFolder('ipfs/blocks');
  return fs.readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap((entry) => fs.readdirSync(path.join(folder, entry.name)).map((name) => path.join(folder, entry.name, name)))
    .filter((file) => file.endsWith('.data'))
    .map((file) => ({ name: path.basename(file, '.data'), file }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

module.exports = { blockName, blockPath, prepareBlocks, putBlock, listBlocks };
