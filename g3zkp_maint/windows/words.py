"""The words by which the journal tells whether disruptive work had leave to start.

Each disruptive run (`crypto.rotate_keys`, `crypto.restore`) has a step STEP, once for each time it asked. It is `finished`
with outcome `ok` when it had leave. When it had none it is `failed` with the outcome `outside-window` (the run has ended)
or `held-back` (it is tried again), and its `error` says why in a sentence. A rotation with nothing due never asks. The
step's detail:

| name | what |
|---|---|
| `leave` | `window` (an open one holds the work), `forced` (force and a reason), `held`, `refused` |
| `cause` | of `held` and `refused`: `none-open`, `too-short`, `frozen`, `soon`, `alert`, `alerts-unknown` |
| `window` | id of the window that is open, where one is |
| `until` | when the open time ends, ISO, UTC |
| `next`, `next_start` | of `held` and `refused`: the next window that is long enough, and its start |
| `expected_seconds`, `basis` | how long the work is taken to need, and what that is known from |
| `alerts` | of `alert`: names of the firing alerts, joined by commas |
| `reason` | of `forced`: what the operator gave |
"""

from __future__ import annotations

STEP = "window"

#: Values of `leave`.
WINDOW = "window"
FORCED = "forced"
HELD = "held"
REFUSED = "refused"

#: Values of `cause`.
NONE_OPEN = "none-open"
TOO_SHORT = "too-short"
FROZEN = "frozen"
SOON = "soon"
ALERT = "alert"
ALERTS_UNKNOWN = "alerts-unknown"
