"""Makes one slate and ends: ``python -I -m strata.worker.slates.maker``.

One line of JSON on standard input (:class:`strata.worker.slates.slate.Request`), the packed
slate on standard output. Exit status 0, or 1 with the reason as the last line on standard error.

The operator's file is decoded here and not in the worker: a file that is broken, or made to
do harm, ends this process and nothing else. Before any of it is read, the process limits
itself.
"""

from __future__ import annotations

import sys
from typing import Final

from strata.errors import StrataError
from strata.worker import confine
from strata.worker.slates import slate

CPU_S: Final = 20
"""Of processor time; a movie is cut short well before (:mod:`strata.worker.slates.pipeline`)."""
DATA_BYTES: Final = 400 * 1024 * 1024
"""Of memory that can be written to (RLIMIT_DATA). Measured with GStreamer 1.22, in MB: of a text
67 for 720p in H.264, 99 for 1080p60, 245 for 2160p30, 373 for 2160p30 of 10 bits; 152 for 1080p
in H.265, 238 for 1440p; of a photograph of 24 million pixels 398 for 2160p. 2160p in H.265 wants
475 and more, and is refused (:mod:`strata.worker.slates.encoder`)."""
MAX_REQUEST_BYTES: Final = 64 * 1024


def limit() -> None:
    confine.limit(CPU_S, DATA_BYTES)


def main() -> int:
    limit()
    try:
        request = slate.read_request(sys.stdin.buffer.readline(MAX_REQUEST_BYTES))
        # Only now: GStreamer is loaded under the limits.
        from strata.worker.slates import pipeline

        packed = slate.pack(pipeline.make(request))
        sys.stdout.buffer.write(packed)
        sys.stdout.buffer.flush()
    except StrataError as error:
        return _failed(error.message)
    except MemoryError:
        return _failed(f"a slate needs more memory than the {DATA_BYTES >> 20} MB it may take")
    except (ValueError, OSError) as error:
        return _failed(f"a slate could not be made: {error}")
    except Exception as error:  # a border: who waits for the answer reads one line
        kind = type(error).__name__
        return _failed(f"a slate could not be made, by a fault of Strata's own: {kind}: {error}")
    return 0


def _failed(why: str) -> int:
    print(" ".join(why.split()), file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
