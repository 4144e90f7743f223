"""Where the picture comes from: a test picture, a file, a camera, an address.

``open.py`` makes a source of an order; ``played.py`` plays it and tries again; ``feeds.py`` has
the pipelines, ``encoders.py`` the encoders.
"""

from strata.sender.source.open import open_source
from strata.sender.source.picture import AUDIO_KBPS, GstApp, Picture, TestSource
from strata.sender.source.seam import Chunk, End, Source, SourceSettings

__all__ = [
    "AUDIO_KBPS",
    "Chunk",
    "End",
    "GstApp",
    "Picture",
    "Source",
    "SourceSettings",
    "TestSource",
    "open_source",
]
