"""What was found on a machine, judged. Pure: all that is known is an argument."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from strata.doctor.finding import Finding, Level

SOCKET_BYTES: Final = 1024 * 1024
"""librist asks for buffers of this size in either direction."""
FILES: Final = 4096
"""A host holds some four descriptors for each of its streams, control fewer."""
ROOMY_MB: Final = 10 * 1024.0
"""Three hours of a recording at 8 Mbps."""
PORTS_NAMED: Final = 4
NOTHING: Final = "nothing"
"""How a host without limits describes them; its warning says why."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What ``strata.worker.parts`` says, or why it could not."""

    found: Mapping[str, Any] | None
    error: str = ""


def media(parts: Parts) -> list[Finding]:
    """GStreamer, its elements and librist."""
    if parts.found is None:
        return [Finding("media", "error", parts.error, "script/bootstrap")]
    gstreamer, librist = parts.found["gstreamer"], parts.found["librist"]
    found = [Finding("media", "ok", f"GStreamer {gstreamer} and librist {librist} load")]
    levels: tuple[tuple[bool, Level, str], ...] = (
        (True, "error", "no stream of some kinds can be carried"),
        (False, "warning", "some slates cannot be made"),
    )
    for needed, level, meaning in levels:
        missing = {
            name: each["package"]
            for name, each in parts.found["missing"].items()
            if each["needed"] == needed
        }
        if missing:
            found.append(
                Finding(
                    "elements" if needed else "slates",
                    level,
                    f"GStreamer lacks {', '.join(sorted(missing))}: {meaning}",
                    f"apt-get install {' '.join(sorted(set(missing.values())))}",
                )
            )
    return found


def fonts(count: int) -> Finding:
    if count:
        return Finding("fonts", "ok", "there are fonts for the text of slates")
    return Finding(
        "fonts",
        "warning",
        "there is no font: a slate cannot show the stream's name",
        "apt-get install fonts-dejavu-core",
    )


def buffers(name: str, value: int) -> Finding:
    """One of ``net.core.rmem_max`` and ``wmem_max``, in bytes."""
    key = f"net.core.{name}"
    if value >= SOCKET_BYTES:
        return Finding(name, "ok", f"{key} is {value}")
    return Finding(
        name,
        "warning",
        f"{key} is {value}; librist asks for {SOCKET_BYTES} bytes for each socket and gets less, "
        "so that a burst on a busy machine is lost",
        f"echo {key}=4194304 > /etc/sysctl.d/60-strata-{name}.conf && sysctl --system",
    )


def open_files(hard: int) -> Finding:
    """RLIMIT_NOFILE as it may be raised to; -1: without limit."""
    if hard < 0 or hard >= FILES:
        return Finding("files", "ok", f"{'any number of' if hard < 0 else hard} files may be open")
    return Finding(
        "files",
        "warning",
        f"only {hard} files may be open at once: room for about {hard // 5} streams",
        f"LimitNOFILE=65536 in the unit, or ulimit -n {FILES} before the start",
    )


def clock(synchronised: bool | None) -> Finding:
    if synchronised is None:
        return Finding("clock", "warning", "whether the clock is set by a server is not told here")
    if synchronised:
        return Finding("clock", "ok", "it is synchronised")
    return Finding(
        "clock",
        "warning",
        "it is not synchronised: the times of events and recordings will be wrong, and TLS may "
        "fail",
        "apt-get install systemd-timesyncd && timedatectl set-ntp true",
    )


def disk(free_mb: float, min_disk_mb: float, where: str) -> Finding:
    text = f"{free_mb / 1024:.1f} GB are free in {where}"
    if free_mb < min_disk_mb:
        return Finding(
            "disk",
            "error",
            f"{text}; a stream that records needs {min_disk_mb / 1024:.1f} GB "
            "(admission.min_disk_mb) and is refused",
            f"du -xh --max-depth=2 {where} | sort -h | tail; remove what is not needed",
        )
    if free_mb < ROOMY_MB:
        return Finding(
            "disk", "warning", f"{text}: hours of recordings", f"see what fills it: du -xh {where}"
        )
    return Finding("disk", "ok", text)


def data_folder(path: str, problem: str, foreign: Sequence[str], owner: str) -> Finding:
    """
    Args:
        problem: why it cannot be used; empty: it can.
        foreign: what of it belongs to somebody else than the folder.
    """
    if problem:
        return Finding(
            "data",
            "error",
            f"{path} cannot be used: {problem}",
            f"install -d -m 0700 -o {owner} {path}, or choose another data_dir",
        )
    if foreign:
        return Finding(
            "data",
            "error",
            f"in {path} of {owner} there is what belongs to somebody else: "
            f"{', '.join(foreign)}; Strata was once started there by another user",
            f"chown -R {owner}: {path}",
        )
    return Finding("data", "ok", f"{path} can be written to")


