"""What is told, by `strata up` as it runs: over a socket, to Prometheus, to a webhook."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from fastapi import FastAPI, Request
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import connect

from support.control import StrataUp, place
from support.served import served

DEADLINE_S = 60.0


async def test_a_stream_is_told_of_everywhere() -> None:
    heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    app = FastAPI()

    @app.post("/")
    async def take(request: Request) -> None:
        assert request.headers["x-strata-signature"].startswith("t=")
        heard.put_nowait(await request.json())

    with place() as here:
        async with (
            served(app) as address,
            StrataUp(here, ports=16, environment={"STRATA_FORWARD__ALLOW_PRIVATE": "true"}) as up,
            await up.log_in() as api,
        ):
            body = {"url": f"http://{address}/", "types": ["state"]}
            answer = await api.http.post("/api/webhooks", json=body)
            assert answer.status_code == 201, answer.text
            login = {"Authorization": f"Bearer {api.token}"}
            socket = await connect(
                f"{up.url.replace('http', 'ws', 1)}/api/ws", additional_headers=login, proxy=None
            )
            await socket.send(json.dumps({"subscribe": ["streams"]}))
            first = json.loads(await asyncio.wait_for(socket.recv(), DEADLINE_S))
            assert (first["type"], first["data"]) == ("snapshot", [])
            policy = {"slate_below_kbps": 500, "back_above_kbps": 800}
            answer = await api.http.post("/api/streams", json={"record": True, "policy": policy})
            assert answer.status_code == 201, answer.text
            id = answer.json()["id"]
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    told = json.loads(await socket.recv())
                    if told["data"]["id"] == id and told["data"]["stats"]:
                        break
                delivered = await heard.get()
            assert (delivered["subject"], delivered["data"]["to"]) == (id, "waiting")
            metrics = (await api.http.get("/metrics")).text
            samples = [
                (sample.name, sample.labels)
                for family in text_string_to_metric_families(metrics)
                for sample in family.samples
            ]
            assert ("strata_stream_uptime_seconds", {"stream": id}) in samples
            async with asyncio.timeout(DEADLINE_S):
                while not (await api.http.get(f"/api/streams/{id}/stats")).json()["samples"]:
                    await asyncio.sleep(0.2)
            # The socket stays open: it must not hold up the end.
        await here.nothing_runs()
