'use strict';
/** One line that is written over, on a terminal; silence elsewhere. On stderr, so that stdout holds the summary alone. */

const EVERY_MS = 100;

class Progress {
  #total;
  #done = 0;
  #shownAt = 0;
  #active;

  constructor(total, { quiet }) {
    this.#total = total;
    this.#active = process.stderr.isTTY && !quiet;
  }

  add(bytes) {
    this.#done += bytes;
    if (!this.#active || Date.now() - this.#shownAt < EVERY_MS) return;
    this.#shownAt = Date.now();
    const percent = Math.floor((100 * this.#done) / this.#total);
    process.stderr.write(`\rwriting blocks ${String(percent).padStart(3)} %  ${(this.#done / 2 ** 20).toFixed(0)} MiB`);
  }

  end() {
    if (this.#active) process.stderr.write('\r\x1b[K');
  }
}

module.exports = { Progress };
