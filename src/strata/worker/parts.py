"""What a worker is made of, as far as this machine has it: ``python -m strata.worker.parts``.

For ``strata doctor``, which must not load GStreamer itself. One JSON object on standard output;
what cannot be loaded at all is a line on standard error and exit status 4.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from strata.errors import StrataError


def parts() -> dict[str, Any]:
    """Versions, and of each element that is not installed its package and whether a stream
    needs it (the others make slates).

    Raises:
        PartMissing: GStreamer or librist cannot be loaded.
    """
    from strata.media import gst
    from strata.rist import context
    from strata.worker import ingest, kinds

    needed = {*ingest.ELEMENTS, *(name for kind in kinds.ALL for name in kind.ELEMENTS)}
    missing = {
        name: {"package": package, "needed": name in needed}
        for name, package in gst.PACKAGES.items()
        if gst.Gst.ElementFactory.find(name) is None
    }
    return {
        "gstreamer": gst.Gst.version_string().removeprefix("GStreamer "),
        "librist": context.version(),
        "missing": missing,
    }


def main() -> None:
    try:
        found = parts()
    except StrataError as error:
        print(error.message, file=sys.stderr)
        sys.exit(error.exit_status)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
