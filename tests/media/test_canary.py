"""Every secret that there is, and every place where one may be seen that should not be."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import websockets

from support.control import PASSWORD, Api, Place, StrataUp, place
from support.media import RistSender
from support.nginx import Nginx
from support.ports import free_tcp_port
from support.postgres import Postgres, postgres

KEY: Final = "canary-stream-key"
QUERY: Final = "canary-in-the-query"
PASSPHRASE: Final = "canary-passphrase"
DESTINATION_KEY: Final = "canary-destination-key"
WEBHOOK_KEY: Final = "canary-webhook-path"
OPERATOR_PASSWORD: Final = "canary-password-of-an-operator"
DATABASE_PASSWORD: Final = "canary-password-of-the-database"


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as one:
        yield one


@pytest.fixture
def server() -> Iterator[Postgres]:
    with postgres() as one:
        yield one


@pytest.fixture(autouse=True)
def _core_files() -> Iterator[None]:
    """As on a machine that keeps them."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, before)


async def ask(api: Api, method: str, path: str, body: Any = None, status: int = 201) -> Any:
    answer = await api.http.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


async def enrol(url: str, token: str) -> str:
    """As a box in the field does; its device token."""
    async with websockets.connect(url.replace("http", "ws") + "/agent/ws", proxy=None) as agent:
        payload = {"enrollment_token": token, "agent_version": "1", "hostname": "x", "arch": "y"}
        frame = {"id": "1", "type": "auth.login", "ts": "2026-01-31T12:00:00Z", "payload": payload}
        await agent.send(json.dumps(frame))
        async with asyncio.timeout(10.0):
            answer = json.loads(await agent.recv())
        assert answer["payload"]["success"], answer
        return str(answer["payload"]["device_token"])


def in_proc(here: Place) -> dict[str, bytes]:
    found = {}
    for pid, command in here.processes().items():
        name = next(
            (each for each in ("up", "control", "host") if f"strata {each} " in command), ""
        )
        for file in ("cmdline", "environ"):
            try:
                found[f"{name or command[:60]} {file}"] = Path(f"/proc/{pid}/{file}").read_bytes()
            except OSError:
                continue  # it ended meanwhile
    return found


async def every_answer(api: Api, ids: dict[str, str]) -> dict[str, bytes]:
    """Of each route that tells something, for an administrator."""
    described = (await api.http.get("/api/openapi.json")).json()
    found = {}
    for path, methods in described["paths"].items():
        if "get" in methods:
            for name, id in ids.items():
                path = path.replace("{" + name + "}", id)
            found[path] = (await api.http.get(path)).content
    for path in ("/api/docs", "/api/openapi.json", "/metrics", "/readyz"):
        found[path] = (await api.http.get(path)).content
    assert len(found) > 15
    return found


def dumped(url: str) -> bytes:
    plain = url.replace("postgresql+psycopg", "postgresql")
    return subprocess.run(["pg_dump", plain], check=True, capture_output=True, timeout=60).stdout


@pytest.mark.timeout(200)
async def test_no_secret_is_seen_anywhere(
    here: Place, server: Postgres, tmp_path: Path, small_file: Path
) -> None:
    database = server.new_database()
    environment = {
        "STRATA_FORWARD__ALLOW_PRIVATE": "true",
        "STRATA_DATABASE__URL": database.replace("postgres@", f"postgres:{DATABASE_PASSWORD}@"),
        "GST_DEBUG": "*:5,rtmp*:9,srt*:9",
        "GST_DEBUG_NO_COLOR": "1",
    }
    seen: dict[str, bytes] = {}
    async with (
        Nginx(tmp_path / "nginx") as nginx,
        StrataUp(here, environment=environment) as up,
        await up.log_in() as api,
    ):
        login = api.http.headers["authorization"].partition(".")[2]
        operator = {"email": "op@example.org", "password": OPERATOR_PASSWORD, "role": "operator"}
        await ask(api, "POST", "/api/users", operator)
        token = await ask(api, "POST", "/api/tokens", {"name": "script"})
        sender = await ask(api, "POST", "/api/senders", {"name": "van"})
        device_token = await enrol(up.url, sender["enrollment_token"])
        target = {"name": "main", "url": nginx.url("x").removesuffix("/x"), "key": DESTINATION_KEY}
        destination = await ask(api, "POST", "/api/destinations", target)
        hook = {"url": f"http://127.0.0.1:{free_tcp_port()}/{WEBHOOK_KEY}"}
        webhook = await ask(api, "POST", "/api/webhooks", hook)
        started = await api.start(
            nginx.url(f"{KEY}?token={QUERY}"),
            f"srt://127.0.0.1:{free_tcp_port()}?passphrase={PASSPHRASE}",
            destinations=[destination["id"]],
            record=True,
        )
        id, psk = started["id"], started["psk"]
        async with RistSender(tmp_path / "sender", started["ports"], psk) as field:
            await field.begin(small_file, 600)
            await api.until(
                id,
                lambda stream: sum(each["state"] == "live" for each in stream["forwards"]) == 3,
                "what can be is on the air",
            )
            ids = {
                **{"stream_id": id, "stream": id, "sender_id": sender["id"]},
                **{"destination_id": destination["id"], "webhook_id": webhook["id"]},
            }
            seen |= await every_answer(api, ids)
            seen |= in_proc(here)
            os.kill(here.worker_of(id), signal.SIGABRT)
            await api.until(
                id,
                lambda stream: any(each["type"] == "worker_restart" for each in stream["events"]),
                "its crash is told",
            )
            control = up.pid_of("control")
            assert control is not None
            os.kill(control, signal.SIGABRT)
            await up.ready()
        seen |= {
            f"the stream, {n}": (await api.http.get(f"/api/streams/{id}")).content for n in "a"
        }
        await api.stop(id)
        seen["dump"] = dumped(database)
    seen |= here.texts()
    seen |= {f"cores: {path}": path.read_bytes() for path in here.folder.rglob("core*")}
    assert "dump" in seen
    assert any("environ" in name for name in seen)
    assert b"rtmpclient" in seen[f"data/logs/{id}.log"], "GStreamer's log is there"

    secrets = [
        *(KEY, QUERY, PASSPHRASE, DESTINATION_KEY, WEBHOOK_KEY, OPERATOR_PASSWORD, psk, login),
        *(PASSWORD, DATABASE_PASSWORD, webhook["secret"], device_token.partition(".")[2]),
        *(token["token"].partition(".")[2], sender["enrollment_token"].partition(".")[2]),
    ]
    assert all(len(secret) > 10 for secret in secrets), "an empty one is everywhere"
    assert not [path for path in here.folder.rglob("core*") if path.is_file()]
    # Where the operator has put it: in the environment of what needs it.
    allowed = {
        (name, secret)
        for name in ("up environ", "control environ")
        for secret in (PASSWORD, DATABASE_PASSWORD)
    }
    found = {
        (name, secret)
        for name, content in seen.items()
        for secret in secrets
        if secret.encode() in content
    }
    assert found <= allowed, found - allowed
    seal = (here.data / "seal.key").read_bytes()
    for name, content in seen.items():
        forms = (seal, seal.hex().encode())
        assert name == "data/seal.key" or not [form for form in forms if form in content], name
