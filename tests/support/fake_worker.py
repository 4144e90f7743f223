"""A worker that behaves as it is told to, for tests of what watches over workers.

    python -I fake_worker.py MODE SOCKET STREAM_ID PORT,PORT [ANYTHING]

Modes: ``obedient``; ``deaf`` (does not hear ``stop``); ``stubborn`` (nor SIGTERM); ``silent``
(never serves its socket); ``leaver`` (ends by itself with status 0 right after ``ready``);
``littering`` (leaves its socket behind); ``exit:STATUS:WORDS`` (ends at once);
``crash:STATUS:WORDS`` (the same, but when it gets SIGUSR1); ``talker`` (has a lot to say when
it is stopped).
"""

import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import NoReturn
from zlib import crc32


def main() -> None:
    mode, path, stream_id, ports = sys.argv[1:5]
    secrets = sys.stdin.readline()
    print("2026-01-31T12:00:00.000Z INFO    fake got", crc32(secrets.encode()), flush=True)
    what, _, more = mode.partition(":")
    if what == "exit":
        leave(more)
    if what == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if what == "crash":
        signal.signal(signal.SIGUSR1, lambda number, frame: leave(more))
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
        threading.Thread(target=serve, args=(client, what, Path(path), ready)).start()


def serve(client: socket.socket, what: str, path: Path, ready: dict[str, object]) -> None:
    for event in (
        ready,
        {"event": "input", "state": "waiting", "since_s": 0.0},
        {"event": "of_a_newer_version", "more": 1},
    ):
        client.sendall(json.dumps(event).encode() + b"\n")
    if what == "leaver":
        path.unlink()
        os._exit(0)
    for line in client.makefile("rb"):
        command = json.loads(line)
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


def leave(status_and_words: str) -> NoReturn:
    status, _, words = status_and_words.partition(":")
    if words:
        print(words, file=sys.stderr, flush=True)
    os._exit(int(status))


if __name__ == "__main__":
    main()
