"""`g3zkp-maint recovery`: the keys by which backups are opened one day. Made once, handed out by fleet, changed in time.

The recovery identity is shown by `init` alone, once, to a terminal or into a file that only its owner reads. No other
command prints a private key, and none replaces one.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from g3zkp_maint.backup.manifest import Manifest
from g3zkp_maint.backup.recipients import Opening, RecipientReport, Standing, report
from g3zkp_maint.bootstrap import Services
from g3zkp_maint.cli.operator import tell
from g3zkp_maint.cli.output import AsJson, print_json, print_table, printable, say
from g3zkp_maint.errors import BadInput, KeyMaterialError
from g3zkp_maint.keys import fleets, inspection, recipients
from g3zkp_maint.keys.material import KeyMaterial, generate
from g3zkp_maint.settings import load

_EPILOG = """\
\b
Examples:
  g3zkp-maint recovery init                        makes all keys, shows the recovery identity once
  g3zkp-maint recovery init --for-crypto-fleet     the crypto fleet may open backups by itself
  g3zkp-maint recovery show                        who can open what, and which fleet holds what
  g3zkp-maint recovery add-recipient age1…         from the next backup on, this one opens them too
  g3zkp-maint recovery rewrap                      what do the old ones open with?
"""

_INIT_EPILOG = """\
\b
Examples:
  g3zkp-maint recovery init --dir keys                              on a terminal
  g3zkp-maint recovery init --identity-file /media/safe/recovery.identity
  g3zkp-maint recovery init --no-identity --recipient "$(age-keygen -y mine.identity)"
