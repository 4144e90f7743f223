from __future__ import annotations

import asyncio
import os
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from strata.errors import BadUrl, DiskFull, StrataError
from strata.wire import forward_url
from strata.worker import kinds
from strata.worker.formats import Program, VideoFormat
from strata.worker.kinds import recording
from strata.worker.kinds.recording import (
    PIECE_BYTES,
    PIECE_S,
    MkvRecording,
    Mp4Recording,
    Recording,
    TsRecording,
    claim,
)
from strata.worker.output import Feed, Output
from strata.worker.ts_keys import Packets
from strata.worker.units import AccessUnit
from unit.worker.fakes import AUDIO, AVCC, KEY_FRAME, SILENCE, SPS, VIDEO, picture, sound

DEADLINE_S = 10.0
PROGRAM = Program(None, None)
WHOLE = Program(VIDEO, AUDIO)
TABLES = b"\x47\x40\x00\x10" + bytes(184)


class Ends:
    """Keeps what an output says at its end."""

    def __init__(self) -> None:
        self.told: list[StrataError | None] = []
        self.event = asyncio.Event()

    def __call__(self, error: StrataError | None) -> None:
        self.told.append(error)
        self.event.set()

    async def wait(self) -> None:
        await asyncio.wait_for(self.event.wait(), DEADLINE_S)


def output(
    path: Path, options: str = "", ends: Callable[[StrataError | None], None] = lambda error: None
) -> TsRecording:
    return TsRecording(forward_url.parse(f"file://{path}{options}"), PROGRAM, 0, ends)


def claimed(path: Path) -> Path:
    descriptor, name = claim(path)
    os.close(descriptor)
    return name


def packet(pid: int, mark: bytes, *, starts: bool = False) -> bytes:
    """A packet of the stream; one that starts begins a picture."""
    head = bytes((0x47, (0x40 if starts else 0) | pid >> 8, pid & 0xFF, 0x10))
    return head + ((b"\0\0\1\xe0" if starts else b"") + mark).ljust(184, b"\xff")


def key(mark: bytes) -> Packets:
    return Packets(packet(0x100, mark, starts=True), True, TABLES, 0x100)


@pytest.mark.parametrize(
    ("ending", "kind", "feed"),
    [
        (".ts", TsRecording, "packets"),
        (".mkv", MkvRecording, "units"),
        (".mp4", Mp4Recording, "units"),
    ],
)
def test_the_container_is_what_the_name_says(ending: str, kind: type[Output], feed: Feed) -> None:
    found = kinds.of(forward_url.parse(f"file:///media/name{ending}"))
    assert found is kind
    assert feed == found.FEED
    assert not found.NETWORKED


def test_a_name_is_claimed_with_an_empty_file_that_can_be_written(tmp_path: Path) -> None:
    descriptor, path = claim(tmp_path / "new" / "folder" / "name.ts")
    assert path == tmp_path / "new" / "folder" / "name.ts"
    assert path.stat().st_size == 0
    assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0
    assert not os.get_inheritable(descriptor)
    os.write(descriptor, b"media")
    os.close(descriptor)
    assert path.read_bytes() == b"media"


def test_a_name_that_exists_gets_a_number(tmp_path: Path) -> None:
    first = tmp_path / "name.ts"
    first.write_text("precious")
    assert claimed(first).name == "name-1.ts"
    assert claimed(first).name == "name-2.ts"
    assert first.read_text() == "precious"


def test_a_link_to_nowhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "name.ts").symlink_to(tmp_path / "elsewhere.ts")
    assert claimed(tmp_path / "name.ts").name == "name-1.ts"
    assert not (tmp_path / "elsewhere.ts").exists()


def test_numbers_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "NAMES_MAX", 2)
    for _ in range(2):
        claimed(tmp_path / "name.ts")
    with pytest.raises(BadUrl, match="exists 2 times already"):
        claim(tmp_path / "name.ts")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadUrl, match=r"cannot record to .*name\.ts: Not a directory; choose"):
        claim(tmp_path / "file" / "folder" / "name.ts")


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(BadUrl, match="File name too long"):
        claim(tmp_path / ("x" * 300 + ".ts"))


