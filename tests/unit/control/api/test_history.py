from __future__ import annotations

from unit.control.api.stage import ApiStage, is_problem
from unit.control.stage import OTHER, OWNER
from unit.control.test_alerts import on_air
from unit.control.test_history import STATS


async def test_the_numbers_of_a_stream(api: ApiStage) -> None:
    login = await api.log_in(OWNER)
    id = await on_air(api.stage)
    await api.stage.hear(id, STATS)
    await api.stage.platform.history.sample()
    answer = await api.http.get(f"/api/streams/{id}/stats", headers=login)
    told = answer.json()
    assert (told["stream_id"], told["interval_s"], len(told["samples"])) == (id, 5.0, 1)
    assert told["samples"][0]["buffer_ms"] is None
    later = await api.http.get(
        f"/api/streams/{id}/stats", params={"since": "2090-01-01T00:00:00Z"}, headers=login
    )
    assert later.json()["samples"] == []
    answer = await api.http.get(f"/api/streams/{id}/stats?since=yesterday", headers=login)
    assert is_problem(answer, 422, "bad_request")
    answer = await api.http.get(f"/api/streams/{id}/stats", headers=await api.log_in(OTHER))
    assert is_problem(answer, 404, "not_found")
