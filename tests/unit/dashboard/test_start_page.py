from __future__ import annotations

import json

from nicegui.client import Client

from strata.control.roles import User
from strata.dashboard.overview import Overview
from strata.dashboard.seat import Seat
from strata.dashboard.start_page import StartPanel, inputs
from strata.wire import agent
from unit.control.stage import KEY, OTHER, OWNER, PASSWORD, URL, VIEWER, Stage
from unit.dashboard.asking import ask, refused


async def panel(stage: Stage, client: Client, user: User = OWNER) -> StartPanel:
    token, who = await stage.platform.logins.log_in(user.email, PASSWORD, "192.0.2.1")
    with client:
        return StartPanel(Seat(stage.platform, Overview(stage.platform), token, who))


async def test_a_start_tells_once_what_the_encoder_needs(stage: Stage, client: Client) -> None:
    one = await panel(stage, client)
    told = await ask(one, "start", name="Derby", forward_to=[URL], encoder={"codec": "h265"})
    row = await stage.only_row()
    assert (told["id"], row.state, row.name) == (row.id, "waiting", "Derby")
    assert len(told["recipe"]["addresses"]) == 2
    assert told["recipe"]["psk"] in told["recipe"]["ristsender"]
    assert KEY not in json.dumps(told), "the key of the platform is told to nobody"


async def test_what_is_asked_of_other_encoders_is_for_the_preflight_alone(
    stage: Stage, client: Client
) -> None:
    one = await panel(stage, client)
    asked = {
        "forward_to": [URL],
        "encoder": {"codec": "h265", "keyint_max": 300, "fps": 25},
        "source": {"mode": "test", "audio": False},
    }
    found = await ask(one, "check", **asked)
    assert "error" in {each["severity"] for each in found}
    assert any("H.265" in each["message"] for each in found)
    assert stage.host.running == {}, "asking starts nothing"
    await ask(one, "start", **asked)


async def test_what_cannot_be_is_refused_in_words(stage: Stage, client: Client) -> None:
    one = await panel(stage, client)
    assert "would go nowhere" in await refused(one, "start")
    assert "links" in await refused(one, "start", forward_to=[URL], links=99)
    problem = await refused(one, "start", forward_to=[f"rtmp://nowhere.invalid/{KEY}", "nonsense"])
    assert KEY not in problem


async def test_a_viewer_starts_nothing(stage: Stage, client: Client) -> None:
    one = await panel(stage, client, VIEWER)
    for what in ("start", "check"):
        assert "role of an operator" in await refused(one, what, forward_to=[URL])
    assert stage.host.asked == []


async def test_choices_are_those_of_the_user(stage: Stage, client: Client) -> None:
    await stage.platform.senders.add(OWNER, "The van")
    await stage.platform.destinations.add(OWNER, "Channel", URL, None)
    mine = await ask(await panel(stage, client), "choices")
    assert [(each["name"], each["online"]) for each in mine["senders"]] == [("The van", False)]
    assert [each["name"] for each in mine["destinations"]] == ["Channel"]
    assert KEY not in json.dumps(mine)
    theirs = await ask(await panel(stage, client, OTHER), "choices")
    assert theirs == {"senders": [], "destinations": []}


def test_inputs_of_a_sender() -> None:
    assert inputs(None) == inputs(agent.Status()) == []
    found = [
        agent.MediaInput("v4l2", "/dev/video0"),
        agent.MediaInput("uri", "source://front", "The front"),
        agent.MediaInput("new", "x"),
    ]
    assert inputs(agent.Status(media_inputs=found)) == [
        {"source": {"mode": "v4l2", "device": "/dev/video0"}, "name": "/dev/video0"},
        {"source": {"mode": "uri", "uri": "source://front"}, "name": "The front"},
    ]
