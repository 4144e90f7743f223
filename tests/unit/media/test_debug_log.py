from __future__ import annotations

import pytest

from strata.media.debug_log import _MORE_THAN_TRACE


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ("*:9", "*:7"),
        ("9", "7"),
        ("3,rtmp*:8,x:MEMDUMP", "3,rtmp*:7,x:7"),
        ("*:7", "*:7"),
        ("rtmp9:5,*:4", "rtmp9:5,*:4"),
    ],
)
def test_bytes_as_they_are_do_not_come_into_the_log(wanted: str, given: str) -> None:
    assert _MORE_THAN_TRACE.sub("7", wanted) == given