def test_a_folder_is_made_before_any_media(tmp_path: Path) -> None:
    Recording.prepare(forward_url.parse(f"file://{tmp_path}/%Y/new/name.ts"))
    assert (tmp_path / time.strftime("%Y") / "new").is_dir()


def test_a_folder_that_cannot_be_made_is_told_before_any_media(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadUrl, match=r"cannot record to .*choose a folder"):
        Recording.prepare(forward_url.parse(f"file://{tmp_path}/file/name.ts"))


def test_a_folder_of_somebody_else_is_told_before_any_media(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda folder, mode: False)
    with pytest.raises(BadUrl, match="Permission denied"):
        Recording.prepare(forward_url.parse(f"file://{tmp_path}/name.ts"))


def test_a_full_disk_is_called_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(DiskFull, match=r"the disk is full, so the recording .*name\.ts has ended"):
        claim(tmp_path / "name.ts")


async def test_nothing_is_made_before_there_is_media(tmp_path: Path) -> None:
    ends = Ends()
    made = output(tmp_path / "name.ts", ends=ends)
    await made.start()
    made.push_packets(Packets(packet(0x100, b"before the first key frame")))
    assert made.bytes_out() == 0
    made.end()
    await ends.wait()
    await made.stop()
    assert ends.told == [None]
    assert list(tmp_path.iterdir()) == []


async def test_a_recording_holds_the_packets_as_they_came(tmp_path: Path) -> None:
    ends = Ends()
    made = output(tmp_path / "%Y" / "name.ts", ends=ends)
    await made.start()
    sound = Packets(packet(0x101, b"sound"), video_pid=0x100)
    for packets in (sound, key(b"one"), sound, key(b"two"), sound, key(b"three")):
        made.push_packets(packets)
    made.end()
    await ends.wait()
    assert ends.told == [None]
    path = tmp_path / time.strftime("%Y") / "name.ts"
    # The tables once, at the beginning; the newest picture may not be whole.
    wanted = TABLES + key(b"one").data + sound.data + key(b"two").data + sound.data
    assert path.read_bytes() == wanted
    assert made.bytes_out() == len(wanted)
    await made.stop()
    assert made.bytes_out() == len(wanted)
    assert made.dropped == 0


async def test_a_part_begins_with_the_tables_and_a_key_frame(tmp_path: Path) -> None:
    ends = Ends()
    made = output(tmp_path / "name.ts", "?segment-s=10", ends)
    await made.start()
    for mark in (b"one", b"two"):
        made.push_packets(key(mark))
    assert not made.is_due()
    assert made._part is not None
    made._part.began_at -= 10.0
    assert made.is_due()
    made.push_packets(Packets(packet(0x101, b"sound")))
    for mark in (b"three", b"four"):
        made.push_packets(key(mark))
    made.end()
    await ends.wait()
    await made.stop()
    one, two = (tmp_path / name for name in ("name.ts", "name-1.ts"))
    sound = packet(0x101, b"sound")
    assert {one.read_bytes(), two.read_bytes()} == {
        TABLES + key(b"one").data + key(b"two").data + sound,
        TABLES + key(b"three").data,
    }
    assert made.bytes_out() == one.stat().st_size + two.stat().st_size


async def test_a_file_that_cannot_be_made_ends_it(tmp_path: Path) -> None:
    ends = Ends()
    (tmp_path / "file").write_text("")
    made = output(tmp_path / "file" / "name.ts", ends=ends)
    await made.start()
    made.push_packets(key(b"one"))
    await ends.wait()
    [error] = ends.told
    assert isinstance(error, BadUrl)
    await made.stop()


async def test_a_disk_that_does_not_keep_up_costs_packets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = output(tmp_path / "name.ts")
    await made.start()
    made.push_packets(key(b"one"))
    monkeypatch.setattr(made, "has_room", lambda feeder: False)
    many = PIECE_BYTES // 188 + 1
    made.push_packets(Packets(key(b"two").data * many, True, TABLES, 0x100))
    assert made.dropped == 1
    await made.stop()


