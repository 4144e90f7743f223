from __future__ import annotations

import pytest

from strata.secrets import Secret
from strata.wire import agent as wire
from support.children import until
from unit.control.api.stage import ApiStage, is_problem
from unit.control.field import DEADLINE_S, FakeAgent
from unit.control.stage import OTHER, OWNER, URL, VIEWER


async def add(api: ApiStage, login: dict[str, str]) -> dict[str, str]:
    answer = await api.http.post("/api/senders", json={"name": "Van"}, headers=login)
    assert answer.status_code == 201, answer.text
    made: dict[str, str] = answer.json()
    return made


async def test_the_token_of_a_new_sender_is_told_once(api: ApiStage) -> None:
    login = await api.log_in(OWNER)
    made = await add(api, login)
    assert made["enrollment_token"].startswith(made["id"] + ".")
    listed = (await api.http.get("/api/senders", headers=login)).json()
    assert listed == [{key: made[key] for key in made if key != "enrollment_token"}]
    assert (made["online"], made["seen_at"], made["hostname"]) == (False, None, None)
    one = await api.http.get(f"/api/senders/{made['id']}", headers=login)
    assert one.json() == listed[0]
    again = await api.http.post(f"/api/senders/{made['id']}/enroll", headers=login)
    assert again.status_code == 201
    assert again.json()["enrollment_token"] != made["enrollment_token"]


async def test_a_sender_that_is_there_is_shown_with_what_it_tells(api: ApiStage) -> None:
    login = await api.log_in(OWNER)
    made = await add(api, login)
    token = Secret(made["enrollment_token"])
    async with FakeAgent(api.stage.platform, token, kind="enrollment") as agent:
        body = {"sender_id": made["id"], "source": {"mode": "test"}, "encoder": {"codec": "h265"}}
        started = await api.start(login, **body)
        assert started.status_code == 201, started.text
        stream = started.json()
        assert (stream["psk"], stream["sender_command"]) == (None, None)
        assert stream["source"] == {"mode": "test"}
        assert stream["encoder"] == {"codec": "h265", "bitrate_kbps": 5000, "keyint_max": 60}
        agent.report(
            network_interfaces=[wire.NetworkInterface("wwan0", "cellular")], cpu_percent=5.0
        )
        agent.say(wire.StreamStats(stream["id"], 1.0, 5000.0, [wire.LinkStats("1", "wwan0")]))
        link = api.stage.platform.agents.require(made["id"])
        await until(lambda: link.stats is not None, DEADLINE_S, "its numbers are there")
        shown = (await api.http.get(f"/api/senders/{made['id']}", headers=login)).json()
        assert (shown["online"], shown["hostname"], shown["cpu_percent"]) == (True, "box", 5.0)
        assert shown["uptime_s"] is None
        assert shown["network_interfaces"] == [
            {
                "name": "wwan0",
                "kind": "cellular",
                "is_up": None,
                "addresses": [],
                "signal_percent": None,
            }
        ]
        assert shown["media_inputs"][0]["device"] == "/dev/video0"
        assert shown["stream_id"] == stream["id"]
        assert shown["stream_state"] == {
            "stream_id": stream["id"],
            "state": "running",
            "detail": "",
        }
        assert shown["stats"]["links"][0]["interface"] == "wwan0"
        refused = await api.http.delete(f"/api/senders/{made['id']}", headers=login)
        assert is_problem(refused, 409, "conflict")
        busy = await api.start(login, **body)
        assert is_problem(busy, 409, "sender_busy")
        agent.refuses = wire.Done(False, "no_source", "there is no camera")
        await api.http.post(f"/api/streams/{stream['id']}/stop", headers=login)
        assert is_problem(await api.start(login, **body), 409, "sender_refused")
        gone = await api.http.delete(f"/api/senders/{made['id']}", headers=login)
        assert gone.status_code == 204
        assert (await agent.closed()).code == wire.CLOSE_REMOVED


async def test_others_see_nothing_of_it(api: ApiStage) -> None:
    made = await add(api, await api.log_in(OWNER))
    login = await api.log_in(OTHER)
    path = f"/api/senders/{made['id']}"
    assert (await api.http.get("/api/senders", headers=login)).json() == []
    assert is_problem(await api.http.get(path, headers=login), 404, "not_found")
    assert is_problem(await api.http.post(f"{path}/enroll", headers=login), 404, "not_found")
    assert is_problem(await api.http.delete(path, headers=login), 404, "not_found")
    refused = await api.start(login, sender_id=made["id"], source={"mode": "test"})
    assert is_problem(refused, 404, "not_found")
    viewer = await api.log_in(VIEWER)
    refused = await api.http.post("/api/senders", json={"name": "x"}, headers=viewer)
    assert is_problem(refused, 403, "not_allowed")


@pytest.mark.parametrize(
    "body",
    [
        {"source": {"mode": "test"}},
        {"encoder": {}},
        {"sender_id": "snd_1", "source": {"mode": "file"}},
        {"sender_id": "snd_1", "source": {"mode": "uri", "path": "/x"}},
        {"sender_id": "snd_1", "source": {"mode": "v4l2", "device": ""}},
        {"sender_id": "snd_1", "source": {"mode": "file", "path": "/x\n"}},
        {"sender_id": "snd_1", "source": {"mode": "telepathy"}},
        {"sender_id": "snd_1", "encoder": {"bitrate_kbps": 1}},
        {"sender_id": "snd_" + "x" * 40},
    ],
)
async def test_starts_that_cannot_be(api: ApiStage, body: dict[str, object]) -> None:
    login = await api.log_in(OWNER)
    answer = await api.http.post("/api/streams", json={"forward_to": [URL], **body}, headers=login)
    assert is_problem(answer, 422, "bad_request")
    assert not api.host.asked
