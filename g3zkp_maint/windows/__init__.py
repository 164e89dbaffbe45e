"""Maintenance windows: when they are, who is told of them, and what may start in them. Pure: no clock, no Redis, no HTTP."""
