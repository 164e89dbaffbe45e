'use strict';
/** Metrics in the Prometheus text format (prometheus.io/docs/instrumenting/exposition_formats, version 0.0.4). */

const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';
const BUCKETS_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 2.5, 5, 10];

class Metrics {
  constructor() {
    this.errors = 0;
    this.proofSeconds = null;
    this.counts = BUCKETS_SECONDS.map(() => 0);
    this.requests = 0;
    this.requestSeconds = 0;
  }

  countError() {
    this.errors += 1;
  }

  observeRequest(seconds) {
    this.requests += 1;
    this.requestSeconds += seconds;
    BUCKETS_SECONDS.forEach((bound, index) => {
      if (seconds <= bound) this.counts[index] += 1;
    });
  }

  observeProof(seconds) {
    this.proofSeconds = seconds;
  }

  /** `diskUsagePercent` and `auditPassed` may be null: what could not be measured is left out, not made up. */
  render({ diskUsagePercent, auditPassed }) {
    const name = 'g3zkp_request_duration_seconds';
    const buckets = BUCKETS_SECONDS.map((bound, index) => `${name}_bucket{le="${bound}"} ${this.counts[index]}`);
    return [
      ...single('g3zkp_errors_total', 'counter', 'Requests that failed by fault of the messenger.', this.errors),
      `# HELP ${name} Duration of HTTP requests, scrapes excepted.`,
      `# TYPE ${name} histogram`,
      ...buckets,
      `${name}_bucket{le="+Inf"} ${this.requests}`,
      `${name}_sum ${this.requestSeconds}`,
      `${name}_count ${this.requests}`,
      ...single('g3zkp_proof_generation_seconds', 'gauge', 'Duration of the last proof.', this.proofSeconds),
      ...single('g3zkp_disk_usage_percent', 'gauge', 'Used share of the file system of the data.', diskUsagePercent),
      ...single('g3zkp_security_audit_passed', 'gauge', 'Keys private, whole and matching: 1, else 0.', auditPassed),
    ].join('\n') + '\n';
  }
}

function single(name, type, help, value) {
  return value === null ? [] : [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, `${name} ${value}`];
}

module.exports = { Metrics, CONTENT_TYPE };