def seal(has_database: bool, has_key: bool, path: str) -> list[Finding]:
    """The key that opens the secrets of the database."""
    if has_key or not has_database:
        return []
    return [
        Finding(
            "seal",
            "error",
            f"there is a database and no {path}: secrets of destinations cannot be opened any "
            "more, and a new key is made at the next start",
            "restore it from the backup, before Strata is started",
        )
    ]


def database(where: str, problem: str) -> Finding:
    if problem:
        return Finding(
            "database",
            "error",
            f"{where} does not answer: {problem}",
            "look after the database, or correct database.url",
        )
    return Finding("database", "ok", f"{where} can be used")


def listening(address: str, state: str, *, is_loopback: bool) -> list[Finding]:
    """
    Args:
        state: ``free``, ``ours`` (Strata answers there), or what is wrong.
    """
    port = address.rpartition(":")[2]
    if state not in ("free", "ours"):
        return [
            Finding(
                "api",
                "error",
                f"the API cannot listen on {address}: {state}",
                f"ss -tlpn 'sport = :{port}' tells who does; or choose another server.listen",
            )
        ]
    told = "Strata answers" if state == "ours" else "nobody listens yet"
    found = [Finding("api", "ok", f"{told} on {address}")]
    if not is_loopback:
        found.append(
            Finding(
                "tls",
                "warning",
                f"the API listens on {address} without TLS: passwords go over the network as "
                "they are",
                'server.listen = "127.0.0.1:8080", and Caddy in front (deploy/Caddyfile)',
            )
        )
    return found


def public_host(name: str) -> Finding:
    if name in ("127.0.0.1", "localhost", "::1"):
        return Finding(
            "public_host",
            "warning",
            f"senders are told {name}, which leads nowhere but on this machine",
            'host.public_host = "name.of.this.server" in the settings',
        )
    return Finding("public_host", "ok", f"senders are told {name}")


def ports(text: str, size: int, taken: Sequence[int]) -> Finding:
    """The range for senders, as a look at each port found it."""
    if not taken:
        return Finding("ports", "ok", f"UDP {text}: all {size} are free")
    few = ", ".join(map(str, taken[:PORTS_NAMED])) + (", ..." if len(taken) > PORTS_NAMED else "")
    mend = f"ss -ulpn 'sport = :{taken[0]}' tells who; or choose another host.port_range"
    if size - len(taken) < 2:
        return Finding("ports", "error", f"UDP {text}: none is free for a stream ({few})", mend)
    return Finding(
        "ports", "warning", f"UDP {text}: {len(taken)} of {size} are taken by others ({few})", mend
    )


def host(streams: int, free_ports: int, limits: str, warnings: Iterable[str]) -> list[Finding]:
    """A host that runs, in its own words."""
    found = [
        Finding("host", "ok", f"it runs: {streams} streams, {free_ports} free ports"),
        *rules(limits, warnings),
    ]
    if free_ports < 2:
        found.append(
            Finding("ports", "error", "no pair is free", "stop a stream, or widen host.port_range")
        )
    return found


def rules(limits: str, warnings: Iterable[str]) -> list[Finding]:
    """What holds workers in their bounds."""
    told = [Finding("limits", "warning", each, _mend_limits(each)) for each in warnings if each]
    is_limited = limits != NOTHING
    return [Finding("limits", "ok", f"workers are limited by {limits}")] * is_limited + told


def _mend_limits(warning: str) -> str:
    if "nft is not installed" in warning:
        return "apt-get install nftables"
    if "limits.enforce is false" in warning:
        return "limits.enforce = true in the settings"
    return "run it as the services that script/install makes (docs/operations.md)"


def sockets(path: str, problem: str) -> Finding:
    if problem:
        return Finding(
            "sockets",
            "error",
            f"the folder for sockets, {path}, cannot be used: {problem}",
            f"install -d -m 0700 -o strata -g strata {path} for the services of script/install "
            "(they make it at their start), or another host.runtime_dir",
        )
    return Finding("sockets", "ok", f"{path} can be used")


def firewall(drops: Sequence[str] | None, port_range: str) -> list[Finding]:
    """
    Args:
        drops: chains of nftables that drop what no rule lets in; None: not known.
    """
    outside = f"UDP {port_range} has to come in from the field"
    if drops is None:
        return [Finding("firewall", "ok", f"not looked at (needs root and nft); {outside}")]
    if not drops:
        text = f"none on this machine; a provider's may be before it: {outside}"
        return [Finding("firewall", "ok", text)]
    return [
        Finding(
            "firewall",
            "warning",
            f"{', '.join(drops)} drops what no rule lets in: {outside}",
            f"nft list ruleset | grep {port_range}; with ufw: ufw allow "
            f"{port_range.replace('-', ':')}/udp",
        )
    ]
