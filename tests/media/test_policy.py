"""What is done when little arrives, with a worker, a sender and a platform."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.broadcasts import Broadcasts, is_live
from support.control import Json, Place, StrataUp, place
from support.nginx import Nginx

LITTLE = {"slate_below_kbps": 9000, "back_above_kbps": 10000, "for_s": 1.0, "back_for_s": 1.0}
ENOUGH = {"slate_below_kbps": 300, "back_above_kbps": 400, "for_s": 1.0, "back_for_s": 1.0}
"""What comes has about 5.4 Mbps."""


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as one:
        yield one


def shows_the_slate(stream: Json) -> bool:
    return bool(stream["program"]["video"] == "slate" and stream["state"] == "degraded")


async def test_the_slate_comes_and_goes_by_what_arrives(
    here: Place, tmp_path: Path, small_file: Path
) -> None:
    async with (
        Nginx(tmp_path / "nginx") as nginx,
        Broadcasts(tmp_path, nginx) as field,
        StrataUp(here, environment={"STRATA_FORWARD__ALLOW_PRIVATE": "true"}) as up,
        await up.log_in() as api,
    ):
        started = await field.begin(api, small_file, 600, slate="on")
        id = started["id"]
        await field.all_live(api)
        path = f"/api/streams/{id}/policy"
        assert (await api.http.put(path, json=LITTLE)).status_code == 200
        shown = await api.until(id, shows_the_slate, "viewers see the slate")
        assert shown["slate_held"]
        assert [each["state"] for each in shown["forwards"]] == ["live"]
        alerts = (await api.http.get("/api/alerts", params={"open": True})).json()
        assert "low_bitrate" in {each["kind"] for each in alerts if each["subject"] == id}

        assert (await api.http.put(path, json=ENOUGH)).status_code == 200
        back = await api.until(id, is_live, "the picture is back")
        assert not back["slate_held"]
        assert back["program"]["video"] == "live"
        alerts = (await api.http.get("/api/alerts", params={"open": True})).json()
        assert not [each for each in alerts if each["subject"] == id and each["kind"] != "slate"]
        await api.stop(id)
        assert len(await nginx.finished()) == 1, "one session throughout"
