"""What this machine can take a picture from: cameras, files in the folders for them, and the
sources in the network that its settings name. And whether an order names one of these.

What control may name is narrow on purpose: whoever gets hold of it must not read the disks of
all boxes in the field.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from strata.errors import BadArguments, NotFound
from strata.sender.settings import Source as Named
from strata.tasks import in_thread
from strata.wire import agent as wire

SYSFS: Final = Path("/sys/class/video4linux")
SUFFIXES: Final = frozenset(
    (".ts", ".m2ts", ".mts", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".flv", ".avi", ".mpg")
)
INPUTS_MAX: Final = 64
"""As many as :class:`strata.wire.agent.Status` may have."""
INPUTS_BYTES_MAX: Final = 32 * 1024
"""Of all their names: half of what a message may have."""
ENTRIES_MAX: Final = 2000
"""Looked at in one folder: it may be a whole disk."""
LOOK_DEADLINE_S: Final = 5.0
RESOLVE_DEADLINE_S: Final = 3.0

NAMED: Final = "source"
"""The scheme of a source that the settings name."""
SCHEMES: Final = frozenset(
    (NAMED, "rtsp", "rtsps", "rtspt", "srt", "rtmp", "rtmps", "udp", "rtp", "tcp", "http", "https")
)
CAMERA: Final = re.compile(r"/dev/(video[0-9]{1,3}|v4l/by-(id|path)/[A-Za-z0-9._:+-]{1,200})")
SOUND: Final = re.compile(
    r"(default|sysdefault|hw|plughw|front|dsnoop)(:[A-Za-z0-9_]+(=[A-Za-z0-9_-]+)?"
    r"(,[A-Za-z0-9_]+(=[A-Za-z0-9_-]+)?){0,2})?"
)
"""Devices of ALSA. Not its plugins: some of them write files."""

QUERYCAP: Final = 0x80685600
"""``VIDIOC_QUERYCAP`` and, below, ``V4L2_CAP_*`` (linux/videodev2.h)."""
VIDEO_CAPTURE: Final = 0x00000001 | 0x00001000
VIDEO_OUTPUT: Final = 0x00000002 | 0x00002000 | 0x00008000 | 0x00004000
"""An encoder takes pictures in, too."""
_capability: Final = struct.Struct("=16s32s32sIII3I")


def capabilities(device: Path) -> int | None:
    """What a device says that it can do; None: it does not say. Opening it may block."""
    try:
        descriptor = os.open(device, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        answer = fcntl.ioctl(descriptor, QUERYCAP, bytes(_capability.size))
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return int(_capability.unpack(answer)[5])


def is_camera(can: int | None) -> bool:
    return can is not None and bool(can & VIDEO_CAPTURE) and not can & VIDEO_OUTPUT


class Inputs:
    """
    Args:
        capabilities: as :func:`capabilities`; asked once for as long as a device stays.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        sources: Sequence[Named],
        sysfs: Path = SYSFS,
        capabilities: Callable[[Path], int | None] = capabilities,
    ) -> None:
        self._folders = folders
        self._sources = sources
        self._sysfs = sysfs
        self._capabilities = capabilities
        self._cameras: dict[tuple[str, str, int], bool] = {}
        self._is_looking = threading.Lock()
        self._found: list[wire.MediaInput] = []

    async def look(self) -> list[wire.MediaInput]:
        """What there is, cameras first. What it was before, while a disk or a driver hangs."""
        with contextlib.suppress(TimeoutError):
            await in_thread("inputs", self._look_once, LOOK_DEADLINE_S)
        return self._found

    def _look_once(self) -> None:
        if not self._is_looking.acquire(blocking=False):
            return  # the look before hangs still
        try:
            self._found = list(_as_many_as_fit(self._all()))
        finally:
            self._is_looking.release()

    def _all(self) -> Iterator[wire.MediaInput]:
        yield from self._look_at_cameras()
        for each in self._sources:
            yield wire.MediaInput("uri", f"{NAMED}://{each.name}", each.name)
        for folder in self._folders:
            yield from files(folder)

    def _look_at_cameras(self) -> Iterator[wire.MediaInput]:
        try:
            folders = sorted(self._sysfs.iterdir(), key=_number)
        except OSError:
            return
        known = self._cameras
        self._cameras = {}
        for folder in folders:
            try:
                key = (folder.name, (folder / "dev").read_text(), folder.stat().st_ino)
                name = (folder / "name").read_text().strip()
            except OSError:
                continue  # it went meanwhile
            device = Path("/dev") / folder.name
            if key not in known:
                known[key] = is_camera(self._capabilities(device))
            self._cameras[key] = known[key]
            if known[key]:
                yield wire.MediaInput("v4l2", str(device), _word(name))


