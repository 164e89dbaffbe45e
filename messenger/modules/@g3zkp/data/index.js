'use strict';
/** What the other two modules share: where data is, how it is written so that it survives kill -9, and who may write. */

module.exports = {
  ...require('./folder'),
  ...require('./atomic'),
  ...require('./lock'),
  ...require('./segments'),
  ...require('./blocks'),
};
