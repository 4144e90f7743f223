from __future__ import annotations

import pytest

from strata.client.text import plain


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Derby", "Derby"),
        ("Zürich 1 ✓", "Zürich 1 ✓"),
        ("a\nb", "a b"),
        ("\x1b[2Jx", "[2Jx"),
        ("\x9b2Jx", "2Jx"),
        ("a\u202eb", "a b"),
        ("", ""),
    ],
)
def test_a_name_cannot_repaint_the_screen(text: str, wanted: str) -> None:
    assert plain(text) == wanted
