"""How a source is tried and tried again, with feeds that do as they are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from fractions import Fraction
from typing import Any

import pytest

from strata.errors import EncoderUnavailable, NotFound, SourceUnavailable, StrataError
from strata.sender.source import encoders, played
from strata.sender.source.choice import Shape
from strata.sender.source.encoders import Encoder
from strata.sender.source.pipeline import Failure
from strata.sender.source.played import Outcome, Played, Rebuild
from strata.sender.source.seam import SourceSettings
from strata.wire import agent as wire
from support.packets import AAC, AUDIO, H264, VIDEO, media, pat, pmt

SHAPE = Shape(640, 360, Fraction(25))
GONE = Failure("source", "it has gone", "plug it in")
SETTINGS = SourceSettings(
    begin_s=2.0, first_media_s=0.5, listen_s=0.5, silence_s=0.4, retry_for_s=0.6
)
TABLES = pat() + pmt((H264, VIDEO), (AAC, AUDIO))


class Feed:
    """One try."""

    has_overflown = False
    is_encoding = False
    encoder: Encoder | None = None

    def __init__(self, on_end: Callable[[Outcome], None]) -> None:
        self.on_end = on_end
        self.waiting: list[bytes] = []
        self.told: list[int] = []
        self.is_stopped = False
        self._on_media: Callable[[], None] = lambda: None

    async def start(self, on_media: Callable[[], None]) -> None:
        self._on_media = on_media

    def give(self, *data: bytes) -> None:
        self.waiting += data
        self._on_media()

    def pull(self) -> list[bytes]:
        found, self.waiting = self.waiting, []
        return found

    def set_bitrate(self, total_kbps: int) -> None:
        self.told.append(total_kbps)

    async def stop(self) -> None:
        self.is_stopped = True


class Known:
    """Encoders of a machine."""

    def __init__(self, problem: StrataError | None = None) -> None:
        self.problem = problem
        self.distrusted: list[Encoder] = []
        self.asked: list[Shape] = []

    def known(self, codec: str, shape: Shape) -> Encoder | None:
        return None

    def distrust(self, encoder: Encoder) -> None:
        self.distrusted.append(encoder)

    async def choose(self, asked: encoders.Asked) -> Encoder:
        self.asked.append(asked.shape)
        if self.problem is not None:
            raise self.problem
        return encoders.ENCODERS[0]


class Case:
    """A source whose feeds come one after the other."""

    def __init__(self, known: Known | None = None, **how: Any) -> None:
        self.feeds: list[Feed] = []
        self.known = known or Known()
        self.problems: list[StrataError] = []
        self.behave: Callable[[Feed], None] = lambda feed: feed.give(TABLES)
        self.is_made = asyncio.Event()
        one: Any = self.known
        self.source = Played("the camera", self._make, wire.Encoder(), one, SETTINGS, **how)

    async def _make(self, source: Played, on_end: Callable[[Outcome], None]) -> Any:
        if self.problems:
            raise self.problems.pop(0)
        feed = Feed(on_end)
        self.feeds.append(feed)
        asyncio.get_running_loop().call_later(0.01, self.behave, feed)
        self.is_made.set()
        return feed

    async def next_feed(self) -> Feed:
        self.is_made.clear()
        async with asyncio.timeout(5.0):
            await self.is_made.wait()
        return self.feeds[-1]

    async def read_on(self, seconds: float) -> bytes:
        loop, found = asyncio.get_running_loop(), b""
        until = loop.time() + seconds
        while loop.time() < until:
            found += b"".join(chunk.payload for chunk in self.source.read())
            await asyncio.sleep(0.01)
        return found


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(played, "LOOK_S", 0.02)
    monkeypatch.setattr(played, "RETRY_WAITS_S", (0.0, 0.05))


@pytest.fixture
async def case() -> AsyncIterator[Case]:
    one = Case()
    yield one
    await one.source.stop()


async def test_what_a_feed_gives_is_read(case: Case) -> None:
    await case.source.start()
    case.feeds[0].give(media() * 5)
    assert [chunk.payload for chunk in case.source.read()] == [TABLES + media() * 5]
    assert not case.source.is_encoding
    assert case.source.encoder_kbps is None
    case.source.set_bitrate(1234)
    assert case.feeds[0].told == [1234]
    await case.source.stop()
    assert case.feeds[0].is_stopped
    assert case.source.read() == []


async def test_what_fails_at_first_is_raised(case: Case) -> None:
    case.behave = lambda feed: feed.on_end(GONE)
    with pytest.raises(SourceUnavailable, match=r"^the camera: it has gone; plug it in$"):
        await case.source.start()
    assert len(case.feeds) == 1
    assert case.feeds[0].is_stopped


@pytest.mark.parametrize("problem", [NotFound("not there"), EncoderUnavailable("none works")])
async def test_it_is_raised_as_what_it_was(case: Case, problem: StrataError) -> None:
    case.problems.append(problem)
    with pytest.raises(type(problem), match=problem.message):
        await case.source.start()


async def test_one_that_says_nothing_has_begun_and_ends_later(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.behave = lambda feed: None
    with pytest.raises(SourceUnavailable, match="no media came for"):
        await case.source.start()
    slow = Case()
    slow.behave = lambda feed: None
    monkeypatch.setattr(slow.source, "_settings", SourceSettings(begin_s=0.1, first_media_s=0.4))
    await slow.source.start()
    end = await slow.source.ended()
    assert (end.reason, "no media came" in end.detail) == ("source", True)
    await slow.source.stop()


async def test_one_that_goes_away_is_opened_anew(case: Case) -> None:
    await case.source.start()
    for _ in range(3):
        case.feeds[-1].on_end(GONE)
        feed = await case.next_feed()
        assert await case.read_on(0.1)
    assert len(case.feeds) == 4
    assert all(each.is_stopped for each in case.feeds[:-1])
    assert not feed.is_stopped


async def test_one_that_falls_silent_is_opened_anew(case: Case) -> None:
    await case.source.start()
    await case.read_on(0.5)
    assert len(case.feeds) >= 2


async def test_one_that_nobody_reads_is_not_silent(case: Case) -> None:
    await case.source.start()
    await asyncio.sleep(0.6)
    assert len(case.feeds) == 1


async def test_one_that_stays_away_has_failed(case: Case) -> None:
    await case.source.start()
    case.behave = lambda feed: feed.on_end(GONE)
    case.feeds[-1].on_end(GONE)
    async with asyncio.timeout(5.0):
        end = await case.source.ended()
    assert end.reason == "source"
    assert end.detail.startswith("the camera: it has gone (no media for ")
    assert end.detail.endswith("plug it in")
    assert len(case.feeds) > 3


async def test_one_that_has_played_may_always_come_back(case: Case) -> None:
    await case.source.start()
    case.feeds[-1].on_end(Failure("source", "no picture", "another", is_final=True))
    await case.next_feed()
    assert await case.read_on(0.1)


async def test_an_encoder_that_fails_is_replaced(case: Case) -> None:
    await case.source.start()
    case.feeds[-1].on_end(GONE)
    feed = await case.next_feed()
    failed = Failure("encoder", "the chip hangs", "")
    case.source._encoder = encoders.ENCODERS[0]
    feed.on_end(failed)
    feed = await case.next_feed()
    assert case.known.distrusted == [encoders.ENCODERS[0]]
    case.problems.append(EncoderUnavailable("none is left"))
    feed.on_end(GONE)
    end = await case.source.ended()
    assert (end.reason, end.detail.partition(" (")[0]) == ("encoder", "none is left")


async def test_without_its_sound_a_picture_goes_on(case: Case) -> None:
    await case.source.start()
    case.feeds[-1].on_end(Failure("sound", "unplugged", ""))
    await case.next_feed()
    assert case.source.lacks_sound_device
    other = Case()
    other.behave = lambda feed: feed.on_end(Failure("sound", "no such device", "arecord -L"))
    with pytest.raises(SourceUnavailable, match="its sound device failed: no such device"):
        await other.source.start()


async def test_an_encoder_that_is_needed_is_tried_first(case: Case) -> None:
    rebuilt: list[Feed] = []

    def behave(feed: Feed) -> None:
        rebuilt.append(feed)
        if len(rebuilt) == 1:
            feed.on_end(Rebuild(SHAPE))
        else:
            feed.give(TABLES)

    case.behave = behave
    await case.source.start()
    assert case.known.asked == [SHAPE]
    assert len(case.feeds) == 2


async def test_where_no_encoder_is_found_it_ends() -> None:
    case = Case(Known(EncoderUnavailable("none works")))
    case.behave = lambda feed: feed.on_end(Rebuild(SHAPE))
    with pytest.raises(EncoderUnavailable, match="none works"):
        await case.source.start()


async def test_a_stream_of_other_codecs_is_made_anew(case: Case) -> None:
    case.behave = lambda feed: feed.give(pat() + pmt((0x02, VIDEO)))
    await case.source.start()
    case.behave = lambda feed: feed.give(TABLES)
    await case.read_on(0.1)
    assert case.source.recodes
    assert len(case.feeds) == 2


async def test_what_is_no_stream_ends_it(case: Case) -> None:
    await case.source.start()
    case.feeds[0].give(*[media() * 7] * 10)
    case.source.read()  # with its tables
    case.feeds[0].on_end(GONE)
    case.behave = lambda feed: feed.give(*[media() * 700] * 20)
    await case.next_feed()
    async with asyncio.timeout(5.0):
        await case.read_on(0.2)
        end = await case.source.ended()
    assert "no transport stream" in end.detail


async def test_who_listens_has_begun_at_once_and_waits() -> None:
    case = Case(listens=True)
    case.behave = lambda feed: None
    await case.source.start()
    case.feeds[0].on_end(GONE)
    await case.next_feed()
    async with asyncio.timeout(5.0):
        assert (await case.source.ended()).reason == "source"
    await case.source.stop()


async def test_who_cannot_listen_is_told_at_once() -> None:
    case = Case(listens=True)
    case.problems.append(SourceUnavailable("the port is taken"))
    with pytest.raises(SourceUnavailable, match="the port is taken"):
        await case.source.start()


def finishing(feed: Feed) -> None:
    feed.give(TABLES)
    feed.on_end(None)


async def test_a_file_ends_when_all_has_been_read() -> None:
    case = Case(is_paced=True)
    case.behave = finishing
    await case.source.start()
    assert await case.read_on(0.3) == TABLES
    assert (await case.source.ended()).reason == "eos"
    assert len(case.feeds) == 1
    await case.source.stop()


async def test_a_file_begins_again_where_it_is_looped() -> None:
    case = Case(is_paced=True, is_looped=True)
    case.behave = finishing
    await case.source.start()
    found = await case.read_on(0.5)
    assert len(found) >= 3 * len(TABLES)
    await case.source.stop()


async def test_a_file_without_media_is_not_looped() -> None:
    case = Case(is_paced=True, is_looped=True)
    case.behave = lambda feed: feed.on_end(None)
    with pytest.raises(SourceUnavailable, match="holds no media"):
        await case.source.start()
    assert len(case.feeds) == 1


async def test_a_fault_of_ours_ends_it(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(case.source, "_make", broken)
    with pytest.raises(SourceUnavailable, match="fault of Strata's own"):
        await case.source.start()
