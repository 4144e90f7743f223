from __future__ import annotations

from unit.control.api.stage import ApiStage, is_problem
from unit.control.stage import OTHER, OWNER, VIEWER


async def test_from_the_first_to_the_last(api: ApiStage, unused_tcp_port: int) -> None:
    login = await api.log_in(OWNER)
    body = {"url": f"http://127.0.0.1:{unused_tcp_port}/canary", "types": ["state"]}
    answer = await api.http.post("/api/webhooks", json=body, headers=login)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["secret"].startswith("whsec_")
    listed = await api.http.get("/api/webhooks", headers=login)
    assert "canary" not in listed.text
    assert "whsec" not in listed.text
    path = f"/api/webhooks/{made['id']}"
    tested = await api.http.post(f"{path}/test", headers=login)
    assert tested.json()["error"].startswith("not reached")
    deliveries = (await api.http.get(f"{path}/deliveries", headers=login)).json()
    assert [(each["type"], each["attempts"]) for each in deliveries] == [("test", 1)]
    other = await api.log_in(OTHER)
    assert is_problem(await api.http.delete(path, headers=other), 404, "not_found")
    assert (await api.http.delete(path, headers=login)).status_code == 204
    assert (await api.http.get("/api/webhooks", headers=login)).json() == []


async def test_what_cannot_be_a_webhook(api: ApiStage) -> None:
    login = await api.log_in(OWNER)
    answer = await api.http.post("/api/webhooks", json={"url": "ftp://host/"}, headers=login)
    assert is_problem(answer, 422, "bad_url")
    viewer = await api.log_in(VIEWER)
    answer = await api.http.post("/api/webhooks", json={"url": "http://host/"}, headers=viewer)
    assert is_problem(answer, 403, "not_allowed")
