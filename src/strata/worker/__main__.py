"""``strata-receiver``, and ``python -I -m strata.worker``, which is how a host starts it.

A worker starts while a crew waits, and there may be hundreds on a machine, so what it loads
is counted: the lines before the import save a fifth of the time to ready and 6 MB.
"""

import gc
import sys

# Nothing that an import makes is garbage; the collector would look for some all the time.
gc.disable()
# asyncio and PyGObject take these along where they exist and do without where they do not.
# A worker never speaks TLS itself (rtmps goes through GIO) and never draws.
sys.modules["ssl"] = None  # type: ignore[assignment]
sys.modules["gi._gi_cairo"] = None  # type: ignore[assignment]

from strata.worker.cli import main  # noqa: E402

if __name__ == "__main__":
    main()
