"""Silence in AAC, made of its bits: no encoder is needed. Pure.

Source: ISO/IEC 14496-3 sections 4.4.2.1 (raw_data_block), 4.4.2.7 (channel elements) and
1.6.3.5 (channel configurations).
"""

from __future__ import annotations

from typing import Final

from strata.worker.formats import USUAL_RATE, AudioFormat

USUAL: Final = AudioFormat(
    "aac",
    bytes.fromhex("1190"),
    "audio/mpeg, mpegversion=(int)4, framed=(boolean)true, stream-format=(string)raw, "
    "base-profile=(string)lc, profile=(string)lc, level=(string)2, "
    f"rate=(int){USUAL_RATE}, channels=(int)2, codec_data=(buffer)1190",
    USUAL_RATE,
    2,
)
"""For a stream that has had no sound: what cameras and encoders send."""

_SINGLE, _PAIR, _LOW = 0, 1, 3
_END: Final = "111"
_ELEMENTS: Final[dict[int, tuple[int, ...]]] = {
    1: (_SINGLE,),
    2: (_PAIR,),
    3: (_SINGLE, _PAIR),
    4: (_SINGLE, _PAIR, _SINGLE),
    5: (_SINGLE, _PAIR, _PAIR),
    6: (_SINGLE, _PAIR, _PAIR, _LOW),
    7: (_SINGLE, _PAIR, _PAIR, _PAIR, _LOW),
}
"""By the channel configuration."""

# Global gain 100, then for each channel no pulse, no temporal noise shaping, no gain control.
_GAIN: Final = "01100100"
_TOOLS: Final = "000"
# Long window, sine shape, no band in use, no prediction: nothing is left to be coded.
_ICS: Final = "0" + "00" + "0" + "000000" + "0"


def frame(format: AudioFormat) -> bytes:
    """One frame of silence for a track of that format."""
    configuration = format.config[1] >> 3 & 0x0F if len(format.config) >= 2 else 2
    bits = ""
    tags: dict[int, int] = {}
    for element in _ELEMENTS.get(configuration, (_PAIR,)):
        tag = tags.get(element, 0)
        tags[element] = tag + 1
        bits += f"{element:03b}{tag:04b}"
        if element == _PAIR:
            # One window for both channels, and no joint stereo.
            bits += "1" + _ICS + "00" + 2 * (_GAIN + _TOOLS)
        else:
            bits += _GAIN + _ICS + _TOOLS
    bits += _END
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")
