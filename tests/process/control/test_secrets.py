"""Where keys may be seen while a stream runs, and after it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.control import PASSWORD, Place, StrataUp, place
from support.ports import free_tcp_port

KEY = "canary-stream-key"
USER_KEY = "canary-user-info"
QUERY_KEY = "canary-in-the-query"


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as one:
        yield one


def dump(database: Path) -> str:
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        return "\n".join(connection.iterdump())
    finally:
        connection.close()


def in_proc(here: Place) -> dict[str, bytes]:
    found = {}
    for pid in here.processes():
        for name in ("cmdline", "environ"):
            try:
                found[f"{pid} {name}"] = Path(f"/proc/{pid}/{name}").read_bytes()
            except OSError:
                continue  # it ended meanwhile
    return found


def is_for_one_user(path: Path) -> bool:
    found = path.stat()
    return found.st_mode & 0o077 == 0 and found.st_uid == os.geteuid()


async def test_keys_are_seen_by_nobody(here: Place) -> None:
    async with StrataUp(here, environment={"STRATA_FORWARD__ALLOW_PRIVATE": "true"}) as one:
        async with await one.log_in() as api:
            token = api.http.headers["authorization"].removeprefix("Bearer ")
            target = f"127.0.0.1:{free_tcp_port()}"
            answer = await api.http.post(
                "/api/streams",
                json={
                    "forward_to": [
                        f"rtmp://{target}/live/{KEY}",
                        f"rtmp://{USER_KEY}:{USER_KEY}@{target}/live/{KEY}?auth={QUERY_KEY}",
                    ],
                    "record": True,
                },
            )
            assert answer.status_code == 201
            psk = answer.json()["psk"]
            assert answer.text.count(psk) == 3  # itself, and once per link in the line
            answers = [answer.text.replace(psk, "")]
            id = answer.json()["id"]
            stream = await api.until(
                id,
                lambda stream: len(stream["forwards"]) == 3 and stream["stats"],
                "the worker tells of every forward, and its numbers",
            )
            assert f"rtmp://{target}/live/****" in [each["url"] for each in stream["forwards"]]
            bad = f"rtmp://{target}/{KEY}"
            for method, path, body in (
                ("GET", f"/api/streams/{id}", None),
                ("GET", "/api/streams", None),
                ("POST", "/api/streams", {"forward_to": [bad]}),
                ("POST", "/api/streams", {"forward_to": [f"x://{KEY}"], "links": KEY}),
                ("POST", "/api/auth/login", {"email": "x", "password": KEY}),
                ("POST", "/api/auth/login", {"email": "x", "password": [KEY]}),
            ):
                answers.append((await api.http.request(method, path, json=body)).text)
            processes = in_proc(here)
            assert len([name for name in processes if "cmdline" in name]) == 4
            for path in (here.data, here.data / "media", here.data / "logs", here.run):
                assert is_for_one_user(path), path
            for path in (here.data / "seal.key", here.data / "logs" / f"{id}.log"):
                assert is_for_one_user(path), path
            assert len(here.sockets()) == 2
            assert all(is_for_one_user(here.run / name) for name in here.sockets())
            while_it_runs = here.texts()
            told = dump(here.data / "strata.db")
            answers.append((await api.http.post(f"/api/streams/{id}/stop")).text)
        assert await one.stop() == 0
    after = here.texts()
    assert {"data/strata.db", "data/strata.db-wal", "data/seal.key", "up.log"} <= set(while_it_runs)
    assert f"data/logs/{id}.log" in after
    assert "str_" in told

    seen = {f"answer {number}": text.encode() for number, text in enumerate(answers)}
    seen |= processes | {"dump": told.encode()}
    seen |= {f"{name} while it runs": content for name, content in while_it_runs.items()}
    seen |= {f"{name} afterwards": content for name, content in after.items()}
    for secret in (psk, KEY, USER_KEY, QUERY_KEY):
        assert not [name for name, content in seen.items() if secret.encode() in content]
    # What people log in with is in the environment that they set it in, and nowhere else.
    for secret in (PASSWORD, token.partition(".")[2]):
        assert not [
            name
            for name, content in seen.items()
            if secret.encode() in content and not name.endswith("environ")
        ]
    workers = [name for name, content in processes.items() if b"--secrets-stdin" in content]
    assert len(workers) == 1
    pid = workers[0].split()[0]
    assert PASSWORD.encode() not in processes[f"{pid} environ"]
