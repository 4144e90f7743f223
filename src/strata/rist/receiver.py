"""Receiving one bonded flow on several UDP ports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from strata.errors import BadArguments, HostError
from strata.rist.context import PROFILE_MAIN, Context, ffi, lib, peer_config, set_secret
from strata.rist.ports import family_of, held
from strata.secrets import Secret

MAX_PORTS: Final = 16
"""``INBOX_LINKS`` of inbox.h."""

INBOX_BYTES: Final = 8 * 1024 * 1024
"""Thirteen seconds at 5 Mbps: more than any stall of the reader that is worth surviving."""

BATCH_MS: Final = 40
"""Each batch wakes Python, and then every forward's threads: at 20 ms a worker with one
forward cost 4.9 % of a core at 5 Mbps, at 40 ms 4.4 %. Beside a recovery buffer of a second
the wait does not show."""

FIRST_REPORT_MS: Final = 1_000
REPORT_MS: Final = 10_000
"""librist wipes its buffer when, at the tick of its statistics, it received less than it
misses, or when the first packet after a tick came too late; after an outage of all links that
is a second silence of a second, in 11 of 30 where a tick fell within 0.3 s after the return.
A tick each 10 s makes that rare; our own counters run each second."""


@dataclass(frozen=True, slots=True)
class ReceiverTuning:
    """How hard to try, in milliseconds; measured to do best for two or three mobile links.

    Attributes:
        buffer_ms: time that a packet waits for its missing neighbours; the latency added.
        reorder_ms: wait before asking again, the spread of delay between the links.
        rtt_min_ms, rtt_max_ms: bounds of the pause between two requests for one packet.
        max_retries: requests for one packet.
        session_timeout_ms: silence after which a link is no longer asked. A dead link
            swallows requests until then: at 250 a cut of the faster of two links loses
            nothing, at 2000 it loses 1.1 %.
    """

    buffer_ms: int = 1_000
    reorder_ms: int = 70
    rtt_min_ms: int = 50
    rtt_max_ms: int = 100
    max_retries: int = 20
    session_timeout_ms: int = 250


@dataclass(frozen=True, slots=True)
class Mark:
    """A place of a batch where what follows does not continue what came before.

    Attributes:
        offset: bytes of the batch before it: 0 for a hole between two batches, the size of
            the batch where the last packets were dropped because nobody fetched.
        missing: RIST packets that should have been here, each of up to seven MPEG-TS
            packets; 0 where that cannot be known: with another flow, and where packets were
            missing before they reached the sender (their continuity counters tell; the first
            such place of a batch).
        new_flow: another sender took over, or the same one began to count anew.
    """

    offset: int
    missing: int
    new_flow: bool


@dataclass(frozen=True, slots=True)
class LinkCounters:
    """What came in order out of one port since the start.

    Attributes:
        peer: address of the last sender seen there, or None.
        peer_id: its number in :meth:`Receiver.take_reports`, 0 for none.
        packets, bytes: packets that this link was the first to deliver.
        last_packet_ns: ``time.monotonic_ns()`` of the last of them, 0 for never.
        connected_ns: ``time.monotonic_ns()`` since when a sender is there, with media or
            without, 0 for nobody. librist forgets one of which nothing has arrived for
            ``session_timeout_ms`` and 5 s more.
    """

    port: int
    peer: str | None
    peer_id: int
    packets: int
    bytes: int
    last_packet_ns: int
    connected_ns: int = 0


@dataclass(frozen=True, slots=True)
class Counters:
    """What the receiver put out since the start.

    Attributes:
        lost: packets missing in the output, counted from the sequence numbers.
        malformed: packets that were no whole MPEG-TS packets, and were dropped.
        overflowed: packets dropped because :meth:`Receiver.take` was not called.
        rejected: packets of a second flow while the first was alive.
        flow_changes: how often another flow (a restarted sender) took over.
    """

    packets: int
    bytes: int
    lost: int
    malformed: int
    overflowed: int
    rejected: int
    flow_changes: int
    last_packet_ns: int
    links: tuple[LinkCounters, ...]


class Receiver:
    """Listens on ``ports`` and merges what comes with the right key into one flow.

    The constructor checks its arguments; :meth:`start` binds. Wait for :meth:`fileno` to
    become readable, then :meth:`take` the batch.

    Args:
        ports: UDP ports, one for each link of the sender.
        psk: pre-shared key, or None for a stream in the clear. With a key, packets that
            cannot be decrypted with it are dropped by librist.
        bind: literal address to listen on.
        aes_bits: 128 or 256; TR-06-2 section 7.
        batch_ms: how long media gathers before it is offered.

    Raises:
        BadArguments: a port, address or key that cannot work.
    """

    def __init__(
        self,
        ports: Sequence[int],
        psk: Secret | None,
        *,
        bind: str = "0.0.0.0",
        aes_bits: int = 256,
        batch_ms: int = BATCH_MS,
        tuning: ReceiverTuning | None = None,
    ) -> None:
        if not 1 <= len(ports) <= MAX_PORTS or len(set(ports)) != len(ports):
            raise BadArguments(f"a receiver takes 1 to {MAX_PORTS} different ports")
        for port in ports:
            if not 1 <= port <= 65535:
                raise BadArguments(f"{port} is no UDP port; ports go from 1 to 65535")
        self.ports = tuple(ports)
        self._bind = bind
        self._batch_ms = batch_ms
        self._family = family_of(bind)
        self._encrypted = psk is not None
        tuning = tuning or ReceiverTuning()
        self._psk = psk
        config = peer_config(psk, aes_bits)
        config.recovery_length_min = config.recovery_length_max = tuning.buffer_ms
        config.recovery_reorder_buffer = tuning.reorder_ms
        config.recovery_rtt_min = tuning.rtt_min_ms
        config.recovery_rtt_max = tuning.rtt_max_ms
        config.max_retries = tuning.max_retries
        config.session_timeout = tuning.session_timeout_ms
        config.address_family = self._family
        config.address = bind.encode()
        self._config = config
        self._context: Context | None = None
        self._report_ms = FIRST_REPORT_MS

    def start(self) -> None:
        """Binds every port exclusively and starts receiving.

        Raises:
            PortTaken: a port is held by anyone else, another librist receiver included.
            HostError: librist or the machine refused.
        """
        set_secret(self._config, self._psk)
        context = Context(
            lambda holder, logging: lib.rist_receiver_create(holder, PROFILE_MAIN, logging),
            INBOX_BYTES,
            self._batch_ms,
        )
        try:
            if lib.inbox_attach_receiver(context.inbox, context.ctx):
                raise HostError("librist refused the callbacks of a receiver")
            lib.inbox_watch_stats(context.inbox, context.ctx, self._report_ms)
            for port in self.ports:
                self._config.physical_port = port
                lib.inbox_add_link(context.inbox, port)
                with held(self._bind, port, encrypted_only=self._encrypted):
                    if context.make_peer(self._config) is None:
                        raise HostError(
                            f"librist could not listen on {self._bind} port {port}; "
                            "see its messages in the log"
                        )
            context.start()
        except BaseException:
            context.close()
            raise
        finally:
            set_secret(self._config, None)
        self._context = context

    def fileno(self) -> int:
        """Becomes readable a batch's time after media, a report or a log line came, and
        quiet again with :meth:`take`."""
        return int(self._running.inbox.timer_fd)

    def take(self) -> bytes:
        """The payload (whole MPEG-TS packets, in order) since the last call; may be empty."""
        return self.take_marked()[0]

    def take_marked(self) -> tuple[bytes, list[Mark]]:
        """The same as :meth:`take`, and where in it something is missing.

        Offsets rise and none comes twice. No more than ``INBOX_MARKS`` of inbox.h per batch;
        the last one then counts for all that follow.
        """
        taken = lib.inbox_take(self._running.inbox)
        media = bytes(ffi.buffer(taken.media.data, taken.media.size)) if taken.media.size else b""
        marks = []
        for i in range(taken.mark_count):
            mark = taken.marks[i]
            marks.append(Mark(int(mark.offset), int(mark.missing), bool(mark.new_flow)))
        return media, marks

    def take_logs(self) -> list[tuple[str, str]]:
        """librist's warnings since the last call, as (level, message)."""
        return self._running.take_logs()

    def take_reports(self) -> list[dict[str, Any]]:
        """``flowinstant`` of librist's reports since the last call: one each 10 s and flow.

        Its counters cover the time since the report before.
        """
        reports = [
            report["receiver-stats"]["flowinstant"]
            for report in self._running.take_reports()
            if "receiver-stats" in report
        ]
        # A flow's very first reports know nothing of a buffer that has just begun to fill.
        useful = any(report["stats"]["avg_buffer_time"] for report in reports)
        if useful and self._report_ms != REPORT_MS:
            self._report_ms = REPORT_MS
            lib.inbox_watch_stats(self._running.inbox, self._running.ctx, REPORT_MS)
        return reports

    def counters(self) -> Counters:
        raw = ffi.new("inbox_counters *")
        lib.inbox_count(self._running.inbox, raw)
        links = []
        for i in range(raw.link_count):
            link = raw.links[i]
            address = str(ffi.string(link.peer_address).decode())
            links.append(
                LinkCounters(
                    port=link.port,
                    peer=address or None,
                    peer_id=link.peer_id,
                    packets=link.packets,
                    bytes=link.bytes,
                    last_packet_ns=link.last_packet_ns,
                    connected_ns=link.connected_ns if link.peers else 0,
                )
            )
        return Counters(
            packets=raw.packets,
            bytes=raw.bytes,
            lost=raw.lost,
            malformed=raw.malformed,
            overflowed=raw.overflowed,
            rejected=raw.rejected,
            flow_changes=raw.flow_changes,
            last_packet_ns=raw.last_packet_ns,
            links=tuple(links),
        )

    def close(self) -> None:
        """Ends librist's threads and frees the ports. Idempotent."""
        if self._context is not None:
            self._context.close()
            self._context = None

    @property
    def _running(self) -> Context:
        if self._context is None:
            raise HostError("this RIST receiver is not running; call start() first")
        return self._context
