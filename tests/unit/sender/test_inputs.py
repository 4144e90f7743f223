from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from strata.errors import BadArguments, NotFound
from strata.sender import inputs as module
from strata.sender.inputs import Inputs, capabilities, files, is_camera, resolve, resolve_file
from strata.sender.settings import Source as Named
from strata.wire import agent as wire

CAMERA, METADATA, ENCODER, RADIO = 0x04200001, 0x04A00000, 0x04208000, 0x00050000
FRONT = Named(name="front", uri=SecretStr("rtsp://user:canary@192.0.2.20/1"))


class Devices:
    """A /sys/class/video4linux of one's own, and what each can do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.can: dict[str, int | None] = {}
        self.asked: list[str] = []

    def add(self, node: str, name: str, can: int | None) -> None:
        (self.folder / node).mkdir()
        (self.folder / node / "name").write_text(f"{name}\n")
        (self.folder / node / "dev").write_text(f"81:{len(self.can)}\n")
        self.can[node] = can

    def capabilities(self, device: Path) -> int | None:
        self.asked.append(device.name)
        return self.can[device.name]


@pytest.fixture
def devices(tmp_path: Path) -> Devices:
    folder = tmp_path / "video4linux"
    folder.mkdir()
    return Devices(folder)


def inputs(devices: Devices, *folders: Path, sources: tuple[Named, ...] = ()) -> Inputs:
    return Inputs(folders, sources, devices.folder, devices.capabilities)


@pytest.mark.parametrize(
    ("can", "is_one"),
    [
        *((CAMERA, True), (0x1000, True), (METADATA, False), (ENCODER, False), (RADIO, False)),
        *((0x5000, False), (0x3, False), (None, False)),
    ],
)
def test_what_gives_pictures(can: int | None, is_one: bool) -> None:
    assert is_camera(can) is is_one


async def test_cameras_are_asked_once_for_as_long_as_they_stay(devices: Devices) -> None:
    devices.add("video10", "HDMI", CAMERA)
    devices.add("video0", "Webcam: a\x1f name " + 60 * "é", CAMERA)
    devices.add("video1", "Webcam", METADATA)
    devices.add("video9", "encoder", ENCODER)
    (devices.folder / "v4l-subdev0").mkdir()
    found = inputs(devices)
    wanted = [
        wire.MediaInput("v4l2", "/dev/video0", ("Webcam: a name " + 60 * "é")[:64]),
        wire.MediaInput("v4l2", "/dev/video10", "HDMI"),
    ]
    assert await found.look() == wanted
    assert await found.look() == wanted
    assert sorted(devices.asked) == ["video0", "video1", "video10", "video9"]
    for file in ("name", "dev"):
        (devices.folder / "video0" / file).unlink()
    (devices.folder / "video0").rmdir()
    assert await found.look() == wanted[1:]
    devices.add("video0", "Other", CAMERA)
    assert (await found.look())[0].name == "Other"
    assert devices.asked[-1] == "video0"


async def test_files_and_named_sources_are_offered_without_passwords(
    devices: Devices, tmp_path: Path
) -> None:
    folder = tmp_path / "media"
    folder.mkdir()
    for name in ("b.mp4", "a.TS", "notes.txt", "line\nbreak.ts", "x" * 200 + ".ts"):
        (folder / name).touch()
    (folder / os.fsdecode(b"\xff.ts")).touch()
    (folder / "folder.ts").mkdir()
    found = await inputs(devices, tmp_path / "unplugged", folder, sources=(FRONT,)).look()
    assert [(each.mode, each.device, each.name) for each in found] == [
        ("uri", "source://front", "front"),
        ("file", str(folder / "a.TS"), "a.TS"),
        ("file", str(folder / "b.mp4"), "b.mp4"),
        ("file", str(folder / ("x" * 200 + ".ts")), "x" * 64),
    ]
    assert "canary" not in repr(found)


async def test_a_disk_full_of_films_fits_a_message(devices: Devices, tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / f"{number:03}.ts").touch()
    found = await inputs(devices, tmp_path).look()
    assert len(found) == module.INPUTS_MAX
    long = tmp_path / "long"
    for _ in range(4):
        long = long / ("y" * 200)
    long.mkdir(parents=True)
    for number in range(64):
        (long / f"{number:02}.ts").touch()
    found = await inputs(devices, long).look()
    assert 0 < len(found) < 64
    status = wire.Status(media_inputs=found)
    from datetime import UTC, datetime

    assert wire.decode_from_agent(wire.encode(wire.frame("1", status), datetime.now(UTC)))


def test_a_folder_is_not_read_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENTRIES_MAX", 3)
    for number in range(10):
        (tmp_path / f"{number}.ts").touch()
    assert len(files(tmp_path)) == 3


async def test_what_hangs_is_looked_at_by_one_only(
    devices: Devices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_DEADLINE_S", 0.05)
    devices.add("video0", "Webcam", CAMERA)
    found = inputs(devices)
    before = await found.look()
    assert len(before) == 1
    ends, hanging = threading.Event(), threading.Semaphore(0)

    def hang(device: Path) -> int | None:
        hanging.release()
        ends.wait(10.0)
        return CAMERA

    found._capabilities = hang
    devices.add("video1", "Broken", CAMERA)
    try:
        for _ in range(3):
            assert await found.look() == before
        assert hanging.acquire(timeout=5.0)
        assert not hanging.acquire(blocking=False)
    finally:
        ends.set()


def test_what_is_no_device_says_nothing(tmp_path: Path) -> None:
    assert capabilities(tmp_path / "none") is None
    (tmp_path / "file").touch()
    assert capabilities(tmp_path / "file") is None


def test_what_a_device_says(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(descriptor: int, request: int, data: bytes) -> bytes:
        assert (request, len(data)) == (module.QUERYCAP, request >> 16 & 0x3FFF)
        return module._capability.pack(b"uvc", b"cam", b"usb", 6, 0x84A00001, CAMERA, 0, 0, 0)

    monkeypatch.setattr("fcntl.ioctl", answer)
    assert capabilities(Path("/dev/null")) == CAMERA


# What an order names.


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "secret.ts").touch()
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    (one / "show.ts").touch()
    (two / "other.ts").touch()
    (one / "out.ts").symlink_to(tmp_path / "secret.ts")
    (one / "in.ts").symlink_to(one / "show.ts")
    (one / "loop.ts").symlink_to(one / "loop.ts")
    (one / "folder.ts").mkdir()
    return one, two


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("show.ts", "one/show.ts"),
        ("other.ts", "two/other.ts"),
        ("{}/one/show.ts", "one/show.ts"),
        ("{}/two/other.ts", "two/other.ts"),
        ("in.ts", "one/show.ts"),
        ("../two/other.ts", "two/other.ts"),
    ],
)
async def test_files_in_the_folders(
    folders: tuple[Path, Path], path: str, wanted: str, tmp_path: Path
) -> None:
    source = wire.Source("file", path=path.format(tmp_path), loop=True)
    found = await resolve(source, folders, ())
    assert found == wire.Source("file", path=str(tmp_path / wanted), loop=True)


@pytest.mark.parametrize(
    "path",
    [
        *("out.ts", "../secret.ts", "{}/secret.ts", "/etc/passwd", "none.ts", "folder.ts", "."),
        *("loop.ts", "{}/one", "x" * 5000, "nul\0.ts", "/dev/zero"),
    ],
)
def test_what_lies_elsewhere_may_not_be_sent(
    folders: tuple[Path, Path], path: str, tmp_path: Path
) -> None:
    with pytest.raises(NotFound, match="in the media folders of the sender"):
        resolve_file(path.format(tmp_path), folders)


async def test_without_folders_there_are_no_files() -> None:
    with pytest.raises(BadArguments, match="offers no files; name folders as media_folders"):
        await resolve(wire.Source("file", path="/etc/passwd"), (), ())
    with pytest.raises(BadArguments, match="needs a path"):
        await resolve(wire.Source("file"), (Path("/tmp"),), ())


async def test_a_disk_that_hangs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESOLVE_DEADLINE_S", 0.05)
    ends = threading.Event()
    hang: Callable[..., Path] = lambda *_: (ends.wait(10.0), Path("/"))[1]  # noqa: E731
    monkeypatch.setattr(module, "resolve_file", hang)
    try:
        with pytest.raises(NotFound, match="does not answer"):
            await resolve(wire.Source("file", path="show.ts"), (Path("/tmp"),), ())
    finally:
        ends.set()


@pytest.mark.parametrize(
    ("device", "audio"),
    [
        ("/dev/video0", None),
        ("/dev/video12", "default"),
        ("/dev/v4l/by-id/usb-046d_HD_Pro-video-index0", "hw:1,0"),
        ("/dev/v4l/by-path/pci-0000:00:14.0-usb-0:1:1.0-video-index0", "plughw:CARD=C920,DEV=0"),
    ],
)
async def test_devices(device: str, audio: str | None) -> None:
    source = wire.Source("v4l2", device=device, audio_device=audio)
    assert await resolve(source, (), ()) == source


@pytest.mark.parametrize(
    "device", [None, "", "video0", "/dev/sda", "/dev/video0/../sda", "/dev/v4l/by-id/../../sda\n"]
)
async def test_what_is_no_camera(device: str | None) -> None:
    with pytest.raises(BadArguments, match="is no camera"):
        await resolve(wire.Source("v4l2", device=device), (), ())


@pytest.mark.parametrize(
    "audio", ["", "file:/etc/x", "tee:hw,'/etc/x',raw", "plug:'file:x'", "hw:1;"]
)
async def test_what_is_no_microphone(audio: str) -> None:
    with pytest.raises(BadArguments, match="is no device of ALSA"):
        await resolve(wire.Source("v4l2", device="/dev/video0", audio_device=audio), (), ())


async def test_a_named_source_is_known_here_only() -> None:
    found = await resolve(wire.Source("uri", uri="source://front"), (), (FRONT,))
    assert found.uri == "rtsp://user:canary@192.0.2.20/1"
    with pytest.raises(NotFound, match="no source 'rear'; they name: front"):
        await resolve(wire.Source("uri", uri="source://rear"), (), (FRONT,))
    with pytest.raises(NotFound, match="they name: none"):
        await resolve(wire.Source("uri", uri="source://rear"), (), ())


@pytest.mark.parametrize(
    "uri", ["rtsp://u:p@192.0.2.1/1", "srt://:9000?mode=listener", "udp://239.0.0.1:5000"]
)
async def test_other_sources_are_taken_as_they_are(uri: str) -> None:
    assert (await resolve(wire.Source("uri", uri=uri), (), ())).uri == uri


@pytest.mark.parametrize("uri", [None, "", "file:///etc/passwd", "fd://3", "canary", "http://["])
async def test_what_a_sender_does_not_open(uri: str | None) -> None:
    with pytest.raises(BadArguments, match="none that a sender opens") as raised:
        await resolve(wire.Source("uri", uri=uri), (), ())
    assert "canary" not in raised.value.message


async def test_the_test_picture_needs_nothing() -> None:
    assert await resolve(wire.Source("test"), (), ()) == wire.Source("test")
