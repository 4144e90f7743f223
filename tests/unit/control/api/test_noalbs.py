from __future__ import annotations

import msgspec

from strata.control.roles import User
from unit.control.api.stage import ApiStage, is_problem
from unit.control.stage import OTHER, OWNER
from unit.control.test_alerts import on_air
from unit.control.test_troubles import link, stats

TRIPS = ((15000, 40.0), (15002, 60.0))
UP = [msgspec.structs.replace(link(port, "up"), rtt_ms=rtt) for port, rtt in TRIPS]
STATS = msgspec.structs.replace(stats(*UP, link(15004)), bitrate_in_kbps=5120.0)


async def key(api: ApiStage, user: User = OWNER) -> str:
    return (await api.log_in(user))["Authorization"].removeprefix("Bearer ")


async def test_what_arrives_as_noalbs_reads_it(api: ApiStage) -> None:
    token = await key(api)
    answer = await api.http.get("/api/noalbs", params={"token": token})
    assert answer.json() == {"receiver-stats": None}
    id = await on_air(api.stage)
    answer = await api.http.get("/api/noalbs", params={"token": token})
    assert answer.json() == {"receiver-stats": None}, "nothing has been measured"
    await api.stage.hear(id, STATS)
    for stream in ({}, {"stream": id}, {"stream": "Derby"}):
        answer = await api.http.get("/api/noalbs", params={"token": token, **stream})
        [peer] = answer.json()["receiver-stats"]["flowinstant"]["peers"]
        # As NOALBS computes it (src/stream_servers/rist.rs).
        assert peer["stats"]["bitrate"] // 1024 == 5000
        assert peer["stats"]["rtt"] == 50.0
        assert all(isinstance(peer["stats"][name], int) for name in ("bitrate", "avg_bitrate"))
    api.host.connected = False
    answer = await api.http.get("/api/noalbs", params={"token": token})
    assert answer.json() == {"receiver-stats": None}, "what was said last may not hold"


async def test_only_what_the_token_may_see(api: ApiStage) -> None:
    await api.stage.hear(await on_air(api.stage), STATS)
    answer = await api.http.get("/api/noalbs", params={"token": await key(api, OTHER)})
    assert answer.json() == {"receiver-stats": None}
    answer = await api.http.get("/api/noalbs", params={"token": "tok_x.y"})
    assert is_problem(answer, 401, "unauthorized")
    assert is_problem(await api.http.get("/api/noalbs"), 401, "unauthorized")
