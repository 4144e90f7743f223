"""The pipeline that makes a JPEG of a key frame, in the helper process.

appsrc ! parser ! decoder ! videoconvertscale ! jpegenc ! appsink
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

from strata.media import gst
from strata.media.gst import Gst, make, told
from strata.wire import helpers as wire
from strata.worker.sizes import SizeGuard

ANSWER_S: Final = 4
WIDTH: Final = 320
MOST_HEIGHT: Final = 1280
MAX_PIXELS: Final = 10_000_000
"""Of what is decoded: 4096x2160 fits the memory that a helper has, in 10 bits too."""
QUALITIES: Final = (80, 50, 20, 5)
"""Of JPEG, tried until it is small enough; the first one does for what cameras see."""

DECODERS: Final = {
    "h264": ("avdec_h264", "openh264dec"),
    "h265": ("avdec_h265", "libde265dec"),
}
"""The first that is installed. The first takes interlaced pictures, 4:2:2 and 10 bits, too, and
comes with ``gstreamer1.0-libav``; the second comes with what Strata needs anyway."""

_FORMS: Final = {
    "h264": "video/x-h264,stream-format=avc,alignment=au",
    "h265": "video/x-h265,stream-format=hvc1,alignment=au",
}
_ALWAYS: Final = (
    *("bin", "pipeline", "appsrc", "capsfilter", "videoconvertscale", "jpegenc", "appsink"),
)


def draw(request: wire.Draw) -> bytes:
    """The JPEG.

    Raises:
        PartMissing: there is no decoder.
        ValueError: it cannot be made; says why.
    """
    choice = DECODERS[request.codec]
    decoder = next((each for each in choice if Gst.ElementFactory.find(each)), choice[-1])
    needed = (*_ALWAYS, f"{request.codec}parse", decoder)
    gst.require(needed)
    gst.forget_all_but(needed)
    for quality in QUALITIES:
        jpeg = _Drawing(request, decoder, quality).run()
        if len(jpeg) <= wire.MAX_JPEG_BYTES:
            return jpeg
    raise ValueError(f"as a JPEG it takes more than {wire.MAX_JPEG_BYTES >> 10} KiB")


class _Drawing:
    """One pipeline."""

    def __init__(self, request: wire.Draw, decoder: str, quality: int) -> None:
        coded: Any = Gst.Caps.from_string(
            f"{_FORMS[request.codec]},codec_data=(buffer){request.config.hex()}"
        )
        small: Any = Gst.Caps.from_string(
            f"video/x-raw,format=I420,width={WIDTH},height=[1,{MOST_HEIGHT}],pixel-aspect-ratio=1/1"
        )
        self._data = request.data
        self._decoder = decoder
        self._sizes = SizeGuard(MAX_PIXELS)
        self._pipeline: Any = Gst.Pipeline.new("thumbnail")
        self._source: Any = make("appsrc", format=Gst.Format.TIME, caps=coded, max_bytes=0)
        parser: Any = make(f"{request.codec}parse")
        self._sizes.watch(parser.get_static_pad("src"))
        self._sink: Any = make("appsink", sync=False, enable_last_sample=False)
        decode: Any = make(decoder)
        if decode.find_property("max-threads") is not None:
            # By itself it takes one for each core, and memory for as many pictures.
            decode.set_property("max-threads", 1)
        chain = (
            *(self._source, parser, decode, make("videoconvertscale")),
            *(make("capsfilter", caps=small), make("jpegenc", quality=quality), self._sink),
        )
        for element in chain:
            self._pipeline.add(element)
        for element, following in pairwise(chain):
            element.link(following)

    def run(self) -> bytes:
        self._pipeline.set_state(Gst.State.PLAYING)
        try:
            # Twice: openh264dec puts a picture out when the next one comes.
            for number in range(2):
                buffer = Gst.Buffer.new_wrapped(self._data)
                buffer.pts = buffer.dts = number * Gst.SECOND
                self._source.push_buffer(buffer)
            self._source.end_of_stream()
            sample = self._sink.try_pull_sample(ANSWER_S * Gst.SECOND)
            if sample is None:
                raise ValueError(self._why())
            found = sample.get_buffer()
            return bytes(found.extract_dup(0, found.get_size()))
        finally:
            self._pipeline.set_state(Gst.State.NULL)

    def _why(self) -> str:
        message = self._pipeline.get_bus().pop_filtered(Gst.MessageType.ERROR)
        if self._sizes.refused:
            return self._sizes.refused
        why = told(message) if message is not None else "the decoder gave no picture"
        if self._decoder.startswith("avdec"):
            return why
        return (
            f"{why}; {self._decoder} takes neither interlaced pictures nor more than 8 bits: "
            "apt-get install gstreamer1.0-libav brings a decoder that does"
        )
