from __future__ import annotations

from pathlib import Path

import pytest

from g3zkp_maint.calendar.catalog import load_catalog
from g3zkp_maint.errors import SettingsError

ENTRY = 'CalendarEntry(name="e", task="backup.run", cadence=EverySeconds(2), why="")'
IMPORTS = (
    "from g3zkp_maint.calendar.cadence import EverySeconds\nfrom g3zkp_maint.calendar.entry import CalendarEntry\n"
)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("catalog_empty", "", "no CALENDAR"),
        ("catalog_twice", f"{IMPORTS}CALENDAR = ({ENTRY},)\nUPKEEP = ({ENTRY},)", "names e twice"),
        ("catalog_strange", "CALENDAR = ('backup.run',)", "holds str"),
        ("catalog_wrong", f"{IMPORTS}CALENDAR = (CalendarEntry(name='E', task='', cadence=None, why=''),)", "'E'"),
        ("catalog_missing", None, "can be imported"),
    ],
)
def test_a_calendar_module_that_cannot_be_used_is_named_with_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str | None, said: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    if text is not None:
        (tmp_path / f"{name}.py").write_text(text)
    with pytest.raises(SettingsError, match=said) as caught:
        load_catalog(name)
    assert name in str(caught.value)
