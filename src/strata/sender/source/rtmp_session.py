"""The server's end of RTMP, as far as an encoder that publishes needs it. Pure: bytes in, bytes
out, and what was published as FLV.

GStreamer has no element that listens for RTMP. What OBS, vMix, cameras and phones do is little:
a handshake, four commands, and then media in chunks.

Sources: Adobe's RTMP specification 1.0 sections 5.2 (handshake), 5.3 (chunks), 5.4 and 7.1
(messages), 7.2 (commands); AMF 0 specification section 2; FLV specification 10.1 annex E.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

FLV_HEADER: Final = b"FLV\x01\x05\0\0\0\x09\0\0\0\0"
"""With sound and pictures, and the size of no tag before the first."""

HANDSHAKE: Final = 1536
CHUNK_MAX: Final = 1 << 24
MESSAGE_MAX: Final = 8 * 1024 * 1024
"""A key frame of 100 Mbps has about five."""
STREAMS_MAX: Final = 16
"""Chunk streams; encoders use three or four."""
WINDOW: Final = 2_500_000
"""Bytes after which each end says that it has come so far."""
OUR_CHUNK: Final = 4096
DEPTH_MAX: Final = 8

_SET_CHUNK, _ABORT, _ACK, _CONTROL, _WINDOW, _BANDWIDTH = 1, 2, 3, 4, 5, 6
_AUDIO, _VIDEO, _DATA, _COMMAND = 8, 9, 18, 20
_COMMAND_3: Final = 17
"""A command of AMF 3; in practice one of AMF 0 after a zero byte."""
_EXTENDED: Final = 0xFFFFFF


class BadRtmp(Exception):
    """The other end does not speak RTMP, or not as an encoder does."""


@dataclass(slots=True)
class _Incoming:
    """The message of one chunk stream that is not complete."""

    time: int = 0
    delta: int = 0
    size: int = 0
    type: int = 0
    is_extended: bool = False
    data: bytearray = field(default_factory=bytearray)


class RtmpSession:
    """One connection.

    Args:
        app, key: what may be published; whatever else is refused.

    Attributes:
        is_publishing: the right stream is being published.
        is_over: it has ended its stream, or was refused: the connection is to be closed.
        refused: what was wrong, where it was refused; holds no secret.
    """

    def __init__(self, app: str, key: str) -> None:
        self.is_publishing = False
        self.is_over = False
        self.refused = ""
        self._app = app
        self._key = key
        self._app_fits = False
        self._in = bytearray()
        self._greeted = 0
        self._chunk = 128
        self._streams: dict[int, _Incoming] = {}
        self._came = 0
        self._told = 0
        self._out: list[bytes] = []
        self._tags: list[bytes] = []

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """What came.

        Returns:
            what is to be answered, and FLV tags that were published.

        Raises:
            BadRtmp: the connection is of no use.
        """
        self._in += data
        self._came += len(data)
        if self._greeted < 2 and not self._greet():
            return self._taken()
        while not self.is_over and self._take_chunk():
            pass
        if self._came - self._told >= WINDOW:
            self._told = self._came
            self._say(2, _ACK, (self._came & 0xFFFFFFFF).to_bytes(4, "big"))
        return self._taken()

    def _taken(self) -> tuple[bytes, bytes]:
        found = b"".join(self._out), b"".join(self._tags)
        self._out.clear()
        self._tags.clear()
        return found

    def _greet(self) -> bool:
        """Whether the handshake is through."""
        if self._greeted == 0:
            if self._in and self._in[0] != 3:
                raise BadRtmp("the connection does not begin as RTMP does")
            if len(self._in) < 1 + HANDSHAKE:
                return False
            theirs = bytes(self._in[1 : 1 + HANDSHAKE])
            del self._in[: 1 + HANDSHAKE]
            # Ours need not be random: it proves nothing, and old clients check only the echo.
            self._out += (b"\x03", bytes(HANDSHAKE), theirs)
            self._greeted = 1
        if len(self._in) < HANDSHAKE:
            return False
        del self._in[:HANDSHAKE]
        self._greeted = 2
        return True

    def _take_chunk(self) -> bool:
        """One chunk, if it is there in full."""
        data = self._in
        if len(data) < 3:
            return False
        form, number, at = data[0] >> 6, data[0] & 0x3F, 1
        if number == 0:
            number, at = data[1] + 64, 2
        elif number == 1:
            number, at = data[1] + data[2] * 256 + 64, 3
        head = (11, 7, 3, 0)[form]
        stream = self._streams.get(number)
        if stream is None:
            if (form != 0 and form != 1) or len(self._streams) >= STREAMS_MAX:
                raise BadRtmp("a chunk belongs to no message")
            stream = _Incoming()
        if len(data) < at + head:
            return False
        time = int.from_bytes(data[at : at + 3], "big") if form < 3 else 0
        size = int.from_bytes(data[at + 3 : at + 6], "big") if form < 2 else stream.size
        extended = time == _EXTENDED if form < 3 else stream.is_extended
        begins = at + head + (4 if extended else 0)
        left = size - (len(stream.data) if form == 3 else 0)
        if size > MESSAGE_MAX:
            raise BadRtmp(f"a message has more than {MESSAGE_MAX} bytes")
        part = min(left, self._chunk)
        if len(data) < begins + part:
            return False
        if extended:
            time = int.from_bytes(data[at + head : begins], "big")
        self._streams[number] = stream
        if form < 3 or not stream.data:
            self._begin(stream, form, time, size, data[at + 6] if form < 2 else stream.type)
            stream.is_extended = extended
        stream.data += data[begins : begins + part]
        del data[: begins + part]
        if len(stream.data) >= stream.size:
            message, stream.data = bytes(stream.data), bytearray()
            self._message(stream.type, stream.time, message)
        return True

    @staticmethod
    def _begin(stream: _Incoming, form: int, time: int, size: int, type: int) -> None:
        if form == 0:
            stream.time, stream.delta = time, 0
        elif form in (1, 2):
            stream.delta = time
            stream.time = stream.time + time & 0xFFFFFFFF
        else:
            stream.time = stream.time + stream.delta & 0xFFFFFFFF
        stream.size, stream.type = size, type
        stream.data = bytearray()

    # --- messages ----------------------------------------------------------------------

    def _message(self, type: int, time: int, data: bytes) -> None:
        if type in (_AUDIO, _VIDEO):
            if self.is_publishing and data:
                self._tags.append(_tag(type, time, data))
        elif type == _SET_CHUNK and len(data) >= 4:
            self._chunk = int.from_bytes(data[:4], "big")
            if not 1 <= self._chunk <= CHUNK_MAX:
                raise BadRtmp("chunks of that size cannot be")
        elif type == _ABORT and len(data) >= 4:
            stream = self._streams.get(int.from_bytes(data[:4], "big"))
            if stream is not None:
                stream.data = bytearray()
        elif type in (_COMMAND, _COMMAND_3):
            self._command(_read_all(data[1:] if type == _COMMAND_3 else data))

    def _command(self, values: list[Any]) -> None:
        name = values[0] if values else None
        number = values[1] if len(values) > 1 and isinstance(values[1], float) else 0.0
        if name == "connect":
            asked = values[2].get("app") if len(values) > 2 and isinstance(values[2], dict) else ""
            self._app_fits = str(asked).partition("?")[0].strip("/") == self._app
            self._say(2, _WINDOW, WINDOW.to_bytes(4, "big"))
            self._say(2, _BANDWIDTH, WINDOW.to_bytes(4, "big") + b"\x02")
            self._say(2, _SET_CHUNK, OUR_CHUNK.to_bytes(4, "big"))
            status = {"level": "status", "code": "NetConnection.Connect.Success"}
            self._call("_result", number, {"fmsVer": "FMS/3,0,1,123"}, status)
        elif name == "createStream":
            self._call("_result", number, None, 1.0)
        elif name == "publish":
            key = values[3] if len(values) > 3 else ""
            self._publish(str(key))
        elif name in ("deleteStream", "FCUnpublish", "closeStream"):
            self.is_over = self.is_publishing or self.is_over
        elif name in ("releaseStream", "FCPublish", "getStreamLength", "_checkbw"):
            self._call("_result", number, None, None)

    def _publish(self, key: str) -> None:
        if self._app_fits and key == self._key:
            self.is_publishing = True
            self._status("status", "NetStream.Publish.Start")
        else:
            self.is_over = True
            what = "another key" if self._app_fits else "another application"
            self.refused = f"somebody publishes with {what} than the source has"
            self._status("error", "NetStream.Publish.BadName")

    def _status(self, level: str, code: str) -> None:
        self._say(5, _COMMAND, _amf("onStatus", 0.0, None, {"level": level, "code": code}), 1)

    def _call(self, *values: Any) -> None:
        self._say(3, _COMMAND, _amf(*values))

    def _say(self, stream: int, type: int, data: bytes, message_stream: int = 0) -> None:
        """One message; none of ours is longer than a chunk."""
        head = bytes((stream,)) + b"\0\0\0" + len(data).to_bytes(3, "big") + bytes((type,))
        self._out.append(head + message_stream.to_bytes(4, "little") + data)


def _tag(type: int, time: int, data: bytes) -> bytes:
    size = len(data).to_bytes(3, "big")
    head = (
        bytes((type,)) + size + (time & 0xFFFFFF).to_bytes(3, "big") + bytes((time >> 24 & 0xFF,))
    )
    return b"".join((head, b"\0\0\0", data, (len(data) + 11).to_bytes(4, "big")))


# --- AMF 0 -----------------------------------------------------------------------------


def _amf(*values: Any) -> bytes:
    return b"".join(map(_write, values))


def _write(value: Any) -> bytes:
    if isinstance(value, float):
        return b"\0" + struct.pack(">d", value)
    if isinstance(value, str):
        return b"\x02" + _text(value)
    if isinstance(value, Mapping):
        fields = b"".join(_text(name) + _write(each) for name, each in value.items())
        return b"\x03" + fields + b"\0\0\x09"
    return b"\x05"


def _text(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2, "big") + data


def _read_all(data: bytes) -> list[Any]:
    """The values of a message; what is behind one that cannot be read is left."""
    values: list[Any] = []
    at = 0
    try:
        while at < len(data):
            value, at = _read(data, at, 0)
            values.append(value)
    except (IndexError, struct.error):
        if not values:
            raise BadRtmp("a command cannot be read") from None
    return values


def _read(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if depth > DEPTH_MAX:
        raise BadRtmp("a command is too deep")
    kind = data[at]
    at += 1
    if kind == 0:
        return struct.unpack_from(">d", data, at)[0], at + 8
    if kind == 1:
        return bool(data[at]), at + 1
    if kind == 2:
        return _read_text(data, at, 2)
    if kind in (3, 8):
        return _read_fields(data, at + (4 if kind == 8 else 0), depth)
    if kind == 10:
        count, at = int.from_bytes(data[at : at + 4], "big"), at + 4
        found = []
        for _ in range(min(count, len(data))):
            value, at = _read(data, at, depth + 1)
            found.append(value)
        return found, at
    if kind == 11:
        return None, at + 10
    if kind == 12:
        return _read_text(data, at, 4)
    if kind in (5, 6):
        return None, at
    raise IndexError(kind)


def _read_text(data: bytes, at: int, width: int) -> tuple[str, int]:
    size = int.from_bytes(data[at : at + width], "big")
    begin = at + width
    if begin + size > len(data):
        raise IndexError(at)
    return data[begin : begin + size].decode("utf-8", "replace"), begin + size


def _read_fields(data: bytes, at: int, depth: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    while True:
        name, at = _read_text(data, at, 2)
        if not name and data[at] == 9:
            return found, at + 1
        found[name], at = _read(data, at, depth + 1)
