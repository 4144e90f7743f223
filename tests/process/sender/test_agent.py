"""The agent as a process, against ``strata control`` as a process."""

from __future__ import annotations

import json
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from support.children import until
from support.control import Api, Json, eventually, place
from support.control_alone import ControlAlone
from support.sender import Sender

DEADLINE_S = 60.0


class Field:
    """A control plane, somebody who is logged in there, and a box."""

    def __init__(self, control: ControlAlone, api: Api, box: Sender, made: Json) -> None:
        self.control, self.api, self.box = control, api, box
        self.id: str = made["id"]
        self.token: str = made["enrollment_token"]

    async def sender(self) -> Json:
        answer = await self.api.http.get(f"/api/senders/{self.id}")
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    async def until(self, holds: Callable[[Json], object], what: str) -> Json:
        """What control says of the box, once that is so."""
        found: Json = {}

        async def look() -> bool:
            found.update(await self.sender())
            assert self.box.child.status is None, self.box.said()
            return bool(holds(found))

        try:
            await eventually(look, DEADLINE_S, what)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; {found}; {self.box.said()}") from None
        return found

    async def online(self) -> Json:
        return await self.until(
            lambda found: found["online"] and found["uptime_s"] is not None, "it is here"
        )

    async def begin(self, **more: object) -> Json:
        body = {"record": True, "sender_id": self.id, "source": {"mode": "test"}, **more}
        answer = await self.api.http.post("/api/streams", json=body)
        assert answer.status_code == 201, (answer.text, self.box.said())
        found: Json = answer.json()
        return found

    async def does(self, state: str | None, stream_id: str) -> Json:
        def holds(found: Json) -> bool:
            told = found["stream_state"]
            if state is None:
                return told is None
            return told is not None and (told["stream_id"], told["state"]) == (stream_id, state)

        return await self.until(holds, f"{stream_id} is {state}")

    async def events(self, type: str) -> list[Json]:
        found = (await self.api.http.get("/api/events?limit=1000")).json()
        return [each for each in found if each["type"] == type]


@pytest.fixture
async def field(tmp_path: Path) -> AsyncIterator[Field]:
    with place() as here:
        async with ControlAlone(here) as control, await control.log_in() as api:
            answer = await api.http.post("/api/senders", json={"name": "Van"})
            assert answer.status_code == 201, answer.text
            box = Sender(tmp_path, control.url)
            found = Field(control, api, box, answer.json())
            try:
                yield found
            finally:
                if hasattr(box, "child"):
                    await box.child.end()


async def test_a_box_enrols_once_and_comes_back_without_its_token(field: Field) -> None:
    field.box.enroll(field.token)
    found = await field.online()
    assert found["cpu_percent"] is None or 0.0 <= found["cpu_percent"] <= 100.0
    assert found["stream_state"] is None
    kept = field.box.state / "identity.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert json.loads(kept.read_text())["sender_id"] == field.id
    assert "logged in at control as Van" in field.box.said()
    assert await field.box.end() == 0
    await eventually(lambda: _is(field, online=False), DEADLINE_S, "control knows that it has gone")
    field.box.start()
    await field.online()
    for secret in (field.token, json.loads(kept.read_text())["device_token"]):
        assert secret not in field.box.said()
    assert "Traceback" not in field.box.said()


async def _is(field: Field, *, online: bool) -> bool:
    return bool((await field.sender())["online"] is online)


async def test_a_broadcast_from_start_to_stop(field: Field) -> None:
    field.box.enroll(field.token)
    await field.online()
    stream = await field.begin()
    found = await field.does("running", stream["id"])
    await field.until(
        lambda found: found["stats"] is not None and found["stats"]["uptime_s"] > 1.0,
        "it tells numbers",
    )
    assert found["stream_id"] == stream["id"]
    assert [link["id"] for link in (await field.sender())["stats"]["links"]] in (["1", "2"], [])
    await field.api.stop(stream["id"])
    found = await field.does(None, stream["id"])
    assert found["stats"] is None
    assert "Traceback" not in field.box.said()