"""

_SHOWN_END = 6

recovery_app = typer.Typer(
    no_args_is_help=True, epilog=_EPILOG, help="The recovery identity, who can open backups, and what opens old ones."
)

Dir = Annotated[
    Path | None,
    typer.Option("--dir", metavar="DIR", help="The fleets' key folders. Default: keys in platform.state_dir."),
]
Recipient = Annotated[str, typer.Argument(metavar="age1…", help="The public half of an age identity.")]


def _folder(given: Path | None) -> Path:
    return (given or load().platform.state_dir / "keys").expanduser().absolute()


# -- init ----------------------------------------------------------------------------------------------------------------


@recovery_app.command("init", epilog=_INIT_EPILOG)
def init(
    folder: Dir = None,
    recipient: Annotated[
        list[str] | None,
        typer.Option("--recipient", metavar="age1…", help="Who can open backups as well (repeatable)."),
    ] = None,
    identity_file: Annotated[
        Path | None, typer.Option("--identity-file", metavar="FILE", help="Write the identity to this new file (0600).")
    ] = None,
    show_once: Annotated[
        bool, typer.Option("--show-once", help="Show it on the terminal although --identity-file is given.")
    ] = False,
    for_crypto_fleet: Annotated[
        bool, typer.Option("--for-crypto-fleet", help="The crypto fleet gets it too. Else it stays offline.")
    ] = False,
    no_identity: Annotated[
        bool, typer.Option("--no-identity", help="Make no recovery identity: that of a --recipient is enough.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Show it although the output is no terminal.")] = False,
) -> None:
    """Make the keys of all fleets, and the recovery identity. That one is shown once and cannot be had again."""
    target = _folder(folder)
    fleets.require_absent(target)
    others = tuple(dict.fromkeys(recipients.parse_recipient(one) for one in recipient or ()))
    if no_identity:
        _require_plain(others, unwanted=(identity_file is not None, show_once, for_crypto_fleet))
    keys = _with_recipients(generate(), others, own=not no_identity)
    if not no_identity:
        _hand_over(keys.recovery_identity, identity_file, show=show_once or identity_file is None, force=force)
    fleets.issue(target, keys, recovery_offline=not for_crypto_fleet)
    tell(f"made keys in {target}; give each fleet its own folder and no other")
    tell(f"recipients: {' '.join(keys.recipients.split())}")
    if not for_crypto_fleet:
        tell("the recovery identity is with no fleet: bring it for a restore (crypto/recovery.offline says how)")


def _require_plain(others: tuple[str, ...], *, unwanted: tuple[bool, ...]) -> None:
    if not others:
        raise BadInput("--no-identity needs a --recipient: without one nobody could open a backup")
    if any(unwanted):
        raise BadInput("--no-identity makes none that could be shown, written to a file or given to the crypto fleet")


def _with_recipients(keys: KeyMaterial, others: tuple[str, ...], *, own: bool) -> KeyMaterial:
    first = keys.recipients.split() if own else []
    return dataclasses.replace(keys, recipients="".join(f"{one}\n" for one in [*first, *others]))


def _hand_over(identity: str, file: Path | None, *, show: bool, force: bool) -> None:
    """Before any fleet uses it: what nobody has kept must not be what backups are made for."""
    is_terminal = sys.stdout.isatty()
    if show and not is_terminal and not force:
        raise BadInput(
            "the recovery identity is shown on a terminal only, and this output is none: give --identity-file FILE (only "
            "you can read that), or --force"
        )
    if file is not None:
        _write_new(file, identity)
        tell(
            f"wrote the recovery identity to {file}: move it to where it outlives this machine, and keep a second copy"
        )
    if show:
        sys.stdout.write(identity)
        sys.stdout.flush()
    if show and is_terminal and file is None:
        _require_kept(identity)


def _require_kept(identity: str) -> None:
    tell("This opens every backup, and nothing else does. It is not shown again. Copy it to two safe places now.")
    typed = typer.prompt(f"Its last {_SHOWN_END} characters, from your copy", err=True)
    if typed.strip().upper() != identity.strip()[-_SHOWN_END:]:
        raise BadInput("these are not its last characters; nothing was made, and that identity is void: begin again")


def _write_new(path: Path, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
    except FileExistsError:
        raise BadInput(f"{path} is there already and is not overwritten; give another --identity-file") from None
    except OSError as error:
        raise KeyMaterialError(f"{path} cannot be written: {error.strerror}; give another --identity-file") from error


# -- show, add, remove -----------------------------------------------------------------------------------------------------


@recovery_app.command("show")
def show(folder: Dir = None, as_json: AsJson = False) -> None:
    """Who can open new backups, and which fleet holds which key. Public halves only; exit code 1 where they do not fit."""
    found = inspection.inspect(_folder(folder))
    if as_json:
        print_json(dataclasses.asdict(found))
    else:
        print_table(
            ("fleet", "key", "public"),
            [(one.fleet, one.file, public) for one in found.held for public in one.public or ("",)],
        )
        for problem in found.problems:
            say(f"problem: {problem}")
    if found.problems:
        raise KeyMaterialError(f"the keys in {found.folder} do not fit together: {len(found.problems)} problems")


@recovery_app.command("add-recipient")
def add_recipient(recipient: Recipient, folder: Dir = None) -> None:
    """Let this one open backups too: new ones. Old ones stay as they are; `recovery rewrap` tells."""
    _say_changed(recipients.add(_folder(folder), recipient))


@recovery_app.command("remove-recipient")
def remove_recipient(recipient: Recipient, folder: Dir = None) -> None:
    """Make new backups without this one. What was made for it opens with its identity for ever."""
    _say_changed(recipients.remove(_folder(folder), recipient))


def _say_changed(paths: list[Path]) -> None:
    for path in paths:
        say(f"changed {path}")
    say("it holds for processes that start from now on: restart the fleets, between two backups (down, up)")
    say(
        "then take a full backup (g3zkp-maint backup run full), and look what old ones open with: g3zkp-maint recovery rewrap"
    )


# -- rewrap ----------------------------------------------------------------------------------------------------------------


@recovery_app.command("rewrap")
def rewrap(folder: Dir = None, as_json: AsJson = False) -> None:
    """What each backup opens with, after a change of recipients. Changes nothing: archives are never made anew.

    Needs the store and the trusted signers; the recipients in force are those of keys.recipients, else of DIR.
    """
    services = Services()
    listed = services.settings.keys.recipients or recipients.lists(_folder(folder))[0]
    manifests, doubtful = _manifests(services)
    found = report(manifests, recipients.read(listed), services.settings.retention, services.clock.now())
    if as_json:
        print_json({**_json(found), "invalid": doubtful})
        return
    _show_report(found)
    for why in doubtful:
        say(f"invalid: {why}")


def _manifests(services: Services) -> tuple[list[Manifest], list[str]]:
    found = list(services.repository.manifests())
    return [one for one in found if isinstance(one, Manifest)], [
        str(one) for one in found if not isinstance(one, Manifest)
    ]


def _show_report(found: RecipientReport) -> None:
    print_table(
        ("recipient", "now", "opens", "in part", "lost without", "needed until"),
        [_standing_row(one) for one in found.standings],
        right=("opens", "in part", "lost without"),
    )
    if found.openings:
        say("")
        print_table(("backup", "opens with", "in part with"), [_opening_row(one) for one in found.openings])
        say("")
    for line in _advice(found):
        say(line)


def _standing_row(one: Standing) -> tuple[object, ...]:
    counts = len(one.whole), len(one.partly), len(one.lost_without)
    return (one.recipient, "yes" if one.is_current else "former", *counts, _until(one))


def _until(one: Standing) -> str | None:
    if one.is_kept_on:
        return "kept on"
    return printable(one.kept_until) if one.kept_until else None


def _opening_row(one: Opening) -> tuple[object, ...]:
    whole = ", ".join(sorted(one.opens_all)) or "nothing alone"
    return (one.name, whole, ", ".join(sorted(one.opens_some)) or None)


def _advice(found: RecipientReport) -> list[str]:
    """Plainly: what is to be done, and what is to be kept."""
    lines = []
    if not found.openings:
        lines.append("there is no backup yet; take one with: g3zkp-maint backup run full")
    elif not found.newest_is_current:
        missing = ", ".join(sorted(found.openings[0].missing))
        lines.append(
            f"the newest backup does not open whole with {missing}: take a full one now (g3zkp-maint backup run full)"
        )
    lines += [_keep(one) for one in found.standings if not one.is_current and one.lost_without]
    return lines or ["nothing to do: every recipient opens the newest backup, and no former one is needed"]


def _keep(one: Standing) -> str:
    until = "for longer than ten years, as retention has it" if one.is_kept_on else f"until {printable(one.kept_until)}"
    return (
        f"keep the identity of {one.recipient} {until} (if a full backup is taken now): {len(one.lost_without)} backups "
        "cannot be restored without it. Where it was stolen, they lie open to the thief: delete them wherever they are"
    )


def _json(found: RecipientReport) -> dict[str, Any]:
    return {
        "recipients": [dataclasses.asdict(one) for one in found.standings],
        "backups": [
            {
                "name": one.name,
                "opens_with": sorted(one.opens_all),
                "in_part_with": sorted(one.opens_some),
                "missing": sorted(one.missing),
                "made_for": {name: None if group is None else sorted(group) for name, group in one.groups.items()},
            }
            for one in found.openings
        ],
        "advice": _advice(found),
    }
