"""Makes one slate and ends: ``python -I -m strata.worker.slates.maker``.

One line of JSON on standard input (:class:`strata.worker.slates.slate.Request`), the packed
slate on standard output. Exit status 0, or 1 with the reason as the last line on standard error.

The operator's file is decoded here and not in the worker: a file that is broken, or made to
do harm, ends this process and nothing else. Before any of it is read, the process limits
itself.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
from typing import Final

from strata.errors import StrataError
from strata.worker.slates import slate

CPU_S: Final = 20
"""Of processor time; a movie is cut short well before (:mod:`strata.worker.slates.pipeline`)."""
DATA_BYTES: Final = 400 * 1024 * 1024
"""Of memory that can be written to (RLIMIT_DATA). Measured with GStreamer 1.22, in MB: of a text
67 for 720p in H.264, 99 for 1080p60, 245 for 2160p30, 373 for 2160p30 of 10 bits; 152 for 1080p
in H.265, 238 for 1440p; of a photograph of 24 million pixels 398 for 2160p. 2160p in H.265 wants
475 and more, and is refused (:mod:`strata.worker.slates.encoder`)."""
STACK_BYTES: Final = 2 * 1024 * 1024
"""Of each thread. The usual 8 MB count as memory taken, used or not."""
FILE_BYTES: Final = 64 * 1024 * 1024
NICE: Final = 10
OOM_SCORE: Final = 1000
"""The kernel takes this process first when a machine, or the worker's cgroup, has no memory
left (proc(5), oom_score_adj)."""
MAX_REQUEST_BYTES: Final = 64 * 1024

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
"""prctl(2)."""
_ATTRIBUTES_BYTES: Final = 256
"""A ``pthread_attr_t`` has 56 or 64 bytes, by machine."""


def limit() -> None:
    """Bounds what this process can take of the machine, and its life to its parent's."""
    import ctypes  # the worker, which reads the figures above, has no use for it

    for what, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_DATA, DATA_BYTES),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
    ):
        hardest = resource.getrlimit(what)[1]
        if hardest != resource.RLIM_INFINITY:
            most = min(most, hardest)
        # The hard limit on processor time is SIGKILL: a second later, so that SIGXCPU tells.
        over = 1 if what == resource.RLIMIT_CPU and hardest == resource.RLIM_INFINITY else 0
        resource.setrlimit(what, (most, most + over))
    os.nice(NICE)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(OOM_SCORE))
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    attributes = ctypes.create_string_buffer(_ATTRIBUTES_BYTES)
    libc.pthread_attr_init(attributes)
    libc.pthread_attr_setstacksize(attributes, ctypes.c_size_t(STACK_BYTES))
    libc.pthread_setattr_default_np(attributes)


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
