"""Looks at this machine, and changes nothing that a start of the host would not."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import pwd
import resource
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from strata.cluster.unix import HostClient
from strata.control.store import Store
from strata.doctor.judge import Parts
from strata.errors import HostError, StoreUnavailable, StrataError
from strata.host import limits
from strata.host.host import name_of, runtime_path
from strata.host.packets import Packets
from strata.host.service import socket_path_in
from strata.settings import Settings, split_listen, split_range
from strata.wire import host as wire

DEADLINE_S: Final = 10.0
PARTS_DEADLINE_S: Final = 60.0
"""GStreamer's first start on a machine looks at every plugin."""
FONTS: Final = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"))
TIME_ERROR: Final = 5
"""adjtimex(2): the clock is not synchronised."""


def parts() -> Parts:
    """GStreamer and librist, loaded by a process of its own."""
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-m", "strata.worker.parts"],
            capture_output=True,
            text=True,
            timeout=PARTS_DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Parts(None, f"GStreamer did not load in {PARTS_DEADLINE_S:.0f} s")
    if done.returncode:
        said = done.stderr.strip().splitlines()
        return Parts(None, said[-1] if said else f"it ended with status {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout)
    return Parts(found)


def fonts(folders: Iterable[Path] = FONTS) -> int:
    return sum(
        1
        for folder in folders
        for path in folder.rglob("*")
        if path.suffix.lower() in (".ttf", ".otf", ".ttc", ".pfb")
    )


def core_setting(name: str) -> int:
    """Of ``/proc/sys/net/core``."""
    return int(Path("/proc/sys/net/core", name).read_text())


def open_files() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return -1 if hard == resource.RLIM_INFINITY else hard


def clock_is_synchronised() -> bool | None:
    """None where the kernel does not tell."""
    # struct timex has 208 bytes; mode 0 reads.
    status = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(512))
    return None if status < 0 else status != TIME_ERROR


def existing(path: Path) -> Path:
    """The folder itself, or the nearest one above that there is."""
    return next(each for each in (path, *path.parents) if each.exists())


def unusable(path: Path) -> str:
    """Why nothing can be written below a folder that may have to be made; empty: it can."""
    there = existing(path)
    if not there.is_dir():
        return f"{there} is no folder"
    if not os.access(there, os.W_OK | os.X_OK):
        return f"{name_of_user(os.geteuid())} may not write to {there}"
    return ""


def foreign(folder: Path) -> list[str]:
    """What lies in a folder and belongs to somebody else than the folder does."""
    try:
        owner = folder.stat().st_uid
        return sorted(each.name for each in folder.iterdir() if each.lstat().st_uid != owner)
    except OSError:
        return []


def owner(path: Path) -> str:
    return name_of_user(existing(path).stat().st_uid)


def name_of_user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def free_mb(path: Path) -> float:
    return shutil.disk_usage(existing(path)).free / (1024 * 1024)


async def database(settings: Settings) -> tuple[str, str]:
    """Which database it is, without its secrets, and why it cannot be used, or nothing."""
    url = settings.database.url.get_secret_value()
    path = settings.data_dir / "strata.db"
    where = make_url(url).render_as_string(hide_password=True) if url else f"SQLite in {path}"
    if not url and not path.exists():
        return f"{where}, made at the first start,", unusable(settings.data_dir)
    store = Store(settings)
    try:
        await asyncio.wait_for(store.check(), DEADLINE_S)
    except TimeoutError:
        return where, f"no answer in {DEADLINE_S:.0f} s"
    except (StoreUnavailable, SQLAlchemyError, OSError) as error:
        cause = error.__cause__ if isinstance(error, StoreUnavailable) else error
        return where, " ".join(str(getattr(cause, "orig", None) or cause).split())
    finally:
        await store.close()
    return where, ""


def listening(address: str) -> str:
    """``free``, ``ours``, or what is wrong with an address to listen on."""
    host, port = split_listen(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            return "free"
        except (OSError, UnicodeError) as error:
            problem = getattr(error, "strerror", None) or str(error)
    return "ours" if _answers(host, port) else problem


def _answers(host: str, port: int) -> bool:
    """Whether a control plane does."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    shown = f"[{host}]" if ":" in host else host
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"http://{shown}:{port}/healthz", timeout=DEADLINE_S) as answer:
            return bool(json.load(answer) == {"status": "ok"})
    except (OSError, ValueError):
        return False


def taken_ports(text: str, bind: str) -> list[int]:
    """Those of a range that somebody holds."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    found = []
    for port in split_range(text):
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            try:
                sock.bind((bind, port))
            except OSError:
                found.append(port)
    return found


def sockets(settings: Settings) -> tuple[str, str]:
    """The folder for sockets, and why it cannot be used, or nothing."""
    try:
        path = runtime_path(settings)
    except HostError as error:
        return str(settings.host.runtime_dir), error.message
    return str(path), unusable(path)


async def running_host(settings: Settings) -> wire.Streams | None:
    """What the host of this data folder says; None where none answers."""
    try:
        path = socket_path_in(runtime_path(settings), settings)
    except HostError:
        return None
    if not os.access(path, os.W_OK):
        return None
    connected = asyncio.Event()

    async def greet() -> None:
        connected.set()

    client = HostClient(path, greet, lambda notice: None, DEADLINE_S)
    client.start()
    try:
        await asyncio.wait_for(connected.wait(), DEADLINE_S)
        reply = await client.request(wire.List())
    except (TimeoutError, StrataError):
        return None
    finally:
        await client.close()
    return reply if isinstance(reply, wire.Streams) else None


async def rules(settings: Settings) -> tuple[str, list[str]]:
    """How this user could limit workers here, and what not, where no host runs that tells."""
    name = f"strata-{name_of(settings.data_dir)}"
    found = limits.best(name, enforce=settings.limits.enforce, delegated=settings.limits.cgroup)
    packets = Packets(
        f"{name}-doctor",
        egress=settings.limits.kernel_egress,
        nonces=settings.limits.kernel_nonces,
        classifies=found.classifies,
    )
    await packets.open()
    await packets.close()
    await found.close()
    return found.description, [found.warning, *packets.warnings]


def dropping_chains() -> list[str] | None:
    """Chains of nftables at the input whose policy is to drop; None where that is not told."""
    if os.geteuid() != 0 or shutil.which("nft") is None:
        return None
    try:
        done = subprocess.run(
            ["nft", "-j", "list", "chains"],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=True,
        )
        items = json.loads(done.stdout)["nftables"]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return None
    chains = [item["chain"] for item in items if "chain" in item]
    return [
        f"{chain['family']} {chain['table']} {chain['name']}"
        for chain in chains
        if chain.get("hook") == "input" and chain.get("policy") == "drop"
    ]
