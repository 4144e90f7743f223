from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import pytest

from strata.errors import CertificateRefused, DestinationError, DestinationRefused
from strata.wire import forward_url
from strata.wire.forward_url import ForwardUrl
from strata.worker import kinds
from strata.worker.formats import Program
from strata.worker.kinds import hls_push
from strata.worker.kinds.hls_push import INDEX, TARGET_S, TRIES_FOR_S, HlsPush, address_of
from strata.worker.playlist import Entry, Playlist
from support.virtual_time import Clock, in_virtual_time
from unit.worker.fakes import VIDEO

T = TypeVar("T")

KEY = "abcd-efgh-1234"
PROGRAM = Program(VIDEO, None)


class FakePutter:
    """A server that does what its test says."""

    made: ClassVar[list[FakePutter]] = []
    put_names: ClassVar[list[str]] = []
    answers: ClassVar[list[bool | Exception]] = []
    """In this order; afterwards everything is accepted."""

    def __init__(self, url: ForwardUrl, share_kbps: Callable[[], int]) -> None:
        self.share_kbps = share_kbps
        self.closed = False
        self.made.append(self)

    def put(self, url: str, data: bytes, content_type: str) -> bool:
        assert not self.closed
        self.put_names.append(url.rpartition("/")[2])
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(name: str, work: Callable[[], T], deadline_s: float) -> T:
        return work()

    for name in ("made", "put_names", "answers"):
        monkeypatch.setattr(FakePutter, name, [])
    monkeypatch.setattr(hls_push, "Putter", FakePutter)
    monkeypatch.setattr(hls_push, "in_thread", at_once)
    monkeypatch.setattr(hls_push, "time", Clock)


def output() -> HlsPush:
    url = forward_url.parse(f"https://media.example/live/{KEY}/")
    return HlsPush(url, PROGRAM, 0, lambda error: None)


def listed() -> tuple[Entry, Playlist]:
    """A playlist, and the one segment in it."""
    playlist = Playlist(2, 5, 100)
    return playlist.add(2.0, True), playlist


def test_it_is_what_http_urls_get() -> None:
    for scheme in ("http", "https"):
        assert kinds.of(forward_url.parse(f"{scheme}://host/live/")) is HlsPush
    assert (HlsPush.NETWORKED, HlsPush.RIGID) == (True, False)


@pytest.mark.parametrize(
    ("url", "index", "segment"),
    [
        ("https://host/live", "https://host/live/index.m3u8", "https://host/live/segment-1.ts"),
        ("https://host/live/", "https://host/live/index.m3u8", "https://host/live/segment-1.ts"),
        ("https://host", "https://host/index.m3u8", "https://host/segment-1.ts"),
        (
            "https://host/live/stream.m3u8",
            "https://host/live/stream.m3u8",
            "https://host/live/segment-1.ts",
        ),
        (
            "https://host/live/?token=abc",
            "https://host/live/index.m3u8?token=abc",
            "https://host/live/segment-1.ts?token=abc",
        ),
        (
            "https://host/live/stream.m3u8?token=abc",
            "https://host/live/stream.m3u8?token=abc",
            "https://host/live/segment-1.ts?token=abc",
        ),
        (
            "https://host/http_upload_hls?cid=abc&copy=0&file=",
            "https://host/http_upload_hls?cid=abc&copy=0&file=index.m3u8",
            "https://host/http_upload_hls?cid=abc&copy=0&file=segment-1.ts",
        ),
        (
            "http://user:word@host:8080/live",
            "http://user:word@host:8080/live/index.m3u8",
            "http://user:word@host:8080/live/segment-1.ts",
        ),
    ],
)
def test_where_each_file_goes(url: str, index: str, segment: str) -> None:
    assert address_of(url, INDEX) == index
    assert address_of(url, "segment-1.ts") == segment


@in_virtual_time
async def test_a_segment_is_uploaded_before_the_playlist_that_lists_it() -> None:
    made = output()
    began = made.pieces()
    assert (began.length_s, began.media_s) == (TARGET_S, 0.0)
    entry, playlist = listed()
    await made.deliver(b"media", entry, playlist)
    assert made.pieces().media_s == entry.duration_s
    assert made.pieces().taken_at > began.taken_at
    assert FakePutter.put_names == ["segment-100.ts", "index.m3u8"]
    assert made.bytes_out() == len(b"media") + len(playlist.render())
    assert made.idle() is None
    assert len(FakePutter.made) == 1
    await made.stop()
    assert FakePutter.made[0].closed


@in_virtual_time
async def test_the_share_of_the_moment_is_what_counts() -> None:
    made = output()
    await made.deliver(b"media", *listed())
    assert FakePutter.made[0].share_kbps() == 0
    made.set_share(3000)
    assert FakePutter.made[0].share_kbps() == 3000
    await made.stop()


@pytest.mark.parametrize("answers", [[False, True], [True, False], [False, False]])
@in_virtual_time
async def test_what_is_only_received_is_not_taken(answers: list[bool | Exception]) -> None:
    made = output()
    FakePutter.answers += answers
    await made.deliver(b"media", *listed())
    assert made.bytes_out() == 0
    assert "media.example answers 202" in (made.idle() or "")
    await made.deliver(b"media", *listed())
    assert made.bytes_out() > 0
    assert made.idle() is None
    await made.stop()


@in_virtual_time
async def test_an_upload_that_fails_is_tried_again_over_another_connection() -> None:
    made = output()
    FakePutter.answers += [DestinationError("broke off"), DestinationError("broke off"), True]
    began = asyncio.get_running_loop().time()
    await made.deliver(b"media", *listed())
    assert FakePutter.put_names == [*["segment-100.ts"] * 3, "index.m3u8"]
    assert [putter.closed for putter in FakePutter.made] == [True, True, False]
    assert asyncio.get_running_loop().time() - began == pytest.approx(1.5)
    assert made.bytes_out() > 0
    await made.stop()


@in_virtual_time
async def test_after_some_tries_it_is_given_up() -> None:
    made = output()
    FakePutter.answers += [DestinationRefused("check the key")] * 100
    began = asyncio.get_running_loop().time()
    with pytest.raises(DestinationRefused, match="check the key"):
        await made.deliver(b"media", *listed())
    took_s = asyncio.get_running_loop().time() - began
    assert TRIES_FOR_S <= took_s <= TRIES_FOR_S + 2.0
    assert made.bytes_out() == 0
    await made.stop()


@in_virtual_time
async def test_where_a_retry_cannot_help_it_is_given_up_at_once() -> None:
    made = output()
    FakePutter.answers += [CertificateRefused("cannot be trusted")]
    with pytest.raises(CertificateRefused):
        await made.deliver(b"media", *listed())
    assert len(FakePutter.put_names) == 1
    await made.stop()


@in_virtual_time
async def test_a_server_that_is_slower_than_the_stream_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def hang(name: str, work: Callable[[], Any], deadline_s: float) -> Any:
        await asyncio.sleep(deadline_s)
        raise TimeoutError

    monkeypatch.setattr(hls_push, "in_thread", hang)
    made = output()
    with pytest.raises(DestinationError, match="took longer than 15 s for 2 KiB") as caught:
        await made.deliver(bytes(2048), *listed())
    assert KEY not in caught.value.message
    assert all(putter.closed for putter in FakePutter.made)
    await made.stop()


@in_virtual_time
async def test_at_the_end_the_playlist_says_so() -> None:
    made = output()
    await made.close(Playlist(2, 5, 100))
    assert FakePutter.put_names == []
    await made.close(listed()[1])
    assert FakePutter.put_names == ["index.m3u8"]
    await made.stop()
