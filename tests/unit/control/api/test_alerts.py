from __future__ import annotations

from unit.control.api.stage import ApiStage, is_problem
from unit.control.stage import OTHER, OWNER, VIEWER
from unit.control.test_alerts import FAILED, on_air


async def test_what_is_wrong_is_listed_and_acknowledged(api: ApiStage) -> None:
    login = await api.log_in(OWNER)
    id = await on_air(api.stage)
    await api.stage.hear(id, FAILED)
    await api.stage.platform.alerts.look()
    answer = await api.http.get("/api/alerts", params={"open": True}, headers=login)
    [alert] = answer.json()
    assert (alert["subject"], alert["kind"], alert["port"]) == (id, "forward_failed", None)
    answer = await api.http.post(f"/api/alerts/{alert['id']}/ack", headers=login)
    assert answer.json()["acked_by"] == OWNER.id
    assert (await api.http.get("/api/alerts?open=false", headers=login)).json() == []
    assert (await api.http.get("/api/alerts?subject=str_x", headers=login)).json() == []


async def test_another_users_alerts_are_not_there(api: ApiStage) -> None:
    id = await on_air(api.stage)
    await api.stage.hear(id, FAILED)
    await api.stage.platform.alerts.look()
    [alert] = await api.stage.platform.alerts.visible_to(OWNER, True, None, 10)
    login = await api.log_in(OTHER)
    assert (await api.http.get("/api/alerts", headers=login)).json() == []
    answer = await api.http.post(f"/api/alerts/{alert.id}/ack", headers=login)
    assert is_problem(answer, 404, "not_found")
    viewer = await api.log_in(VIEWER)
    answer = await api.http.post(f"/api/alerts/{alert.id}/ack", headers=viewer)
    assert is_problem(answer, 403, "not_allowed")
