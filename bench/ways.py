"""The three ways to hand librist's packets to Python, each as a process of its own.

``python -m bench.ways WAY PORT,PORT`` collects batches of 20 ms until SIGTERM and then
prints what it got. The first two use cffi in ABI mode, which is what one writes without a
compiler; the third is what the worker uses. All sleep until a first packet comes, and all
do the same with each packet: they check that it is whole transport-stream packets and count
the holes in the sequence, because librist's own count of losses is wrong after a stall.
"""

from __future__ import annotations

import json
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Final

from cffi import FFI

from bench.media import PSK
from strata.rist import Receiver, ReceiverTuning
from strata.rist.context import JITTER_MAX_MS, PROFILE_MAIN
from strata.secrets import Secret

BATCH_S: Final = 0.020
IDLE_S: Final = 1.0
PACKET: Final = 188

# librist 0.2.7, headers.h, peer.h and receiver.h. ABI mode needs every field in its place.
_CDEF: Final = """
    struct rist_data_block {
        const void *payload; size_t payload_len; uint64_t ts_ntp;
        uint16_t virt_src_port; uint16_t virt_dst_port; void *peer;
        uint32_t flow_id; uint64_t seq; uint32_t flags; void *ref;
    };
    struct rist_peer_config {
        int version; int address_family; int initiate_conn;
        char address[256]; char miface[128];
        uint16_t physical_port; uint16_t virt_dst_port;
        int recovery_mode; uint32_t recovery_maxbitrate; uint32_t recovery_maxbitrate_return;
        uint32_t recovery_length_min; uint32_t recovery_length_max;
        uint32_t recovery_reorder_buffer; uint32_t recovery_rtt_min; uint32_t recovery_rtt_max;
        uint32_t weight; char secret[128]; int key_size; uint32_t key_rotation;
        int compression; char cname[128]; int congestion_control_mode;
        uint32_t min_retries; uint32_t max_retries; uint32_t session_timeout;
        uint32_t keepalive_interval; uint32_t timing_mode;
        char srp_username[256]; char srp_password[256];
    };
    typedef int (*data_callback)(void *, struct rist_data_block *);
    int rist_receiver_create(void **, int, void *);
    int rist_receiver_set_output_fifo_size(void *, uint32_t);
    int rist_receiver_data_callback_set2(void *, data_callback, void *);
    int rist_receiver_data_read2(void *, struct rist_data_block **, int);
    void rist_receiver_data_block_free2(struct rist_data_block **);
    int rist_peer_config_defaults_set(struct rist_peer_config *);
    int rist_peer_create(void *, void **, const struct rist_peer_config *);
    int rist_jitter_max_set(void *, int);
    int rist_start(void *);
    int rist_destroy(void *);
"""

ffi: Any = FFI()


class Tally:
    """What came out."""

    def __init__(self) -> None:
        self.bytes = 0
        self.batches = 0
        self.lost = 0
        self.running = True
        self._last_seq: int | None = None

    def payload(self, block: Any) -> bytes:
        """Copies a packet of librist's, and counts as inbox.h does."""
        payload = bytes(ffi.buffer(block.payload, block.payload_len))
        seq = int(block.seq)
        if self._last_seq is not None and seq != self._last_seq + 1:
            self.lost += (seq - self._last_seq - 1) & 0xFFFFFFFF
        self._last_seq = seq
        packets, rest = divmod(len(payload), PACKET)
        return b"" if rest or payload[::PACKET] != b"G" * packets else payload

    def add(self, batch: bytes) -> None:
        if batch:
            self.bytes += len(batch)
            self.batches += 1