async def test_little_goes_to_the_disk_at_once_and_not_much_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(recording.time, "monotonic", lambda: now)
    made = output(tmp_path / "name.ts")
    written: list[bytes] = []
    made.push_packets(key(b"one"))
    assert made._part is not None
    monkeypatch.setattr(made._part, "push_bytes", written.append)
    made.push_packets(key(b"two"))
    assert not written
    now += PIECE_S
    made.push_packets(key(b"three"))
    assert len(written) == 1
    await made.stop()


@pytest.mark.parametrize("kind", [MkvRecording, Mp4Recording])
async def test_units_wait_for_the_first_key_frame(tmp_path: Path, kind: type[Recording]) -> None:
    made = muxed(kind, tmp_path)
    await made.start()
    made.push(sound(0))
    made.push(picture(1))
    assert made._part is None
    assert made.dropped == 0
    made.push(picture(3))
    assert made._part is not None
    await made.stop()


def muxed(
    kind: type[Recording],
    folder: Path,
    options: str = "",
    ends: Callable[[StrataError | None], None] = lambda error: None,
    program: Program = WHOLE,
) -> Recording:
    url = forward_url.parse(f"file://{folder}/name.mkv{options}")
    return kind(url, program, 0, ends)


@pytest.mark.parametrize(
    ("kind", "head"), [(MkvRecording, b"\x1a\x45\xdf\xa3"), (Mp4Recording, b"\0\0\0")]
)
async def test_units_are_recorded_from_the_first_key_frame(
    tmp_path: Path, kind: type[Recording], head: bytes
) -> None:
    ends = Ends()
    made = muxed(kind, tmp_path, ends=ends)
    await made.start()
    for number in range(1, 9):
        made.push(picture(number))
        made.push(sound(number))
    made.end()
    await ends.wait()
    assert ends.told == [None]
    await made.stop()
    [path] = tmp_path.iterdir()
    data = path.read_bytes()
    assert data.startswith(head)
    assert data.count(KEY_FRAME) == 2
    assert data.count(SILENCE) == 6
    assert made.bytes_out() == sum(picture(n).size for n in range(3, 9)) + 6 * len(SILENCE)


@pytest.mark.parametrize("kind", [MkvRecording, Mp4Recording])
async def test_the_parts_of_a_recording_hold_all_of_it(
    tmp_path: Path, kind: type[Recording]
) -> None:
    ends = Ends()
    made = muxed(kind, tmp_path, "?segment-s=10", ends)
    await made.start()
    for number in range(9):
        if number == 4:
            assert made._part is not None
            made._part.began_at -= 10.0
        made.push(picture(number))
        made.push(sound(number))
    made.end()
    await ends.wait()
    await made.stop()
    found = [path.read_bytes() for path in tmp_path.iterdir()]
    assert sorted(data.count(KEY_FRAME) for data in found) == [1, 2]
    assert sum(data.count(SILENCE) for data in found) == 9
    assert made.bytes_out() == sum(picture(n).size for n in range(9)) + 9 * len(SILENCE)


async def recorded(
    kind: type[Recording], folder: Path, *units: AccessUnit, program: Program = WHOLE
) -> list[bytes]:
    """The files of a recording of these units, in any order."""
    ends = Ends()
    made = muxed(kind, folder, ends=ends, program=program)
    await made.start()
    for unit in units:
        made.push(unit)
    made.end()
    await ends.wait()
    assert ends.told == [None]
    await made.stop()
    return [path.read_bytes() for path in folder.iterdir()]


@pytest.mark.parametrize("kind", [MkvRecording, Mp4Recording])
@pytest.mark.parametrize(
    "changed",
    [replace(VIDEO, width=32, height=32, caps=VIDEO.caps.replace("16", "32"))],
    ids=["a larger picture"],
)
async def test_pictures_that_do_not_fit_begin_another_file(
    tmp_path: Path, kind: type[Recording], changed: VideoFormat
) -> None:
    before = [each(number) for number in range(3) for each in (picture, sound)]
    after = [replace(picture(number), format=changed) for number in range(3, 6)]
    files = await recorded(kind, tmp_path, *before, *after)
    assert [data.count(KEY_FRAME) for data in files] == [1, 1]
    assert sum(data.count(SILENCE) for data in files) == 3


