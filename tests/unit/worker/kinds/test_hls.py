from __future__ import annotations

import asyncio
import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from strata.errors import BadUrl, DestinationError, DiskFull, StrataError
from strata.wire import forward_url
from strata.wire.forward_url import ForwardUrl
from strata.worker import kinds, segmented, ts_mux
from strata.worker.formats import Program
from strata.worker.kinds.hls import INDEX, Hls, _remove_before, _resume, _write
from strata.worker.playlist import Playlist
from strata.worker.segmented import OUTSTANDING_MAX
from strata.worker.units import AccessUnit
from unit.worker import fakes
from unit.worker.fakes import VIDEO

PROGRAM = Program(VIDEO, None)
SECOND_NS = fakes.SECOND_NS
DEADLINE_S = 10.0


class Muxer:
    """Makes a file of the stamps."""

    def __init__(self, program: Program) -> None:
        pass

    def mux(self, units: list[AccessUnit]) -> bytes:
        return b" ".join(b"%d" % (unit.dts_ns // SECOND_NS) for unit in units)


class Ends:
    """Keeps what an output says at its end."""

    def __init__(self) -> None:
        self.told: list[StrataError | None] = []
        self.event = asyncio.Event()

    def __call__(self, error: StrataError | None) -> None:
        self.told.append(error)
        self.event.set()


@pytest.fixture(autouse=True)
def _muxer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ts_mux, "TsMuxer", Muxer)


def to(folder: Path) -> ForwardUrl:
    return forward_url.parse(f"hls://{folder}?target-duration=2&playlist-length=3")


def output(folder: Path, ends: Ends | None = None) -> Hls:
    return Hls(to(folder), PROGRAM, 0, ends or Ends())


def unit(at_s: float) -> AccessUnit:
    """A key frame."""
    return fakes.unit(VIDEO, at_ns=round(at_s * SECOND_NS))


def playlist(first: int, count: int, *, is_over: bool = False) -> str:
    found = Playlist(2, 3, first, is_over=is_over)
    for _ in range(count):
        found.add(2.0, True)
    return found.render()


def numbers(folder: Path) -> list[int]:
    return sorted(int(path.stem.partition("-")[2]) for path in folder.glob("segment-*.ts"))


async def ran(folder: Path, seconds: int) -> Hls:
    """An output that was given a key frame for each second, and has ended."""
    ends = Ends()
    made = output(folder, ends)
    for at_s in range(seconds):
        made.push(unit(at_s))
    await made.start()
    made.end()
    await asyncio.wait_for(ends.event.wait(), DEADLINE_S)
    await made.stop()
    assert ends.told == [None]
    return made


def test_it_is_what_hls_urls_get() -> None:
    assert kinds.of(forward_url.parse("hls:///media/live")) is Hls
    assert not Hls.NETWORKED


def test_a_folder_is_made_before_any_media(tmp_path: Path) -> None:
    Hls.prepare(to(tmp_path / "new" / "live"))
    assert (tmp_path / "new" / "live").is_dir()


def test_a_folder_that_cannot_be_made_is_told_before_any_media(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadUrl, match=r"cannot write a playlist to .*: Not a directory; choose"):
        Hls.prepare(to(tmp_path / "file" / "live"))


def test_a_folder_of_somebody_else_is_told_before_any_media(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda folder, mode: False)
    with pytest.raises(BadUrl, match="Permission denied"):
        Hls.prepare(to(tmp_path))


def test_a_file_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, INDEX, b"one")
    _write(tmp_path, INDEX, b"two")
    assert (tmp_path / INDEX).read_bytes() == b"two"

    def full(self: Path, data: bytes) -> None:
        with open(self, "wb") as file:
            file.write(data[:1])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        _write(tmp_path, INDEX, b"three")
    assert (tmp_path / INDEX).read_bytes() == b"two"
    assert os.listdir(tmp_path) == [INDEX]


def test_only_older_segments_are_removed(tmp_path: Path) -> None:
    others = ("notes.txt", "segment-1.ts.bak", "segment-x.ts", "index.m3u8")
    for name in (*others, *(f"segment-{number}.ts" for number in (1, 9, 10, 11))):
        (tmp_path / name).write_text("")
    _remove_before(tmp_path, 10)
    assert {path.name for path in tmp_path.iterdir()} == {*others, "segment-10.ts", "segment-11.ts"}


def test_where_there_is_nothing_nothing_is_resumed(tmp_path: Path) -> None:
    assert _resume(to(tmp_path / "new")) is None
    assert (tmp_path / "new").is_dir()


