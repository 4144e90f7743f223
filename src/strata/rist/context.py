"""What a receiver and a sender share: a librist context and the inbox of its callbacks."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, Final

from strata.errors import BadArguments, HostError, PartMissing
from strata.secrets import Secret, psk_problem

try:
    from strata.rist._librist import ffi, lib
except ImportError as error:  # the shared library, or our compiled part, is not there
    raise PartMissing(
        f"the librist binding cannot be loaded ({error}); "
        "run script/bootstrap (Debian package: librist4)"
    ) from error

PROFILE_MAIN: Final = 1
"""``RIST_PROFILE_MAIN``: the profile with encryption and one port per link (TR-06-2)."""

lib.inbox_silence_globals()

AES_SIZES: Final = (128, 256)

__all__ = ["PROFILE_MAIN", "Context", "ffi", "lib", "peer_config", "set_secret", "version"]

LOG_LEVELS: Final = {"3": "error", "4": "warning", "5": "notice", "6": "info", "7": "debug"}

_LOG_WARN: Final = 4

JITTER_MAX_MS: Final = 20
"""How long librist's own loops may sleep. Its default of 5 wakes an idle receiver 192 times
a second (1.1 % of a core); 20 does it 50 times and adds no more than a batch of ours."""


def version() -> str:
    """Version of the librist that is loaded, such as ``0.2.7``."""
    return str(ffi.string(lib.librist_version()).decode())


class Context:
    """Owns one ``rist_ctx``, its logging settings and the inbox, and frees them in order.

    Args:
        create: given the address of a ``rist_ctx *`` and the logging settings, makes the
            context and returns librist's status.
        max_bytes: how much media the inbox holds before packets are dropped and counted.
        batch_ms: how long things gather in the inbox before its descriptor tells.
    """

    def __init__(self, create: Callable[[Any, Any], int], max_bytes: int, batch_ms: int) -> None:
        self.inbox: Any = lib.inbox_new(max_bytes, batch_ms)
        if self.inbox == ffi.NULL:
            raise HostError("no memory or file descriptor is left for a RIST receiver or sender")
        self._settings: Any = ffi.new("struct rist_logging_settings **")
        lib.inbox_make_logging(self.inbox, self._settings, _LOG_WARN)
        holder = ffi.new("struct rist_ctx **")
        self.ctx: Any = ffi.NULL
        if create(holder, self._settings[0]):
            self.close()
            raise HostError("librist could not make a context; its memory or threads ran out")
        self.ctx = holder[0]
        lib.rist_jitter_max_set(self.ctx, JITTER_MAX_MS)

    def start(self) -> None:
        """Starts librist's threads and returns them to ordinary scheduling.

        As root librist asks for SCHED_RR 99, which would let one stream starve the machine.
        """
        before = set(os.listdir("/proc/self/task"))
        if lib.rist_start(self.ctx):
            raise HostError("librist could not start its threads; see the limit on processes")
        for task in set(os.listdir("/proc/self/task")) - before:
            try:
                if os.sched_getscheduler(int(task)) != os.SCHED_OTHER:
                    os.sched_setscheduler(int(task), os.SCHED_OTHER, os.sched_param(0))
            except (ProcessLookupError, PermissionError):
                continue  # it has ended, or was never raised

    def make_peer(self, config: Any) -> Any:
        """Adds a peer; returns the ``rist_peer *``, or None where librist refuses."""
        holder = ffi.new("struct rist_peer **")
        return None if lib.rist_peer_create(self.ctx, holder, config) else holder[0]

    def take_logs(self) -> list[tuple[str, str]]:
        """librist's warnings since the last call, as (level, message)."""
        lines = _text(lib.inbox_take_logs(self.inbox)).splitlines()
        return [(LOG_LEVELS.get(line[:1], "debug"), line[1:].strip()) for line in lines]

    def take_reports(self) -> list[dict[str, Any]]:
        """librist's statistics reports (JSON objects) since the last call."""
        reports = []
        for line in _text(lib.inbox_take_stats(self.inbox)).splitlines():
            try:
                reports.append(json.loads(line))
            except ValueError:
                continue  # cut at the inbox's limit
        return reports

    def close(self) -> None:
        """Ends librist's threads, then frees what their callbacks used. Idempotent."""
        if self.ctx != ffi.NULL:
            lib.rist_destroy(self.ctx)
            self.ctx = ffi.NULL
        if self._settings[0] != ffi.NULL:
            lib.rist_logging_settings_free2(self._settings)
        if self.inbox != ffi.NULL:
            lib.inbox_free(self.inbox)
            self.inbox = ffi.NULL


def peer_config(psk: Secret | None, aes_bits: int) -> Any:
    """A ``rist_peer_config`` with librist's defaults, ready for :func:`set_secret`.

    Raises:
        BadArguments: a key that librist would cut or misread.
    """
    config = ffi.new("struct rist_peer_config *")
    lib.rist_peer_config_defaults_set(config)
    if psk is not None:
        if aes_bits not in AES_SIZES:
            raise BadArguments(f"AES with {aes_bits} bits does not exist in RIST; use 128 or 256")
        problem = psk_problem(psk.reveal())
        if problem:
            raise BadArguments(problem)
        config.key_size = aes_bits
    return config


def set_secret(config: Any, psk: Secret | None) -> None:
    """Puts the key in, or with None wipes it: it is there only while peers are made.

    The key goes into the fields: in a URL, ``secret=`` without ``aes-type=`` silently
    switches encryption off, and there is no way to escape an ``&``.
    """
    field = ffi.buffer(config.secret)
    field[:] = (psk.reveal().encode() if psk is not None else b"").ljust(len(field), b"\0")


def _text(taken: Any) -> str:
    if not taken.size:
        return ""
    return str(bytes(ffi.buffer(taken.data, taken.size)).decode("utf-8", "replace"))
