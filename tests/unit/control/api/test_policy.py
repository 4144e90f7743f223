from __future__ import annotations

from typing import Any

import pytest

from unit.control.api.stage import ApiStage, is_problem
from unit.control.stage import OWNER

POLICY = {"alarm_below_kbps": 2500, "slate_below_kbps": 800, "back_above_kbps": 3000}
WHOLE = {**POLICY, "for_s": 3.0, "back_for_s": 5.0}


async def test_given_shown_changed_and_dropped(api: ApiStage) -> None:
    login = await api.log_in(OWNER)
    answer = await api.start(login, policy=POLICY)
    assert answer.json()["policy"] == WHOLE
    path = f"/api/streams/{answer.json()['id']}"
    body = {"slate_below_kbps": 500, "back_above_kbps": 500, "for_s": 0}
    answer = await api.http.put(f"{path}/policy", json=body, headers=login)
    assert answer.json() == {**body, "alarm_below_kbps": None, "back_for_s": 5.0}
    assert (await api.http.get(path, headers=login)).json()["policy"] == answer.json()
    assert (await api.http.delete(f"{path}/policy", headers=login)).status_code == 204
    assert (await api.http.get(path, headers=login)).json()["policy"] is None


@pytest.mark.parametrize(
    "body",
    [
        {"back_above_kbps": 3000},
        {**POLICY, "slate_below_kbps": 2600},
        {**POLICY, "back_above_kbps": 2400},
        {**POLICY, "for_s": -1},
        {**POLICY, "alarm_below_kbps": 0},
    ],
)
async def test_what_is_no_policy(api: ApiStage, body: dict[str, Any]) -> None:
    login = await api.log_in(OWNER)
    assert is_problem(await api.start(login, policy=body), 422, "bad_request")
