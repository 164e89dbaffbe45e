"""`g3zkp-maint certificates`: which there are, what is wrong with them, renewals, and the restart that puts them to use."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from g3zkp_maint.cli.output import AsJson, print_json, print_table, say

if TYPE_CHECKING:
    from g3zkp_maint.bootstrap import Services
    from g3zkp_maint.coordination.occasion import Held
    from g3zkp_maint.operations.certificates import Look

_EPILOG = """\
\b
Examples:
  g3zkp-maint certificates list                                   each one, and when it ends
  g3zkp-maint certificates check                                  what is wrong, what is to be renewed
  g3zkp-maint certificates renew web-tls                          by cert-manager, now
  g3zkp-maint certificates roll-out --dry-run                     who runs with a former one
  g3zkp-maint certificates roll-out --force --reason "key leaked" restart them now

\b
Exit codes: 0 done, 3 a critical finding; others as everywhere.
"""

certificates_app = typer.Typer(no_args_is_help=True, epilog=_EPILOG, help="Certificates: how long they last, renewals.")


@certificates_app.command("list")
def list_certificates(as_json: AsJson = False) -> None:
    """Each certificate of the namespace, of the API server and of the configured endpoints."""
    seen = _look()
    if as_json:
        print_json(seen.as_dict()["certificates"])
        return
    rows = []
    for place in seen.facts.places:
        own = place.chain.own if place.chain else None
        left = f"{(own.ends - seen.facts.at).days} d" if own else "-"
        by = f"cert-manager ({place.issuer})" if place.issuer else own.issuer if own else place.problem
        rows.append((place.name, own.ends if own else "-", left, ", ".join(own.hosts) if own else "", by))
    print_table(("certificate", "ends", "left", "for", "issued by"), rows, right=("left",))
    _print_unseen(seen)


@certificates_app.command(epilog=_EPILOG)
def check(as_json: AsJson = False) -> None:
    """What is wrong with them, what is to be renewed, and who runs with a former one. Reads only."""
    from g3zkp_maint.audit.finding import Severity  # noqa: PLC0415 -- what --help does not need is imported late
    from g3zkp_maint.cli.failure import PARTIAL  # noqa: PLC0415

    seen = _look()
    if as_json:
        print_json(seen.as_dict())
    else:
        _print(seen)
    raise typer.Exit(PARTIAL if any(one.severity is Severity.CRITICAL for one in seen.findings) else 0)


@certificates_app.command(epilog=_EPILOG)
def renew(
    secret: Annotated[str, typer.Argument(metavar="SECRET", help="As `certificates list` shows it.")],
    as_json: AsJson = False,
) -> None:
    """Has cert-manager renew it now, and waits for the new one."""
    from g3zkp_maint.operations import certificates as operations  # noqa: PLC0415

    name = secret.rpartition("/")[2]
    found = _perform(operations.RENEW, {}, lambda services, held: operations.renew(services, name, held), secret=name)
    print_json(found) if as_json else say(f"{name} is renewed, and ends {found['ends']}")


@certificates_app.command("roll-out", epilog=_EPILOG)
def roll_out(
    force: Annotated[bool, typer.Option("--force", help="Outside of a maintenance window; needs --reason.")] = False,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is journaled.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show who would be restarted, and do nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """One restart of the workloads that run with a certificate which is no longer in its Secret."""
    from g3zkp_maint.errors import BadInput  # noqa: PLC0415
    from g3zkp_maint.operations import certificates as operations  # noqa: PLC0415

    if force and not reason.strip():
        raise BadInput("--force needs --reason TEXT: it restarts the messenger at any time, and the journal tells why")
    if dry_run:
        found = _look().restart.as_dict()
    else:
        request = operations.RollOutRequest(force, reason)
        found = _perform(
            operations.ROLL_OUT,
            operations.WANTS,
            lambda services, held: operations.roll_out(services, request, held),
            force=force,
            reason=reason,
        )
    if as_json:
        print_json(found)
        return
    verb = "to be restarted" if dry_run else "restarted"
    say(f"{verb}: {', '.join(found['workloads']) or 'none'}")
    if found["others"]:
        say(f"not ours, restart them by hand: {', '.join(found['others'])}")


def _look() -> Look:
    from g3zkp_maint.bootstrap import Services  # noqa: PLC0415
    from g3zkp_maint.operations.certificates import look  # noqa: PLC0415

    return look(Services())


def _perform(
    task: str, wants: Any, work: Callable[[Services, Held], dict[str, Any]], **arguments: Any
) -> dict[str, Any]:
    """As a run of its own. Should this process die half-way, the crypto fleet goes on with `arguments`."""
    from g3zkp_maint.bootstrap import Services  # noqa: PLC0415
    from g3zkp_maint.cli import operator  # noqa: PLC0415
    from g3zkp_maint.coordination.occasion import Occasion  # noqa: PLC0415
    from g3zkp_maint.errors import HeldBack, LeaseBusy  # noqa: PLC0415

    services = Services()
    slot = operator.manual_slot(services.clock.now())
    signature = operator.signature(task, **arguments, slot=slot)
    occasion = Occasion(task, slot, operator.owner(), signature, wants=wants)

    def body(held: Held) -> dict[str, Any]:
        return work(services, held)

    try:
        found: dict[str, Any] = services.conductor.perform(occasion, operator.interruptible(body, "start it again"))
    except (LeaseBusy, HeldBack):
        operator.withdraw(services, task, slot, wants)
        raise
    return found


def _print(seen: Look) -> None:
    if seen.findings:
        rows = [(one.severity, one.check, one.object, one.evidence) for one in seen.findings]
        print_table(("severity", "check", "certificate", "evidence"), rows)
    for one in seen.waived:
        say(f"waived until {one.waiver.until}: {one.finding.check} {one.finding.object}: {one.waiver.reason}")
    for renewal in seen.renewals:
        say(f"to be renewed: {renewal.secret}: {renewal.reason}")
    if seen.restart.workloads:
        say(f"to be restarted for a new certificate: {', '.join(seen.restart.workloads)} (`certificates roll-out`)")
    if seen.restart.others:
        say(f"to be restarted by hand for a new certificate: {', '.join(seen.restart.others)}")
    _print_unseen(seen)
    say(f"{len(seen.facts.places)} certificates, {len(seen.findings)} findings")


def _print_unseen(seen: Look) -> None:
    for one in seen.facts.unseen:
        say(f"not looked at: {one.what}: {one.why}")
