"""One form of log for every process: UTC, level, where, what."""

from __future__ import annotations

import logging
import sys
import time


def set_up(where: str, level: int = logging.INFO) -> None:
    """Logs to standard error as ``2026-01-31T12:00:00.123Z INFO    <where> <message>``.

    Args:
        where: which process or stream is speaking.
    """
    formatter = logging.Formatter(
        f"%(asctime)s.%(msecs)03dZ %(levelname)-7s {where} %(message)s", "%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ("alembic", "asyncio", "httpx", "uvicorn.error"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
