"""GStreamer's own log (``GST_DEBUG``), without keys.

Elements write the addresses that they are given into their log, with stream keys and
passphrases: who turns it on to look for a fault would have them in a file, or send them to
somebody. So the log goes through a process of its own (:mod:`strata.media.debug_filter`),
which is there only while it is turned on. A thread would not do: GStreamer may write while
Python's lock is held, and would wait for ever for who needs that lock to read.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Final

TRACE: Final = 7
_MORE_THAN_TRACE: Final = re.compile(r"\b([89]|MEMDUMP)(?=,|$)")


class _Filter:
    """The process, once it is there, and how it is told of addresses."""

    process: subprocess.Popen[bytes] | None = None
    keys: int = -1


def conceal(url: str) -> None:
    """Leaves out of the log, from now on, what is secret in that address."""
    if _Filter.process is not None:
        os.write(_Filter.keys, url.encode(errors="replace") + b"\n")


def set_up() -> None:
    """Has the log filtered where it is turned on; before GStreamer is loaded."""
    wanted = os.environ.get("GST_DEBUG")
    if not wanted:
        return
    # Beyond that it holds bytes as they are, in rows of sixteen: nothing can be found in there.
    os.environ["GST_DEBUG"] = _MORE_THAN_TRACE.sub(str(TRACE), wanted)
    log_read, log_write = os.pipe()
    keys_read, _Filter.keys = os.pipe()
    path = os.environ.get("GST_DEBUG_FILE", "-")
    _Filter.process = subprocess.Popen(
        [sys.executable, "-I", "-m", "strata.media.debug_filter", str(keys_read), path],
        stdin=log_read,
        pass_fds=(keys_read,),
        env={},
    )
    for descriptor in (log_read, keys_read):
        os.close(descriptor)
    os.environ["GST_DEBUG_FILE"] = f"/proc/self/fd/{log_write}"
