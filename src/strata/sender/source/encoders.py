"""Encoders of pictures, as data: which there may be, the best first, and how each is told. Pure.

All of them are told the same: a constant rate, a buffer so small that a key frame is no burst,
no B-frames, closed groups, nothing that is looked at ahead. Which of them is used is proved
(:mod:`strata.sender.source.proof`).

Sources: GStreamer 1.22's reference of the plugins va, vaapi, video4linux2, x264 and x265;
gstreamer-rockchip (``gstmppenc.c``); Linux, Documentation/userspace-api/media/v4l/ext-ctrls-codec.
Of these only x264 and x265 have been tried on a machine by those who wrote this.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from strata.sender.source.choice import Codec, Shape

VBV_MS: Final = 400
"""What a key frame may take at most, in time at the stream's rate: more would be a burst that the
links cannot carry; less, and key frames are seen to be worse than the others."""

AUDIO_KBPS: Final = 128
AUDIO_LOW_KBPS: Final = 56
"""Its frames fit one packet each; with 64 they would take two, and 141 kbps."""
LOW_KBPS: Final = 1500
"""Below this rate the picture needs what sound can do without."""
LEAST_VIDEO_KBPS: Final = 100

_PACKET_BITS: Final = 188 * 8
_PAYLOAD: Final = 184
_FRAMES: Final = 48_000 / 1024
"""Of sound, a second."""
_SOUND_HEADERS: Final = 21
"""Bytes of PES and ADTS before each of them."""
_PICTURE_BYTES: Final = 113
"""What a picture takes beside its own bytes: a header, and half a packet that is not full."""
_TABLES_KBPS: Final = 16


@dataclass(frozen=True, slots=True)
class Asked:
    """What an encoder is to do.

    Attributes:
        kbps: of the picture alone.
        gop: pictures from one key frame to the next.
    """

    codec: Codec
    shape: Shape
    kbps: int
    gop: int

    def words(self) -> dict[str, str]:
        return {
            "kbps": str(self.kbps),
            "bps": str(self.kbps * 1000),
            "gop": str(self.gop),
            "vbv_ms": str(VBV_MS),
            "vbv_kbit": str(self.kbps * VBV_MS // 1000),
        }


@dataclass(frozen=True, slots=True)
class Encoder:
    """One way to encode.

    Attributes:
        name: for people.
        element: of GStreamer.
        raw: format of pictures that it takes.
        told: its properties; {kbps}, {bps}, {gop}, {vbv_ms} and {vbv_kbit} stand for what is
            asked.
        told_again: those that are told once more when the rate changes; none where it cannot
            while it runs.
        profile: what its output is asked to be.
        least_speed: times as fast as the pictures come, to be good enough: others need the
            processor too. 0 takes it however slow.
    """

    name: str
    codec: Codec
    element: str
    raw: str
    told: Mapping[str, str]
    told_again: Mapping[str, str]
    profile: str = ""
    least_speed: float = 1.2
    is_hardware: bool = field(default=True)

    def properties(self, asked: Asked) -> dict[str, str]:
        """As text, in the units of the element."""
        words = asked.words()
        return {name: text.format_map(words) for name, text in self.told.items()}

    def changes(self, asked: Asked) -> dict[str, str]:
        words = asked.words()
        return {name: text.format_map(words) for name, text in self.told_again.items()}


def video_kbps(total_kbps: int, audio_kbps: int, fps: Fraction) -> int:
    """What is left for the picture of the rate of the whole stream.

    Args:
        audio_kbps: of the sound; 0 for none.
    """
    packets = math.ceil((audio_kbps * 125 / _FRAMES + _SOUND_HEADERS) / _PAYLOAD)
    audio = packets * _FRAMES * _PACKET_BITS / 1000 if audio_kbps else 0.0
    pictures = float(fps) * _PICTURE_BYTES * 8 / 1000
    left = (total_kbps - audio - pictures - _TABLES_KBPS) * _PAYLOAD / 188
    return max(LEAST_VIDEO_KBPS, int(left))


def audio_kbps_for(total_kbps: int) -> int:
    return AUDIO_KBPS if total_kbps >= LOW_KBPS else AUDIO_LOW_KBPS


def _va(codec: Codec, element: str, name: str) -> Encoder:
    return Encoder(
        name,
        codec,
        element,
        "NV12",
        {
            "rate-control": "cbr",
            "bitrate": "{kbps}",
            "cpb-size": "{vbv_kbit}",
            "key-int-max": "{gop}",
            "b-frames": "0",
            "ref-frames": "1",
            "aud": "true",
        },
        {"bitrate": "{kbps}"},
    )


def _vaapi(codec: Codec, element: str) -> Encoder:
    return Encoder(
        "VA-API (gstreamer-vaapi)",
        codec,
        element,
        "NV12",
        {
            "rate-control": "cbr",
            "bitrate": "{kbps}",
            "cpb-length": "{vbv_ms}",
            "keyframe-period": "{gop}",
            "max-bframes": "0",
        },
        {"bitrate": "{kbps}"},
    )


def _v4l2(codec: Codec, element: str, gop: str, profile: str) -> Encoder:
    controls = (
        "controls,video_bitrate_mode=1,video_bitrate={bps},video_b_frames=0,"
        f"repeat_sequence_header=1,video_gop_size={{gop}},{gop}={{gop}}"
    )
    # A control that a driver does not know is left out with a warning.
    return Encoder(
        "V4L2",
        codec,
        element,
        "NV12",
        {"extra-controls": controls},
        {"extra-controls": "controls,video_bitrate={bps}"},
        profile,
    )


def _rockchip(codec: Codec, element: str) -> Encoder:
    return Encoder(
        "Rockchip MPP",
        codec,
        element,
        "NV12",
        {
            "rc-mode": "cbr",
            "bps": "{bps}",
            "gop": "{gop}",
            "header-mode": "each-idr",
        },
        {"bps": "{bps}"},
    )


def _x264(preset: str, least_speed: float) -> Encoder:
    return Encoder(
        f"x264 ({preset})",
        "h264",
        "x264enc",
        "I420",
        {
            "speed-preset": preset,
            "tune": "zerolatency",
            "bitrate": "{kbps}",
            "vbv-buf-capacity": "{vbv_ms}",
            "key-int-max": "{gop}",
            "bframes": "0",
            "aud": "true",
            "option-string": "scenecut=0:open-gop=0",
        },
        {"bitrate": "{kbps}"},
        least_speed=least_speed,
        is_hardware=False,
    )


def _x265(preset: str, least_speed: float) -> Encoder:
    options = (
        "bframes=0:open-gop=0:scenecut=0:rc-lookahead=0:info=0:strict-cbr=1:aud=1:"
        "vbv-maxrate={kbps}:vbv-bufsize={vbv_kbit}"
    )
    return Encoder(
        f"x265 ({preset})",
        "h265",
        "x265enc",
        "I420",
        {
            "speed-preset": preset,
            "tune": "zerolatency",
            "bitrate": "{kbps}",
            "key-int-max": "{gop}",
            "option-string": options,
        },
        {"bitrate": "{kbps}"},
        least_speed=least_speed,
        is_hardware=False,
    )


ENCODERS: Final[tuple[Encoder, ...]] = (
    _va("h264", "vah264enc", "VA-API"),
    _va("h264", "vah264lpenc", "VA-API, low power"),
    _vaapi("h264", "vaapih264enc"),
    # A Raspberry Pi takes 1080p only where it is told the level.
    _v4l2("h264", "v4l2h264enc", "h264_i_frame_period", "level=(string)4"),
    _rockchip("h264", "mpph264enc"),
    _x264("superfast", 1.5),
    _x264("ultrafast", 0),
    _va("h265", "vah265enc", "VA-API"),
    _va("h265", "vah265lpenc", "VA-API, low power"),
    _vaapi("h265", "vaapih265enc"),
    _v4l2("h265", "v4l2h265enc", "hevc_i_frame_period", ""),
    _rockchip("h265", "mpph265enc"),
    _x265("superfast", 1.5),
    _x265("ultrafast", 0),
)
"""The best first. Those of chips leave the processor alone."""


def candidates(codec: Codec) -> tuple[Encoder, ...]:
    return tuple(each for each in ENCODERS if each.codec == codec)


def gop_for(keyint_max: int, fps: Fraction) -> int:
    """Pictures from one key frame to the next: as asked, but no more than 10 s: the receiver's
    end begins with one, and so does whoever tunes in."""
    return max(1, min(keyint_max, int(10 * fps)))
