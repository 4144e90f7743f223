"""How a helper process limits itself, before it reads anything that others have made."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from typing import Final

STACK_BYTES: Final = 2 * 1024 * 1024
"""Of each thread. The usual 8 MB count as memory taken, used or not."""
FILE_BYTES: Final = 64 * 1024 * 1024
NICE: Final = 10
OOM_SCORE: Final = 1000
"""The kernel takes this process first when a machine, or the group that it is in, has no memory
left (proc(5), oom_score_adj)."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
"""prctl(2)."""
_ATTRIBUTES_BYTES: Final = 256
"""A ``pthread_attr_t`` has 56 or 64 bytes, by machine."""


def limit(cpu_s: int, data_bytes: int) -> None:
    """Bounds what this process can take of the machine, and its life to its parent's.

    Args:
        cpu_s: of processor time.
        data_bytes: of memory that can be written to (RLIMIT_DATA).
    """
    import ctypes  # the worker, which reads the figures of its helpers, has no use for it

    for what, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_DATA, data_bytes),
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
