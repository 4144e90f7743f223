from __future__ import annotations

from typing import Any

import pytest
from nicegui.client import Client
from pydantic import ValidationError

from strata.dashboard import rows
from strata.dashboard.overview import Entry, Overview
from strata.dashboard.seat import Seat
from strata.dashboard.wall import SHOWN_MAX, Wall, counts, group
from strata.dashboard.words import Names
from strata.secrets import Secret
from unit.control.stage import OTHER, OWNER, Stage
from unit.dashboard.views import LIVE, PICTURE, RECEIVING, SLATE, view


@pytest.fixture
def overview(stage: Stage) -> Overview:
    """A hundred streams, of which each tenth shows its slate."""
    one = Overview(stage.platform)
    for number in range(100):
        program = PICTURE if number % 10 else SLATE
        found = view("degraded", RECEIVING, program, LIVE, name=f"Camera {number:02}")
        found.row.id = f"str_{number:02}"
        one.entries[found.row.id] = Entry(
            found.row, rows.head(found, Names(rows.forward_names(found))), rows.UNKNOWN
        )
    one.take_tick()
    return one


@pytest.fixture
def wall(stage: Stage, overview: Overview, client: Client) -> Wall:
    return Wall(Seat(stage.platform, overview, Secret("tok_x"), OWNER))


async def look(wall: Wall, **args: Any) -> Any:
    return await wall.look(wall.seat.user, args)


async def test_only_what_is_on_the_screen_is_sent(wall: Wall) -> None:
    told = await look(wall, first=0, count=8)
    assert told["counts"] == {"all": 100, "trouble": 10, "fine": 90, "waiting": 0}
    assert len(told["order"]) == 100
    assert told["order"][0] == "str_00"
    names = [head["name"] for head in told["heads"]]
    assert names == [f"Camera {number}0" for number in range(8)]
    assert set(told["points"]) == set(told["numbers"]) == set(told["order"][:8])


async def test_then_only_what_is_different(wall: Wall, overview: Overview) -> None:
    await look(wall, first=0, count=8)
    told = wall.tick()
    assert told is not None
    assert (told["heads"], told["points"], len(told["numbers"])) == ([], {}, 8)
    assert "order" not in told
    found = view("degraded", RECEIVING, SLATE, LIVE, name="Renamed")
    overview.entries["str_10"].head = {
        **rows.head(found, Names(rows.forward_names(found))),
        "id": "str_10",
    }
    told = wall.tick()
    assert told is not None
    assert [head["name"] for head in told["heads"]] == ["Renamed"]
    assert told["points"] == {}, "the browser has them"


async def test_what_comes_onto_the_screen_is_sent_whole(wall: Wall) -> None:
    await look(wall, first=0, count=8)
    told = await look(wall, first=4, count=8)
    assert len(told["heads"]) == len(told["points"]) == 4
    assert len(told["numbers"]) == 8


async def test_a_browser_that_was_away_is_sent_all_anew(wall: Wall) -> None:
    await look(wall, first=0, count=8)
    told = await look(wall, first=0, count=8, anew=True)
    assert (len(told["heads"]), len(told["order"])) == (8, 100)


@pytest.mark.parametrize(
    ("args", "count"),
    [({"tone": "trouble"}, 10), ({"tone": "waiting"}, 0), ({"search": "CAMERA 3"}, 10)],
)
async def test_what_is_looked_for(wall: Wall, args: dict[str, Any], count: int) -> None:
    told = await look(wall, first=0, count=8, **args)
    assert len(told["order"]) == count
    assert told["counts"]["all"] == 100


async def test_nobody_can_have_it_send_everything(wall: Wall) -> None:
    told = await look(wall, first=-5, count=10**9)
    assert len(told["heads"]) == SHOWN_MAX


@pytest.mark.parametrize(
    "args", [{"first": None}, {"first": "x"}, {"count": [1]}, {"count": 1e400}, {"tone": {}}]
)
async def test_what_no_browser_shows_is_refused(wall: Wall, args: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        await look(wall, **args)


async def test_another_users_streams_are_not_there(
    stage: Stage, overview: Overview, client: Client
) -> None:
    with client:
        other = Wall(Seat(stage.platform, overview, Secret("tok_x"), OTHER))
    told = await look(other, first=0, count=8)
    assert (told["order"], told["heads"], told["counts"]["all"]) == ([], [], 0)


def test_groups() -> None:
    assert [group(tone) for tone in ("bad", "warn", "good", "wait", "over")] == [
        "trouble",
        "trouble",
        "fine",
        "waiting",
        "waiting",
    ]
    assert counts([]) == {"all": 0, "trouble": 0, "fine": 0, "waiting": 0}
