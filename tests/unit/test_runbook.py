"""What the docs tell an operator to type exists, and every error has its row in the runbook."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from g3zkp_maint import cli, errors

ROOT = Path(__file__).parents[2]
RUNBOOK = ROOT / "docs" / "runbook.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

CODES = sorted({one.code for one in vars(errors).values() if isinstance(one, type) and hasattr(one, "code")})
_ROW = re.compile(r"^\| `([a-z-]+)` \|(.*)\|$", re.MULTILINE)
#: A fenced block, an indented line, or code within a line.
_CODE = re.compile(r"^```[a-z]*\n.*?^```|^ {4}[^\n]+$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
#: Not the namespace of the same name.
_COMMAND = re.compile(r"(?<![\w-])(?<!-n )g3zkp-maint((?:[ \t]+[^\n`|;…]+)?)")
#: Within a line commands go without the program's name: `backup list`.
_SHORT = re.compile(rf"^`((?:{'|'.join(cli.COMMANDS)})(?: [^`|;…]+)?)`$")
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")


def _section(title: str) -> str:
    text = RUNBOOK.read_text(encoding="utf-8")
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def _commands() -> list[tuple[str, tuple[str, ...]]]:
    found = {
        (page.name, tuple(shlex.split(arguments, comments=True)))
        for page in PAGES
        for code in _CODE.findall(page.read_text(encoding="utf-8"))
        for arguments in [*_COMMAND.findall(code), *_SHORT.findall(code)]
    }
    return sorted(found)


def _resolved(words: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The command that `words` name, and what is left of them: arguments and options."""
    if not words or words[0].startswith("-"):
        return [], list(words)
    assert words[0] in cli.COMMANDS, f"there is no command {words[0]!r}"
    command, path, rest = cli.load(words[0]), [words[0]], list(words[1:])
    if hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"there is no command {' '.join([*path, rest[0]])!r}"
        path.append(rest.pop(0))
    return path, rest


@pytest.mark.parametrize("code", CODES)
def test_every_error_code_has_a_full_row_in_the_runbook(code: str) -> None:
    rows = [cells for found, cells in _ROW.findall(_section("Error codes")) if found == code]
    assert len(rows) == 1, f"docs/runbook.md has {len(rows)} rows for {code}"
    cells = [cell.strip() for cell in rows[0].split(" | ")]
    assert len(cells) == 3
    assert all(cells), f"{code}: when, what state things are in, and what to do must be told"


def test_the_runbook_has_rows_for_no_other_codes() -> None:
    assert sorted(found for found, _ in _ROW.findall(_section("Error codes"))) == CODES


def test_the_docs_show_commands_of_every_kind() -> None:
    shown = {words[0] for _, words in _commands() if words}
    assert set(cli.COMMANDS) <= shown


@pytest.mark.parametrize(("page", "words"), _commands(), ids=lambda value: value if isinstance(value, str) else "")
def test_each_command_in_the_docs_exists_and_has_the_options_shown(page: str, words: tuple[str, ...]) -> None:
    path, rest = _resolved(words)
    result = CliRunner().invoke(cli.app, [*path, "--help"], prog_name="g3zkp-maint")
    assert result.exit_code == 0, f"{page}: {' '.join(path)}"
    options = {word.partition("=")[0] for word in rest if word.startswith("-") and word != "--"}
    unknown = {option for option in options if not re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", result.stdout)}
    assert not unknown, f"{page}: g3zkp-maint {' '.join(path)} has no {', '.join(sorted(unknown))}"


def test_each_link_between_the_docs_leads_somewhere() -> None:
    anchors = {page: _anchors(page) for page in PAGES}
    for page in PAGES:
        for target, anchor in _LINK.findall(page.read_text(encoding="utf-8")):
            to = (page.parent / target).resolve() if target else page
            assert to.exists(), f"{page.name} links to {target}"
            if anchor:
                assert anchor in anchors[to], f"{page.name} links to {target}#{anchor}"


def _anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
