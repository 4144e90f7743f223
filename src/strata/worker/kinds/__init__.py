"""The kinds of destination, one file each, all of the same shape."""

from __future__ import annotations

from typing import Final

from strata.wire.forward_url import ForwardUrl
from strata.worker.kinds.hls import Hls
from strata.worker.kinds.hls_push import HlsPush
from strata.worker.kinds.recording import MkvRecording, Mp4Recording, TsRecording
from strata.worker.kinds.rtmp import Rtmp
from strata.worker.kinds.srt import Srt
from strata.worker.output import Output

_KINDS: Final[dict[str, type[Output]]] = {"rtmp": Rtmp, "srt": Srt, "hls": Hls, "http": HlsPush}
_CONTAINERS: Final[dict[str, type[Output]]] = {
    ".ts": TsRecording,
    ".mkv": MkvRecording,
    ".mp4": Mp4Recording,
}
ALL: Final = (*_KINDS.values(), *_CONTAINERS.values())


def of(url: ForwardUrl) -> type[Output]:
    """The kind of output that the URL needs."""
    return _CONTAINERS[url.container] if url.kind == "file" else _KINDS[url.kind]
