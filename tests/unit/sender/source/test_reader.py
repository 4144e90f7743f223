from __future__ import annotations

from typing import Any

from strata.sender.source import reader
from strata.sender.source.reader import Reader
from support.packets import AAC, AUDIO, H264, TABLES, VIDEO, media, pat, pmt

KEY = media(key=True) + media() * 6
OTHER = media(begins=True) + media() * 6


class Feed:
    is_encoding = False
    has_overflown = False

    def __init__(self) -> None:
        self.waiting: list[bytes] = []

    def pull(self) -> list[bytes]:
        found, self.waiting = self.waiting, []
        return found


def begun(**how: Any) -> tuple[Reader, Feed, list[bool | None]]:
    told: list[bool | None] = []
    one, feed = Reader(how.get("is_paced", False), told.append), Feed()
    any_feed: Any = feed
    one.begin(any_feed)
    return one, feed, told


async def test_what_does_not_fill_a_datagram_waits_for_one_look() -> None:
    one, feed, _ = begun()
    feed.waiting = [media() * 9]
    assert [len(chunk.payload) // 188 for chunk in one.read(1.0)] == [7]
    assert [len(chunk.payload) // 188 for chunk in one.read(1.1)] == [2]
    assert one.read(1.2) == []
    assert (one.media_at, one.looked_at) == (1.0, 1.2)


async def test_a_stream_is_judged_once() -> None:
    one, feed, told = begun()
    feed.waiting = [TABLES + media() * 5] * 3
    one.read(1.0)
    one.read(1.1)
    assert told == [True]
    one, feed, told = begun()
    feed.waiting = [pat() + pmt((0x02, VIDEO), (AAC, AUDIO)) + media() * 5]
    one.read(1.0)
    assert told == [False]


async def test_noise_is_judged_too() -> None:
    one, feed, told = begun()
    for _ in range(3):
        feed.waiting = [b"noise" * (reader.KNOWN_BY_BYTES // 10)]
        assert one.read(1.0) == []
    assert told == [None]


async def test_after_an_overflow_it_goes_on_with_the_newest_key_frame() -> None:
    one, feed, _ = begun()
    feed.waiting = [pat() + pmt((H264, VIDEO)) + media() * 5]
    one.read(1.0)
    feed.has_overflown = True
    feed.waiting = [OTHER, KEY, OTHER, KEY, KEY, OTHER]
    assert [chunk.payload for chunk in one.read(1.1)] == [KEY, KEY, OTHER]
    assert one.dropped_groups == 1
    feed.waiting = [OTHER]
    assert [chunk.payload for chunk in one.read(1.2)] == [OTHER]
    feed.has_overflown = True
    feed.waiting = [OTHER]
    assert one.read(1.3) == []
    feed.waiting = [OTHER]
    assert one.read(1.4) == []
    feed.waiting = [KEY]
    assert [chunk.payload for chunk in one.read(1.5)] == [KEY]
    assert one.dropped_groups == 2


async def test_without_a_feed_there_is_nothing() -> None:
    one, _, _ = begun()
    one.end()
    assert one.read(1.0) == []
    await one.play_out()
