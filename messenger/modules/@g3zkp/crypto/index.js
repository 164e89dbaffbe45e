'use strict';

module.exports = { ...require('./keys'), ...require('./proof'), ...require('./sessions') };
