"""`g3zkp-maint dependencies`: what there is newer of what the messenger and its maintenance are made of."""

from __future__ import annotations

from typing import Annotated

import typer

from g3zkp_maint.cli.output import AsJson, print_json, print_table, say

_EPILOG = """\
\b
Examples:
  g3zkp-maint dependencies check                 what is newer, and which window each step needs
  g3zkp-maint dependencies check --no-registry   without network: what would be asked
  g3zkp-maint dependencies check --json          the same, for machines

\b
It reads only; nothing is upgraded. npm packages are asked for in the messenger or by its lock file, images of both
namespaces by their registries, our own packages by an index (settings: dependencies.*).
"""

dependencies_app = typer.Typer(no_args_is_help=True, epilog=_EPILOG, help="Newer versions, and the windows they need.")


@dependencies_app.callback()
def dependencies() -> None:
    """Newer versions, and the windows they need."""


@dependencies_app.command(epilog=_EPILOG)
def check(
    registry: Annotated[
        bool, typer.Option("--registry/--no-registry", help="Ask registries, or none: then it says what it would ask.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """What there is newer, and which maintenance window each step needs."""
    from g3zkp_maint.bootstrap import Services  # noqa: PLC0415 -- what --help does not need is imported late
    from g3zkp_maint.operations.dependencies import look  # noqa: PLC0415

    found = look(Services(), registry=registry)
    if as_json:
        print_json(found.as_dict())
        return
    if found.steps:
        rows = [(one.kind, one.name, one.current, one.newer, one.change, one.window, one.where) for one in found.steps]
        print_table(("kind", "name", "now", "newer", "change", "window", "where"), rows)
    for kind, start in found.windows.items():
        say(f"the next {kind} window begins {start:%Y-%m-%d %H:%MZ} (`g3zkp-maint windows list`)")
    for lack in found.lacks:
        say(f"not asked: {lack.what}: {lack.why}")
    counts = ", ".join(f"{'all' if count is None else count} {kind}" for kind, count in found.looked_at.items())
    say(f"compared: {counts}; newer: {len(found.steps)}; nothing was changed")