def by_callback(ports: Sequence[int], tally: Tally) -> None:
    """librist's output thread enters Python for each packet."""
    lib, ctx = _load()
    came = threading.Event()
    packets: list[bytes] = []

    def on_data(argument: Any, block: Any) -> int:
        packets.append(tally.payload(block))
        holder[0] = block
        lib.rist_receiver_data_block_free2(holder)
        came.set()
        return 0

    holder = ffi.new("struct rist_data_block **")
    keep = ffi.callback("data_callback", on_data)
    _must(lib.rist_receiver_set_output_fifo_size(ctx, 0))
    _must(lib.rist_receiver_data_callback_set2(ctx, keep, ffi.NULL))
    _listen(lib, ctx, ports)
    while tally.running:
        if not came.wait(IDLE_S):
            continue
        time.sleep(BATCH_S)
        came.clear()
        size = len(packets)
        tally.add(b"".join(packets[:size]))
        del packets[:size]
    lib.rist_destroy(ctx)


def by_read2(ports: Sequence[int], tally: Tally) -> None:
    """Python takes each packet out of librist's queue, all that wait every 20 ms."""
    lib, ctx = _load()
    _listen(lib, ctx, ports)
    holder = ffi.new("struct rist_data_block **")
    while tally.running:
        packets = []
        left = lib.rist_receiver_data_read2(ctx, holder, int(IDLE_S * 1000))
        while left > 0 and holder[0] != ffi.NULL:
            block = holder[0]
            packets.append(tally.payload(block))
            lib.rist_receiver_data_block_free2(holder)
            left = lib.rist_receiver_data_read2(ctx, holder, 0) if left > 1 else 0
        tally.add(b"".join(packets))
        if packets:
            time.sleep(BATCH_S)
    lib.rist_destroy(ctx)


def by_inbox(ports: Sequence[int], tally: Tally) -> None:
    """Compiled callbacks fill a buffer, Python swaps it every 20 ms: strata.rist."""
    receiver = Receiver(ports, Secret(PSK), bind="127.0.0.1", batch_ms=int(BATCH_S * 1000))
    receiver.start()
    poll = select.poll()
    poll.register(receiver.fileno(), select.POLLIN)
    while tally.running:
        if poll.poll(IDLE_S * 1000):
            tally.add(receiver.take())
    receiver.close()


WAYS: Final[dict[str, Callable[[Sequence[int], Tally], None]]] = {
    "callback": by_callback,
    "read2": by_read2,
    "inbox": by_inbox,
}


def _load() -> tuple[Any, Any]:
    ffi.cdef(_CDEF)
    lib: Any = ffi.dlopen("librist.so.4")
    holder = ffi.new("void **")
    _must(lib.rist_receiver_create(holder, PROFILE_MAIN, ffi.NULL))
    return lib, holder[0]


def _listen(lib: Any, ctx: Any, ports: Sequence[int]) -> None:
    """The same settings as strata.rist.Receiver."""
    tuning = ReceiverTuning()
    config = ffi.new("struct rist_peer_config *")
    _must(lib.rist_peer_config_defaults_set(config))
    config.address_family = 2  # AF_INET
    config.address = b"127.0.0.1"
    config.secret = PSK.encode()
    config.key_size = 256
    config.recovery_length_min = config.recovery_length_max = tuning.buffer_ms
    config.recovery_reorder_buffer = tuning.reorder_ms
    config.recovery_rtt_min = tuning.rtt_min_ms
    config.recovery_rtt_max = tuning.rtt_max_ms
    config.max_retries = tuning.max_retries
    config.session_timeout = tuning.session_timeout_ms
    for port in ports:
        config.physical_port = port
        _must(lib.rist_peer_create(ctx, ffi.new("void **"), config))
    _must(lib.rist_jitter_max_set(ctx, JITTER_MAX_MS))
    _must(lib.rist_start(ctx))


def _must(status: int) -> None:
    if status:
        raise RuntimeError(f"librist answered {status}")


def main() -> None:
    way, ports = sys.argv[1], [int(port) for port in sys.argv[2].split(",")]
    tally = Tally()

    def stop(signum: int, frame: FrameType | None) -> None:
        tally.running = False

    signal.signal(signal.SIGTERM, stop)
    WAYS[way](ports, tally)
    print(json.dumps({"bytes": tally.bytes, "batches": tally.batches}), flush=True)


if __name__ == "__main__":
    main()
