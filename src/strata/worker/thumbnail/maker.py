"""Makes one small JPEG and ends: ``python -I -m strata.worker.thumbnail.maker``.

One line of JSON on standard input (:class:`strata.wire.helpers.Draw`), the JPEG on standard
output. Exit status 0, or 1 with the reason as the last line on standard error.

What a sender has coded is decoded here alone: neither in its worker, whose share of memory and
processor belongs to what is on the air, nor in the host. Pictures that are broken, or made to
do harm, end this process and nothing else. Before any of it is read, the process limits itself.
"""

from __future__ import annotations

import sys
from typing import Final

from strata.errors import StrataError
from strata.wire import helpers as wire
from strata.worker import confine

CPU_S: Final = 2
"""Of processor time; 1080p takes 0.3 s of it, most of that to start, and 2160p 0.4."""
DATA_BYTES: Final = 256 * 1024 * 1024
"""Of memory that can be written to. Measured with GStreamer 1.22, in MB,
resident: 98 for 1080p, 145 for 2160p, 202 for 2160p of 10 bits in H.265."""


def main() -> int:
    confine.limit(CPU_S, DATA_BYTES)
    try:
        request = wire.decode(sys.stdin.buffer.readline(wire.MAX_LINE_BYTES), wire.Draw)
        # Only now: GStreamer is loaded under the limits.
        from strata.worker.thumbnail import drawing

        sys.stdout.buffer.write(drawing.draw(request))
        sys.stdout.buffer.flush()
    except StrataError as error:
        return _failed(error.message)
    except MemoryError:
        return _failed(f"it needs more memory than the {DATA_BYTES >> 20} MB it may take")
    except (ValueError, OSError) as error:
        return _failed(str(error))
    except Exception as error:  # a border: who waits for the answer reads one line
        return _failed(f"a fault of Strata's own: {type(error).__name__}: {error}")
    return 0


def _failed(why: str) -> int:
    print(" ".join(why.split()), file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
