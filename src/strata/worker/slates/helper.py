"""The helper process that makes slates, seen from the worker."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from typing import Final

from strata import helpers
from strata.errors import SlateUnavailable
from strata.worker.slates import slate
from strata.worker.slates.cache import MAX_BYTES
from strata.worker.slates.maker import CPU_S, DATA_BYTES
from strata.worker.slates.slate import Request

COMMAND: Final = (sys.executable, "-I", "-m", "strata.worker.slates.maker")
DEADLINE_S: Final = 30.0


async def ask(command: Sequence[str], request: Request, deadline_s: float) -> bytes:
    """Runs the helper: the packed slate. It is gone when this returns, however it does.

    Raises:
        SlateUnavailable: it made none; says why.
    """
    try:
        answer = await helpers.ask(command, slate.write_request(request), deadline_s, MAX_BYTES)
    except helpers.TooLong:
        raise SlateUnavailable(
            f"the slate takes more than {MAX_BYTES >> 20} MB; use a shorter or calmer movie"
        ) from None
    except TimeoutError:  # before OSError, of which it is one
        raise SlateUnavailable(
            f"a slate in {request} was not made within {deadline_s:.0f} s; "
            "use a smaller or shorter file, or see whether this machine is overloaded"
        ) from None
    except OSError as error:
        raise SlateUnavailable(
            f"the helper that makes slates could not be started: {error.strerror}; "
            "see the limits on processes and memory of this machine"
        ) from None
    if answer.status != 0:
        raise SlateUnavailable(_why(answer, request))
    return answer.output


def _why(answer: helpers.Answer, request: Request) -> str:
    status = answer.status
    if status > 0:
        return answer.words or f"the helper that makes slates ended with status {status}"
    if -status in (signal.SIGXCPU, signal.SIGKILL):
        what = f"it took more than {CPU_S} s of processor time, or was killed"
    else:
        what = f"it ended as for want of memory, of which it may have {DATA_BYTES >> 20} MB"
    return (
        f"a slate in {request} cannot be made on this machine: {what} "
        f"(signal {-status}, {signal.strsignal(-status)}); "
        "use a smaller or shorter file, or a smaller picture at the sender"
    )
