"""A worker that behaves as it is told to, for tests of what watches over workers.

    python -I fake_worker.py MODE SOCKET STREAM_ID PORT,PORT [ANYTHING]

Modes: ``obedient``; ``deaf`` (does not hear ``stop``); ``stubborn`` (nor SIGTERM); ``silent``
(never serves its socket); ``leaver`` (ends by itself with status 0 right after ``ready``);
``littering`` (leaves its socket behind); ``exit:STATUS:WORDS`` (ends at once);
``crash:STATUS:WORDS`` (the same, but when it gets SIGUSR1); ``talker`` (has a lot to say when
it is stopped).

Forwards that it is told to add or replace are there at once, unless their URL says ``refused``,
``slow`` (there is no answer before SIGUSR1) or ``deadly`` (it dies of it).
"""

import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn
from zlib import crc32


def main() -> None:
    mode, path, stream_id, ports = sys.argv[1:5]
    # A handler would wait for the main thread, which may have just gone to sleep.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    secrets = sys.stdin.readline()
    forwards = Forwards(json.loads(secrets))
    print("2026-01-31T12:00:00.000Z INFO    fake got", crc32(secrets.encode()), flush=True)
    what, _, more = mode.partition(":")
    if what == "exit":
        leave(more)
    if what == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if what == "crash":
        threading.Thread(target=crash, args=(more,), daemon=True).start()
    if what == "silent":
        signal.pause()
    ready = {
        "event": "ready",
        "ports": [int(port) for port in ports.split(",")],
        "stream_id": stream_id,
        "pid": os.getpid(),
        "version": "0",
        "protocol": 1,
    }
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(path)
    server.listen()
    while True:
        client, _ = server.accept()
        threading.Thread(target=serve, args=(client, what, Path(path), ready, forwards)).start()


class Forwards:
    """URLs by their ids."""

    def __init__(self, secrets: dict[str, Any]) -> None:
        urls = secrets.get("forwards", [])
        ids = secrets.get("forward_ids") or [f"fwd_{n + 1}" for n in range(len(urls))]
        self.urls = dict(zip(ids, urls, strict=True))
        self.last = max(secrets.get("last_forward", 0), len(ids))

    def events(self) -> list[dict[str, Any]]:
        return [event_of(id) for id in self.urls]

    def carry_out(self, command: dict[str, Any]) -> list[dict[str, Any]]:
        """What is said of it, the answer last."""
        what, url, id = command["cmd"], command.get("url", ""), command.get("forward")
        told = []
        answer = {"event": "ok", "cmd": what, "id": command["id"]}
        if "deadly" in url:
            os._exit(1)
        if "slow" in url:
            signal.sigwait({signal.SIGUSR1})
        if "refused" in url or command.get("slate") == "/refused":
            return [{"event": "error", "code": "refused", "message": "no", "id": command["id"]}]
        if what == "configure":
            return [answer]
        if what == "add_forward":
            self.last += 1
            id = f"fwd_{self.last}"
        elif id not in self.urls:
            said = f"there is no forward {id!r}"
            return [{"event": "error", "code": "not_found", "message": said, "id": command["id"]}]
        if what == "remove_forward":
            del self.urls[id]
            told.append({**event_of(id), "state": "stopped"})
        else:
            self.urls[id] = url
            told.append(event_of(id))
        overlap = {"overlap": True} if what == "update_forward" else {}
        return [*told, {**answer, "forward": id, **overlap}]


def event_of(id: str) -> dict[str, Any]:
    return {"event": "forward", "forward": id, "kind": "rtmp", "state": "live", "url": "****"}


def serve(
    client: socket.socket, what: str, path: Path, ready: dict[str, object], forwards: Forwards
) -> None:
    for event in (
        ready,
        {"event": "input", "state": "waiting", "since_s": 0.0},
        {"event": "of_a_newer_version", "more": 1},
        *forwards.events(),
    ):
        client.sendall(json.dumps(event).encode() + b"\n")
    if what == "leaver":
        path.unlink()
        os._exit(0)
    for line in client.makefile("rb"):
        command = json.loads(line)
        if "forward" in command["cmd"] or command["cmd"] == "configure":
            settings = {name: value for name, value in command.items() if name not in ("url", "id")}
            print("2026-01-31T12:00:00.000Z INFO    fake did", json.dumps(settings), flush=True)
            for event in forwards.carry_out(command):
                client.sendall(json.dumps(event).encode() + b"\n")
        if command["cmd"] == "stop" and what not in ("deaf", "stubborn"):
            reason = command.get("reason", "eos")
            if what == "talker":
                error = json.dumps({"event": "error", "message": "x" * 100, "code": "x"}).encode()
                client.sendall((error + b"\n") * 1000)
            stopped = json.dumps({"event": "stopped", "reason": reason})
            print("2026-01-31T12:00:00.000Z INFO    stopped:", reason, flush=True)
            client.sendall(stopped.encode() + b"\n")
            if what != "littering":
                path.unlink()
            os._exit(0 if reason == "eos" else 10)


def crash(status_and_words: str) -> None:
    signal.sigwait({signal.SIGUSR1})
    leave(status_and_words)


def leave(status_and_words: str) -> NoReturn:
    status, _, words = status_and_words.partition(":")
    if words:
        print(words, file=sys.stderr, flush=True)
    os._exit(int(status))


if __name__ == "__main__":
    main()
