from __future__ import annotations

import pytest

from strata.errors import BadArguments
from strata.impair.address import Address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:16000", ("127.0.0.1", 16000)),
        ("16000", ("127.0.0.1", 16000)),
        ("[::1]:16000", ("::1", 16000)),
        ("[fe80::1%eth0]:1", ("fe80::1%eth0", 1)),
        ("field-1.example.org:65535", ("field-1.example.org", 65535)),
    ],
)
def test_an_address_is_read_and_written(text: str, address: tuple[str, int]) -> None:
    found = Address.parse(text)
    assert found == address
    assert Address.parse(str(found)) == found


@pytest.mark.parametrize(
    "text", ["", "host", "host:", ":1", "::1:16000", "[::1]", "a b:1", "h:0", "h:65536", "h:1\n"]
)
def test_what_is_no_address_is_told(text: str) -> None:
    with pytest.raises(BadArguments, match=r"write it like 127\.0\.0\.1:16000"):
        Address.parse(text)
