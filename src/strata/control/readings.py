"""Streams and hosts as Prometheus reads them, from what is known at that moment.

Base units throughout (bytes, seconds, ratios), and no sample where there is no number: what is
missing is not zero. A stream is named by its id alone, so that a name that somebody gives it
makes no new series.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, TypeAlias

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from strata.control.live import Live
from strata.wire.host import Load
from strata.wire.worker import Flow, ForwardStats, Line, LinkStats, Stats

KBIT_BYTES: Final = 1000 / 8
MEGABYTE: Final = 1e6

LiveStreams: TypeAlias = Mapping[str, Live]

_STREAM: Final[tuple[tuple[str, str, Callable[[Stats], float | None]], ...]] = (
    ("input_bytes_per_second", "Media that arrives", lambda s: s.bitrate_in_kbps * KBIT_BYTES),
    ("output_bytes_per_second", "What forwards send", lambda s: s.bitrate_out_kbps * KBIT_BYTES),
    (
        "buffer_seconds",
        "Time that media spends in the recovery buffer",
        lambda s: s.buffer_ms / 1000 if s.buffer_ms is not None else None,
    ),
    ("uptime_seconds", "Age of the worker", lambda s: s.uptime_s),
    ("cpu_ratio", "Processor of the worker; 1 is a core", lambda s: s.cpu_percent / 100),
    ("memory_bytes", "Memory of the worker", lambda s: s.rss_mb * MEGABYTE),
    ("quality_ratio", "Packets that could be used", lambda s: s.flow.quality_percent / 100),
)

_LINK: Final[tuple[tuple[str, str, Callable[[LinkStats], float | None]], ...]] = (
    ("bytes_per_second", "What the link brings", lambda k: k.bitrate_kbps * KBIT_BYTES),
    ("share_ratio", "Its part of all that comes", lambda k: k.share_percent / 100),
    (
        "round_trip_seconds",
        "To the sender and back",
        lambda k: k.rtt_ms / 1000 if k.rtt_ms is not None else None,
    ),
    ("last_packet_age_seconds", "Since its last packet", lambda k: k.last_packet_age_s),
    ("up", "Whether it can be used", lambda k: float(k.state == "up")),
)

_FORWARD: Final[tuple[tuple[str, str, Callable[[ForwardStats], float | None]], ...]] = (
    ("bytes_per_second", "What the destination takes", lambda f: f.bitrate_kbps * KBIT_BYTES),
    ("progress_age_seconds", "Since it last took something", lambda f: f.last_progress_age_s),
)

_FORWARD_TOTALS: Final[tuple[tuple[str, str, Callable[[ForwardStats], float]], ...]] = (
    ("sent_bytes", "What the destination has taken", lambda f: f.bytes),
    ("dropped_frames", "Frames for which it was too slow", lambda f: f.dropped_frames),
    ("reconnects", "How often it was tried again", lambda f: f.reconnects),
    ("live_seconds", "For how long it took media", lambda f: f.live_s),
)

_PACKETS: Final[tuple[tuple[str, Callable[[Flow], int]], ...]] = (
    ("received", lambda flow: flow.received),
    ("recovered", lambda flow: flow.recovered),
    ("lost", lambda flow: flow.lost),
    ("late", lambda flow: flow.late),
    ("duplicate", lambda flow: flow.duplicates),
)

_LINE: Final[tuple[tuple[str, str, Callable[[Line], float]], ...]] = (
    ("gaps", "Places where something of the picture was missing", lambda n: n.gaps),
    ("damaged_frames", "Pictures left out because of those", lambda n: n.damaged_frames),
    ("bad_stamps", "Units whose time could not be true", lambda n: n.bad_stamps),
    ("clock_moves", "How often the sender's clock was set anew", lambda n: n.clock_moves),
    ("slates", "How often the slate went on the air", lambda n: n.slates),
    ("slate_seconds", "For how long it was on the air", lambda n: n.slate_s),
    ("silence_seconds", "For how long silence stood in for sound", lambda n: n.silence_s),
)

_HOST: Final[tuple[tuple[str, str, Callable[[Load], float | None]], ...]] = (
    ("streams", "Streams that run there", lambda n: n.streams),
    ("free_ports", "UDP ports for more", lambda n: n.free_ports),
    ("cpu_cores", "Of the machine", lambda n: n.cpu_cores),
    ("used_cpu_cores", "Used by streams", lambda n: n.used_cpu_cores),
    ("memory_bytes", "Of the machine", lambda n: n.memory_mb * MEGABYTE),
    ("used_memory_bytes", "Used by streams", lambda n: n.used_memory_mb * MEGABYTE),
    (
        "egress_bytes_per_second",
        "What may go out",
        lambda n: n.egress_kbps * KBIT_BYTES if n.egress_kbps is not None else None,
    ),
    ("used_egress_bytes_per_second", "What goes out", lambda n: n.used_egress_kbps * KBIT_BYTES),
    ("free_disk_bytes", "For recordings", lambda n: n.free_disk_mb * MEGABYTE),
    ("warnings", "What an operator should mend", lambda n: len(n.warnings)),
)


def of_streams(live: LiveStreams) -> Iterator[Metric]:
    """What is known of each stream that runs."""
    measured = {id: each.stats for id, each in live.items() if each.stats is not None}
    for name, about, read in (
        ("receiving", "Whether media arrives", lambda n: n.input.state == "receiving"),
        ("slate", "Whether viewers see the slate", lambda n: n.program.video == "slate"),
        ("restarting", "Whether its worker died and the next one comes", _is_restarting),
    ):
        states = (((id,), float(read(each))) for id, each in live.items())
        yield _gauge(f"strata_stream_{name}", about, ("stream",), states)
    for name, about, read_stats in _STREAM:
        values = (((id,), read_stats(stats)) for id, stats in measured.items())
        yield _gauge(f"strata_stream_{name}", about, ("stream",), values)
    packets = CounterMetricFamily(
        "strata_stream_packets", "Packets since the worker started", labels=("stream", "fate")
    )
    for id, stats in measured.items():
        for fate, count in _PACKETS:
            packets.add_metric((id, fate), count(stats.flow))
    yield packets
    for name, about, read_line in _LINE:
        total = CounterMetricFamily(f"strata_stream_{name}", about, labels=("stream",))
        for id, stats in measured.items():
            total.add_metric((id,), read_line(stats.line))
        yield total
    yield from _of_links(measured)
    yield from _of_forwards(live, measured)


def _is_restarting(live: Live) -> bool:
    return live.is_restarting


def _of_links(measured: Mapping[str, Stats]) -> Iterator[Metric]:
    links = [((id, str(link.port)), link) for id, stats in measured.items() for link in stats.links]
    names = ("stream", "port")
    for name, about, read in _LINK:
        yield _gauge(
            f"strata_link_{name}", about, names, ((key, read(each)) for key, each in links)
        )
    total = CounterMetricFamily("strata_link_packets", "Packets that it brought", labels=names)
    for key, link in links:
        total.add_metric(key, link.received)
    yield total


def _of_forwards(live: LiveStreams, measured: Mapping[str, Stats]) -> Iterator[Metric]:
    states = (
        ((id, each.forward, each.kind, each.state), 1.0)
        for id, known in live.items()
        for each in known.forwards.values()
    )
    labels = ("stream", "forward", "kind", "state")
    yield _gauge("strata_forward_state", "1 for the state that it is in", labels, states)
    names = ("stream", "forward", "kind")
    forwards = [
        ((id, each.forward, each.kind), each)
        for id, stats in measured.items()
        for each in stats.forwards
    ]
    for name, about, read in _FORWARD:
        values = ((key, read(each)) for key, each in forwards)
        yield _gauge(f"strata_forward_{name}", about, names, values)
    for name, about, count in _FORWARD_TOTALS:
        total = CounterMetricFamily(f"strata_forward_{name}", about, labels=names)
        for key, each in forwards:
            total.add_metric(key, count(each))
        yield total


def of_hosts(hosts: Mapping[str, tuple[bool, Load | None]]) -> Iterator[Metric]:
    """Hosts by name: whether each is connected, and how full it is."""
    connected = (((id,), float(there)) for id, (there, _) in hosts.items())
    yield _gauge("strata_host_connected", "Whether it answers", ("host",), connected)
    loads = [((id,), load) for id, (there, load) in hosts.items() if there and load is not None]
    for name, about, read in _HOST:
        values = ((key, read(load)) for key, load in loads)
        yield _gauge(f"strata_host_{name}", about, ("host",), values)


def of_alerts(standing: Mapping[str, int]) -> Iterator[Metric]:
    """How many alerts of each kind stand."""
    values = (((kind,), float(count)) for kind, count in standing.items())
    yield _gauge("strata_alerts", "Alerts that stand", ("kind",), values)


def _gauge(
    name: str,
    about: str,
    labels: tuple[str, ...],
    values: Iterable[tuple[tuple[str, ...], float | None]],
) -> Metric:
    family = GaugeMetricFamily(name, about, labels=labels)
    for key, value in values:
        if value is not None:
            family.add_metric(key, value)
    return family
