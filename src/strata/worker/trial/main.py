"""Tries a destination and ends: ``python -I -m strata.worker.trial.main``.

One line of JSON on standard input (:class:`strata.wire.helpers.Push`), where the URL is: it
holds a stream key. On standard output an empty line when it begins, and one line of JSON
(:class:`strata.wire.helpers.Pushed`) when it is over. Exit status 0, or 1 with the reason as the
last line on standard error where there is nothing to say of the destination.

It is a process of its own so that what is tried ends with it, and it dies with the host.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import Final, NoReturn

from strata import logs
from strata.wire import helpers as wire
from strata.worker import confine

CPU_S: Final = 25
"""Of processor time; ten seconds of bars take 2.5 s."""
DATA_BYTES: Final = 400 * 1024 * 1024


def main() -> NoReturn:
    confine.limit(CPU_S, DATA_BYTES)
    logs.set_up("test-push", logging.WARNING)
    status = 0
    try:
        request = wire.decode(sys.stdin.buffer.readline(wire.MAX_LINE_BYTES), wire.Push)
        print(flush=True)
        # Only now: GStreamer is loaded under the limits.
        from strata.worker.trial.push import push

        pushed = asyncio.run(push(request))
        sys.stdout.buffer.write(wire.encode(pushed))
    except Exception as error:  # a border: who waits for the answer reads one line
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    # A thread that hangs in a dead destination would hold up an ordinary exit for ever.
    os._exit(status)


if __name__ == "__main__":
    main()
