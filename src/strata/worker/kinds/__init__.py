"""The kinds of destination, one file each, all of the same shape."""

from __future__ import annotations

from typing import Final

from strata.wire.forward_url import Kind
from strata.worker.kinds.rtmp import Rtmp
from strata.worker.kinds.ts_file import TsFile
from strata.worker.output import Output

BY_KIND: Final[dict[Kind, type[Output]]] = {"rtmp": Rtmp, "file": TsFile}
