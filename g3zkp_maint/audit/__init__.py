"""Findings: what is not as it should be, seen by small checks that only read."""

from g3zkp_maint.audit.finding import Finding, Severity

__all__ = ["Finding", "Severity"]