@pytest.mark.parametrize("kind", [MkvRecording, Mp4Recording])
async def test_pictures_of_the_same_size_carry_their_own_parameter_sets(
    tmp_path: Path, kind: type[Recording]
) -> None:
    other_sps = SPS[:-1] + b"\x6b"
    other = replace(VIDEO, config=AVCC.replace(SPS, other_sps))
    changed = [replace(picture(number), format=other) for number in range(3, 6)]
    files = await recorded(
        kind, tmp_path, *map(picture, range(3)), *changed, *map(picture, range(6, 9))
    )
    [data] = files
    assert data.count(KEY_FRAME) == 3
    assert data.count(len(other_sps).to_bytes(4, "big") + other_sps) == 1
    # After that those of the beginning are not taken for granted any more.
    assert data.count(len(SPS).to_bytes(4, "big") + SPS) == 1


@pytest.mark.parametrize("kind", [MkvRecording, Mp4Recording])
async def test_other_sound_waits_for_the_next_key_frame_and_another_file(
    tmp_path: Path, kind: type[Recording]
) -> None:
    mono = replace(
        AUDIO,
        config=b"\x11\x88",
        channels=1,
        caps=AUDIO.caps.replace("1190", "1188").replace("channels=2", "channels=1"),
    )
    others = [replace(sound(number), format=mono) for number in range(2, 6)]
    units = [picture(0), sound(0), picture(1), sound(1), picture(2), *others[:1], picture(3)]
    files = await recorded(kind, tmp_path, *units, *others[1:])
    assert [data.count(KEY_FRAME) for data in files] == [1, 1]
    assert sorted(data.count(SILENCE) for data in files) == [2, 3]


@pytest.mark.parametrize("kind", [MkvRecording, Mp4Recording])
async def test_what_was_not_announced_is_not_recorded(
    tmp_path: Path, kind: type[Recording]
) -> None:
    units = [each(number) for number in range(3) for each in (sound, picture)]
    [video] = await recorded(kind, tmp_path, *units, program=Program(VIDEO, None))
    assert (video.count(KEY_FRAME), video.count(SILENCE)) == (1, 0)


@pytest.mark.parametrize("kind", [MkvRecording, Mp4Recording])
async def test_sound_alone_is_recorded_at_once(tmp_path: Path, kind: type[Recording]) -> None:
    [audio] = await recorded(
        kind, tmp_path, *map(sound, range(3)), picture(0), program=Program(None, AUDIO)
    )
    assert (audio.count(KEY_FRAME), audio.count(SILENCE)) == (0, 3)


async def test_parameter_sets_that_cannot_be_read_are_left_as_they_are(tmp_path: Path) -> None:
    odd = replace(VIDEO, config=AVCC[:-1])
    changed = [replace(picture(number), format=odd) for number in range(3, 6)]
    [data] = await recorded(MkvRecording, tmp_path, *map(picture, range(3)), *changed)
    assert data.count(KEY_FRAME) == 2


async def test_a_stop_while_a_file_is_made_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, opened = threading.Event(), threading.Event()
    descriptors: list[int] = []

    def slow(path: Path) -> tuple[int, Path]:
        release.wait(DEADLINE_S)
        found = claim(path)
        descriptors.append(found[0])
        opened.set()
        return found

    monkeypatch.setattr(recording, "claim", slow)
    made = output(tmp_path / "name.ts")
    await made.start()
    made.push_packets(key(b"one"))
    await asyncio.sleep(0)
    await made.stop()
    release.set()
    assert await asyncio.to_thread(opened.wait, DEADLINE_S)
    await asyncio.sleep(0.05)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptors[0])


def test_an_error_says_what_to_check(tmp_path: Path) -> None:
    error = output(tmp_path / "name.ts").explain("Could not write", "details")
    assert os.fspath(tmp_path / "name.ts") in error.message
    assert "Could not write; check the disk" in error.message
    assert error.can_retry


def test_a_disk_that_is_full_is_told_from_other_errors(tmp_path: Path) -> None:
    error = output(tmp_path / "name.ts").explain(
        "Error while writing to file descriptor 7: No space left on device.", ""
    )
    assert isinstance(error, DiskFull)
    assert "make room, then set the forward again" in error.message
    assert not error.can_retry
