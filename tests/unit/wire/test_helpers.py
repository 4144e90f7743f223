from __future__ import annotations

import pytest

from strata.wire import helpers as wire

KEY = "abcd-efgh-1234"
MESSAGES = [
    wire.Draw("h265", b"\x01\xff", bytes(range(256))),
    wire.Push(f"rtmp://host/app/{KEY}", 10.0),
    wire.Pushed(False, "refused", "refused", 1.5, 4711),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_line_comes_back_as_it_went(message: wire.Draw | wire.Push | wire.Pushed) -> None:
    line = wire.encode(message)
    assert line.count(b"\n") == 1
    assert wire.decode(line, type(message)) == message
    assert wire.decode(b"\n" + line, type(message)) == message  # the helper has begun


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 100_000,
        f'{{"url":"{KEY}","seconds":"ten"}}'.encode(),
        f'{{"url":"{KEY}","seconds":0}}'.encode(),
        f'{{"url":"{KEY}","seconds":1e9}}'.encode(),
    ],
)
def test_what_is_no_such_line_is_not_quoted(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"^a line cannot be read as Push$"):
        wire.decode(line, wire.Push)


def test_a_push_does_not_show_where_to() -> None:
    assert KEY not in repr(wire.Push(f"rtmp://host/app/{KEY}", 10.0))
