from __future__ import annotations

import json

from strata.doctor import finding
from strata.doctor.finding import Finding

WELL = Finding("media", "ok", "it loads")
MEANT = Finding("clock", "warning", "it is late", "set it")
BROKEN = Finding("data_folder", "error", "it is full", "empty it")


def test_the_table_tells_what_mends_each() -> None:
    assert finding.table([WELL, MEANT, BROKEN]).splitlines() == [
        "ok       media        it loads",
        "warning  clock        it is late",
        "                      mend it: set it",
        "error    data_folder  it is full",
        "                      mend it: empty it",
        "",
        "1 errors, 1 warnings",
    ]
    assert finding.table([WELL]).endswith("no errors, no warnings")


def test_programs_read_the_same() -> None:
    assert json.loads(finding.as_json([WELL, BROKEN])) == [
        {"name": "media", "level": "ok", "text": "it loads", "mend": ""},
        {"name": "data_folder", "level": "error", "text": "it is full", "mend": "empty it"},
    ]


def test_a_warning_is_no_failure() -> None:
    assert finding.exit_status([WELL, MEANT]) == 0
    assert finding.exit_status([WELL, MEANT, BROKEN]) == 1