def test_a_playlist_that_is_none_of_ours_is_not_resumed(tmp_path: Path) -> None:
    (tmp_path / INDEX).write_bytes(b"\xff\xfe notes")
    assert _resume(to(tmp_path)) is None


def test_an_earlier_playlist_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / INDEX).write_text(playlist(10, 3, is_over=True))
    for number in range(8, 13):
        (tmp_path / f"segment-{number}.ts").write_text("")
    found = _resume(to(tmp_path))
    assert found is not None
    assert [entry.sequence for entry in found.entries] == [10, 11, 12]
    assert (found.next_sequence, found.is_over) == (13, False)
    assert numbers(tmp_path) == [10, 11, 12]


def test_a_number_is_never_used_again(tmp_path: Path) -> None:
    (tmp_path / INDEX).write_text(playlist(10, 3))
    (tmp_path / "segment-13.ts").write_text("")
    found = _resume(to(tmp_path))
    assert found is not None
    assert (found.entries, found.next_sequence) == ([], 14)


@pytest.mark.parametrize(
    ("number", "kind", "says"),
    [
        (errno.ENOSPC, DiskFull, "the disk is full, so the playlist in .* has stopped"),
        (errno.EROFS, DestinationError, "cannot write to .*: Read-only file system"),
    ],
)
async def test_what_the_disk_says_in_the_words_of_an_operator(
    tmp_path: Path, number: int, kind: type[DestinationError], says: str
) -> None:
    def fail() -> None:
        raise OSError(number, os.strerror(number))

    with pytest.raises(kind, match=says) as caught:
        await output(tmp_path)._on_disk(fail)
    assert type(caught.value) is kind


async def test_a_disk_that_hangs_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(name: str, work: Any, deadline_s: float) -> None:
        raise TimeoutError

    monkeypatch.setattr("strata.worker.kinds.hls.in_thread", hang)
    with pytest.raises(DestinationError, match="the disk does not answer"):
        await output(tmp_path)._on_disk(lambda: None)


async def test_segments_and_the_playlist_that_lists_them(tmp_path: Path) -> None:
    made = await ran(tmp_path, 8)
    first, *_, last = found = numbers(tmp_path)
    assert found == list(range(first, first + 5))
    files = [(tmp_path / f"segment-{number}.ts").read_bytes() for number in found]
    assert files == [b"0", b"1 2", b"3 4", b"5 6", b"7"]
    assert (tmp_path / INDEX).read_text().splitlines() == [
        *("#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:2"),
        f"#EXT-X-MEDIA-SEQUENCE:{first + 2}",
        *("#EXTINF:2.000,", f"segment-{first + 2}.ts", "#EXTINF:2.000,", f"segment-{first + 3}.ts"),
        *("#EXTINF:0.000,", f"segment-{last}.ts", "#EXT-X-ENDLIST"),
    ]
    assert made.bytes_out() == sum(map(len, files))
    assert made.dropped == 0
    # The first is as short as can be, and of the last one only the first picture is there.
    assert (made.pieces().length_s, made.pieces().media_s) == (2.0, 7.0)


async def test_what_has_left_the_list_stays_for_as_long_as_a_list_is(tmp_path: Path) -> None:
    await ran(tmp_path, 8)
    await ran(tmp_path, 8)
    found = numbers(tmp_path)
    assert len(found) == 6
    listed = [line for line in (tmp_path / INDEX).read_text().splitlines() if "segment" in line]
    assert listed == [f"segment-{number}.ts" for number in found[-3:]]


async def test_a_broadcast_that_is_not_over_leaves_its_playlist_open(tmp_path: Path) -> None:
    ends = Ends()
    made = output(tmp_path, ends)
    for at_s in range(3):
        made.push(unit(at_s))
    await made.start()
    made.end(is_over=False)
    await asyncio.wait_for(ends.event.wait(), DEADLINE_S)
    await made.stop()
    assert ends.told == [None]
    text = (tmp_path / INDEX).read_text()
    assert f"segment-{numbers(tmp_path)[-1]}.ts" in text
    assert "#EXT-X-ENDLIST" not in text