def _number(folder: Path) -> int:
    digits = folder.name.removeprefix("video")
    return int(digits) if digits.isdecimal() else 1_000_000


def files(folder: Path) -> list[wire.MediaInput]:
    """The media files of a folder, by name."""
    found = []
    try:
        with os.scandir(folder) as entries:
            for _, entry in zip(range(ENTRIES_MAX), entries, strict=False):
                if Path(entry.name).suffix.lower() in SUFFIXES and entry.is_file():
                    found.append(entry.name)
    except OSError:
        pass  # a stick that is not plugged in now
    return [wire.MediaInput("file", str(folder / name), _word(name)) for name in sorted(found)]


def _as_many_as_fit(inputs: Iterator[wire.MediaInput]) -> Iterator[wire.MediaInput]:
    left = INPUTS_BYTES_MAX
    for _, each in zip(range(INPUTS_MAX), inputs, strict=False):
        try:
            data = msgspec.json.encode(each)
            msgspec.json.decode(data, type=wire.MediaInput)  # as control will read it
        except (msgspec.MsgspecError, UnicodeError):
            continue  # such as a name with a line break, or one that is no text
        left -= len(data)
        if left >= 0:
            yield each


def _word(text: str) -> str:
    return wire.plain(text)[:64]


# What an order names.


async def resolve(
    source: wire.Source, folders: Sequence[Path], sources: Sequence[Named]
) -> wire.Source:
    """The source as it is on this machine.

    Raises:
        StrataError: there is no such thing, or control may not name it.
    """
    match source.mode:
        case "test":
            return source
        case "file":
            return msgspec.structs.replace(source, path=await _file(source.path, folders))
        case "v4l2":
            _check_devices(source)
            return source
        case "uri":
            return msgspec.structs.replace(source, uri=_uri(source.uri, sources))


async def _file(path: str | None, folders: Sequence[Path]) -> str:
    if not path:
        raise BadArguments("a source of mode file needs a path")
    try:
        return str(await in_thread("file", lambda: resolve_file(path, folders), RESOLVE_DEADLINE_S))
    except TimeoutError:
        raise NotFound(f"the disk with {path} does not answer; see whether it is plugged in") from (
            None
        )


def resolve_file(path: str, folders: Sequence[Path]) -> Path:
    """The file itself, behind all links; a name alone is looked for in each folder. May block.

    Raises:
        StrataError: there is none, or it does not lie in one of the folders.
    """
    if not folders:
        raise BadArguments(
            "this sender offers no files; name folders as media_folders in its settings"
        )
    for folder in folders:
        try:
            found = (folder / path).resolve(strict=True)
            if found.is_relative_to(folder.resolve()) and found.is_file():
                return found
        except (OSError, ValueError, RuntimeError):
            continue
    raise NotFound(
        f"there is no file {path!r} in the media folders of the sender "
        f"({', '.join(map(str, folders))}), and others may not be sent"
    )


def _check_devices(source: wire.Source) -> None:
    if source.device is None or not CAMERA.fullmatch(source.device):
        raise BadArguments(
            f"{source.device!r} is no camera; write /dev/video0, or /dev/v4l/by-id/..."
        )
    if source.audio_device is not None and not SOUND.fullmatch(source.audio_device):
        raise BadArguments(
            f"{source.audio_device!r} is no device of ALSA; write default, or hw:1,0 "
            "(arecord -l lists them)"
        )


def _uri(uri: str | None, sources: Sequence[Named]) -> str:
    try:
        parts = urlsplit(uri or "")
        scheme, name = parts.scheme, parts.netloc
    except ValueError:
        scheme = name = ""
    if scheme not in SCHEMES:
        raise BadArguments(
            f"the URI of the source is none that a sender opens ({', '.join(sorted(SCHEMES))}); "
            "for a file there is the mode file"
        )
    if scheme != NAMED:
        assert uri is not None
        return uri
    for each in sources:
        if each.name == name:
            return each.uri.get_secret_value()
    known = ", ".join(each.name for each in sources) or "none"
    raise NotFound(f"the settings of the sender name no source {name!r}; they name: {known}")
