'use strict';
/** Messages and their proofs. Deletion decides on each record's `createdAt`, never on a file's time. */

const { appendRecords, readRecord, countRecordsBefore, deleteRecordsBefore, compactRecords } = require('../data');

/** Stores a proof and then the message that names it: a crash between leaves a proof without a message, which expires. */
async function saveMessage({ message, proof }) {
  const [proofId] = await appendRecords('proofs', [proof]);
  const [id] = await appendRecords('messages', [{ ...message, proofId }]);
  return { id, proofId };
}

/** The message and its proof (null once that has expired), or null where there is no such message. */
function readMessage(id) {
  const message = readRecord('messages', id);
  return message && { message, proof: readRecord('proofs', message.proofId) };
}

/** Deletes what was created before that moment (ms since 1970); resolves to how many. */
const deleteMessagesBefore = (cutoffMs) => deleteRecordsBefore('messages', cutoffMs);
const deleteProofsBefore = (cutoffMs) => deleteRecordsBefore('proofs', cutoffMs);

/** How many those would delete now; of this messenger only, the protocols know no such call. */
const countMessagesBefore = async (cutoffMs) => countRecordsBefore('messages', cutoffMs);
const countProofsBefore = async (cutoffMs) => countRecordsBefore('proofs', cutoffMs);

/** Gives the room of deleted records back to the file system; resolves to {freedBytes}. */
async function compact() {
  const messages = await compactRecords('messages');
  return { freedBytes: messages + (await compactRecords('proofs')) };
}

module.exports = {
  saveMessage, readMessage, deleteMessagesBefore, deleteProofsBefore, countMessagesBefore, countProofsBefore, compact,
};