async def test_control_is_killed_and_the_broadcast_goes_on(field: Field) -> None:
    field.box.enroll(field.token)
    await field.online()
    stream = await field.begin()
    await field.does("running", stream["id"])
    began = (await field.until(lambda it: it["stats"], "it tells numbers"))["stats"]["uptime_s"]
    await field.control.kill()
    await until(lambda: "what is sent goes on" in field.box.said(), DEADLINE_S, "it says so")
    field.control.start()
    await field.control.ready()
    found = await field.until(
        lambda it: it["online"] and it["stream_state"] and it["stats"], "it is back"
    )
    assert found["stream_state"]["state"] == "running"
    assert found["stats"]["uptime_s"] > began  # the same one
    assert not await field.events("sender_started_again")
    await field.api.stop(stream["id"])
    await field.does(None, stream["id"])


async def test_the_box_is_killed_and_is_told_again(field: Field) -> None:
    field.box.enroll(field.token)
    await field.online()
    stream = await field.begin()
    await field.does("running", stream["id"])
    await field.box.kill()
    field.box.start()
    await eventually(lambda: _noted(field, "sender_started_again"), DEADLINE_S, "it is told again")
    await field.does("running", stream["id"])
    await field.api.stop(stream["id"])
    await field.does(None, stream["id"])


async def _noted(field: Field, type: str) -> bool:
    return bool(await field.events(type))


async def test_a_box_that_is_told_to_end_says_so(field: Field) -> None:
    field.box.enroll(field.token)
    await field.online()
    stream = await field.begin()
    await field.does("running", stream["id"])
    assert await field.box.end() == 0
    [noted] = await field.events("sender_ended")
    assert noted["data"]["reason"] == "shutdown"
    assert noted["data"]["total_bytes"] > 0
    await field.api.stop(stream["id"])


async def test_what_is_wrong_is_refused_and_the_box_stays(field: Field) -> None:
    field.box.enroll(field.token)
    await field.online()
    for source, words in (
        ({"mode": "file", "path": "/etc/passwd"}, "this sender offers no files"),
        ({"mode": "v4l2", "device": "/dev/sda"}, "is no camera"),
        ({"mode": "uri", "uri": "file:///etc/passwd"}, "none that a sender opens"),
    ):
        answer = await field.api.http.post(
            "/api/streams", json={"record": True, "sender_id": field.id, "source": source}
        )
        assert answer.status_code == 409, answer.text
        assert words in answer.text
    assert (await field.sender())["online"]
    stream = await field.begin()
    await field.does("running", stream["id"])
    await field.api.stop(stream["id"])


async def test_an_enrollment_token_that_was_used_ends_it_with_a_word(field: Field) -> None:
    field.box.enroll(field.token)
    await field.online()
    assert await field.box.end() == 0
    (field.box.state / "identity.json").unlink()
    field.box.enroll(field.token)
    assert await field.box.child.wait(DEADLINE_S) == 2
    assert "error: this machine is not let in: the enrollment token is not valid" in (
        field.box.said()
    )
    assert "Traceback" not in field.box.said()


async def test_a_box_that_is_known_no_more_says_what_to_do_and_stays(field: Field) -> None:
    field.box.enroll(field.token)
    await field.online()
    removed = await field.api.http.delete(f"/api/senders/{field.id}")
    assert removed.status_code == 204, removed.text
    await until(
        lambda: "control does not know this machine" in field.box.said(), DEADLINE_S, "it says so"
    )
    assert field.box.child.status is None


async def test_two_on_one_state_folder_are_one_too_many(field: Field, tmp_path: Path) -> None:
    field.box.enroll(field.token)
    await field.online()
    second = Sender(tmp_path, field.control.url)
    second.start()
    assert await second.child.wait(DEADLINE_S) == 2
    assert "another strata-sender runs on" in second.said()


async def test_a_box_without_anything_says_what_is_missing(tmp_path: Path) -> None:
    box = Sender(tmp_path, "http://127.0.0.1:9")
    box.start()
    assert await box.child.wait(DEADLINE_S) == 2
    assert "this machine is not enrolled" in box.said()
    box.config.write_text(box.config.read_text().replace("127.0.0.1", "192.0.2.1"))
    box.start()
    assert await box.child.wait(DEADLINE_S) == 2
    assert "this way is not encrypted" in box.said()
