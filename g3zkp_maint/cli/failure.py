"""How a command ends when it fails: one line on stderr, and an exit code that a script can act on.

2 for wrong arguments or settings, 75 (EX_TEMPFAIL of sysexits.h) for what may succeed later, 1 for the rest. 3 is for what
did not fail and is not whole: the result says what lacks.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import typer

from g3zkp_maint import errors
from g3zkp_maint.scrubbing import scrub_text

OK, FAILED, USAGE, PARTIAL, TEMPORARY, INTERRUPTED = 0, 1, 2, 3, 75, 130


def exit_code(error: errors.MaintenanceError) -> int:
    if isinstance(error, errors.BadInput | errors.SettingsError):
        return USAGE
    return TEMPORARY if isinstance(error, errors.TemporaryError) else FAILED


def guarded(command: Callable[[], Any], argv: Sequence[str]) -> NoReturn:
    """Runs `command` and ends the process. Only here are errors of the product turned into text."""
    try:
        result = command()
    except errors.MaintenanceError as error:
        report(error.code, str(error), argv, retry_after=getattr(error, "retry_after_seconds", None))
        sys.exit(exit_code(error))
    except typer.TyperException as error:
        _report_usage(error, argv)
        sys.exit(error.exit_code)
    except typer.Abort:
        report("aborted", "stopped before the end, as asked", argv)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        _leave_the_pipe()
    # Typer hands back the code of an Exit as the result.
    sys.exit(result if isinstance(result, int) and not isinstance(result, bool) else OK)


def report(code: str, message: str, argv: Sequence[str], *, retry_after: float | None = None) -> None:
    """`error: …` on stderr, with the error's stable code; as JSON where `--json` was asked for."""
    message = scrub_text(message)
    options = argv[: argv.index("--")] if "--" in argv else argv
    if "--debug" in options:
        sys.stderr.write(scrub_text(traceback.format_exc()))
    if "--json" in options:
        document = {"error": message, "code": code, "retry_after_seconds": retry_after}
        sys.stderr.write(json.dumps({key: value for key, value in document.items() if value is not None}) + "\n")
        return
    later = f" (try again in {retry_after:g} s)" if retry_after is not None else ""
    sys.stderr.write(f"error: {message}{later} [{code}]\n")


def _report_usage(error: typer.TyperException, argv: Sequence[str]) -> None:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":  # not public; its message is the whole help
        sys.stderr.write(error.format_message() + "\n")
        return
    hint = f" (see {context.command_path} --help)" if context is not None else ""
    report("usage", " ".join(error.format_message().split()) + hint, argv)


def _leave_the_pipe() -> NoReturn:
    """The reader is gone (`| head`): no error, and nothing more can be written, not even by the interpreter's exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(OK)
