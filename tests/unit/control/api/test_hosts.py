from __future__ import annotations

from unit.control.api.stage import ApiStage, is_problem
from unit.control.stage import ADMIN, OWNER


async def test_a_host_that_is_draining_takes_no_new_stream(api: ApiStage) -> None:
    login, admin = await api.log_in(OWNER), await api.log_in(ADMIN)
    id = (await api.start(login)).json()["id"]
    for _ in range(2):  # the second changes nothing
        answer = await api.http.post("/api/hosts/local/drain", headers=admin)
        assert (answer.status_code, answer.json()["draining"]) == (200, True)
    refused = await api.start(login)
    assert is_problem(refused, 503, "no_capacity")
    assert "draining" in refused.json()["detail"]
    [host] = (await api.http.get("/api/hosts", headers=login)).json()
    assert (host["id"], host["draining"]) == ("local", True)
    # What runs goes on, and a restart of the control plane does not forget it.
    assert id in api.host.running
    await api.stage.restart()
    hosts = api.stage.platform.hosts
    assert await hosts.is_draining("local")
    await hosts.drain(ADMIN, "local", is_draining=False)
    assert not await hosts.is_draining("local")


async def test_draining_ends(api: ApiStage) -> None:
    login, admin = await api.log_in(OWNER), await api.log_in(ADMIN)
    await api.http.post("/api/hosts/local/drain", headers=admin)
    await api.http.post("/api/hosts/local/undrain", headers=admin)
    assert (await api.start(login)).status_code == 201
    events = (await api.http.get("/api/events", headers=admin)).json()
    told = [each["type"] for each in events if each["subject"] == "local"]
    assert told == ["host_drain", "host_undrain"]


async def test_that_is_for_administrators_and_hosts_that_there_are(api: ApiStage) -> None:
    login, admin = await api.log_in(OWNER), await api.log_in(ADMIN)
    for what in ("drain", "undrain"):
        answer = await api.http.post(f"/api/hosts/local/{what}", headers=login)
        assert is_problem(answer, 403, "not_allowed")
        answer = await api.http.post(f"/api/hosts/nowhere/{what}", headers=admin)
        assert is_problem(answer, 404, "not_found")