async def test_pictures_of_another_encoder_begin_after_a_discontinuity(tmp_path: Path) -> None:
    ends = Ends()
    made = output(tmp_path, ends)
    others = (replace(unit(at_s), format=replace(VIDEO, width=32)) for at_s in (2, 3))
    for each in (unit(0), unit(1), *others):
        made.push(each)
    await made.start()
    made.end()
    await asyncio.wait_for(ends.event.wait(), DEADLINE_S)
    await made.stop()
    files = [(tmp_path / f"segment-{number}.ts").read_bytes() for number in numbers(tmp_path)]
    assert files == [b"0", b"1", b"2 3"]
    text = (tmp_path / INDEX).read_text()
    assert text.count("#EXT-X-DISCONTINUITY\n") == 1
    assert text.index("#EXT-X-DISCONTINUITY\n") > text.index(f"segment-{numbers(tmp_path)[1]}.ts")


async def test_the_next_run_goes_on_after_a_discontinuity(tmp_path: Path) -> None:
    await ran(tmp_path, 3)
    before = numbers(tmp_path)
    await ran(tmp_path, 1)
    text = (tmp_path / INDEX).read_text()
    new = before[-1] + 1
    assert f"#EXT-X-DISCONTINUITY\n#EXTINF:0.000,\nsegment-{new}.ts\n" in text
    assert text.count("#EXT-X-DISCONTINUITY\n") == 1
    assert f"#EXT-X-MEDIA-SEQUENCE:{before[0]}\n" in text


async def test_the_run_after_one_that_was_killed_begins_with_a_discontinuity(
    tmp_path: Path,
) -> None:
    (tmp_path / INDEX).write_text(playlist(10, 3))
    (tmp_path / "segment-13.ts").write_text("")
    await ran(tmp_path, 1)
    text = (tmp_path / INDEX).read_text()
    assert "#EXT-X-MEDIA-SEQUENCE:14\n" in text
    assert "#EXT-X-DISCONTINUITY\n#EXTINF:0.000,\nsegment-14.ts\n" in text


async def test_where_too_much_waits_the_oldest_is_left_out_and_players_are_told(
    tmp_path: Path,
) -> None:
    made = await ran(tmp_path, 2 * OUTSTANDING_MAX)
    assert made.dropped == 1
    files = [(tmp_path / f"segment-{number}.ts").read_bytes() for number in numbers(tmp_path)]
    assert files[0] == b"1 2"
    assert len(files) == OUTSTANDING_MAX


async def test_what_waits_is_bounded_in_bytes_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segmented, "OUTSTANDING_BYTES_MAX", 4000)
    made = await ran(tmp_path, 8)
    assert made.dropped == 5
    files = [(tmp_path / f"segment-{number}.ts").read_bytes() for number in numbers(tmp_path)]
    assert files == [b"5 6", b"7"]


async def test_a_gap_in_the_middle_is_marked(tmp_path: Path) -> None:
    ends = Ends()
    made = output(tmp_path, ends)
    await made.start()
    made.push(unit(0))
    made.push(unit(1))
    async with asyncio.timeout(DEADLINE_S):
        while not made.bytes_out():
            await asyncio.sleep(0.01)
    for at_s in range(2, 2 + 2 * OUTSTANDING_MAX):
        made.push(unit(at_s))
    made.end()
    await asyncio.wait_for(ends.event.wait(), DEADLINE_S)
    await made.stop()
    assert made.dropped == 2
    assert "#EXT-X-DISCONTINUITY-SEQUENCE:1\n" in (tmp_path / INDEX).read_text()


async def test_without_media_there_is_no_playlist(tmp_path: Path) -> None:
    await ran(tmp_path, 0)
    assert list(tmp_path.iterdir()) == []


async def test_a_segment_that_cannot_be_made_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Muxer, units: list[AccessUnit]) -> bytes:
        raise StrataError("a segment could not be made: it broke")

    monkeypatch.setattr(Muxer, "mux", fail)
    ends = Ends()
    made = output(tmp_path, ends)
    await made.start()
    made.push(unit(0))
    made.end()
    await asyncio.wait_for(ends.event.wait(), DEADLINE_S)
    assert [str(error) for error in ends.told] == ["a segment could not be made: it broke"]
    await made.stop()
    assert len(ends.told) == 1


async def test_what_nobody_foresaw_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Muxer, units: list[AccessUnit]) -> bytes:
        raise ZeroDivisionError

    monkeypatch.setattr(Muxer, "mux", fail)
    ends = Ends()
    made = output(tmp_path, ends)
    await made.start()
    made.push(unit(0))
    made.end()
    await asyncio.wait_for(ends.event.wait(), DEADLINE_S)
    [error] = ends.told
    assert error is not None
    assert error.code == "internal"
    assert "ZeroDivisionError" in error.message
    await made.stop()
