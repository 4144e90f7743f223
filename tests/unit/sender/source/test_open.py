from __future__ import annotations

from typing import Any

import pytest

from strata.errors import BadArguments, BadUrl
from strata.sender.source import SourceSettings, open_source
from strata.wire import agent as wire


def opened(settings: SourceSettings | None = None, **source: Any) -> Any:
    return open_source(wire.Source(**source), wire.Encoder(), settings or SourceSettings())


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ({"mode": "test"}, "the test picture"),
        ({"mode": "file", "path": "/media/../media/a.mp4"}, "the file /media/a.mp4"),
        ({"mode": "v4l2", "device": "/dev/video0"}, "the device /dev/video0"),
        ({"mode": "uri", "uri": "rtsp://u:canary@camera/canary"}, "rtsp://****@camera/****"),
        ({"mode": "uri", "uri": "udp://:5000"}, "udp://:5000"),
    ],
)
async def test_a_source_is_made_of_an_order_and_opens_nothing(
    source: dict[str, Any], name: str
) -> None:
    one = opened(**source)
    assert one.name == name
    assert one.read() == []
    assert not one.is_encoding
    await one.stop()


@pytest.mark.parametrize(("mode", "lacks"), [("file", "path"), ("v4l2", "device"), ("uri", "uri")])
async def test_an_order_that_names_nothing_is_refused(mode: str, lacks: str) -> None:
    with pytest.raises(BadArguments, match=f"mode {mode} needs its {lacks}"):
        opened(mode=mode)


async def test_files_are_opened_by_address_only_where_they_may_be() -> None:
    with pytest.raises(BadUrl, match="not opened on this sender"):
        opened(mode="uri", uri="file:///etc/passwd")
    one = opened(SourceSettings(file_uris=True), mode="uri", uri="file:///media/a.mp4")
    assert one.name == "the file /media/a.mp4"
