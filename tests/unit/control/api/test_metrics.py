"""What Prometheus is told, parsed as Prometheus would."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_parsed
from prometheus_client.parser import text_string_to_metric_families as parsed

from strata.control.api.app import make_app
from strata.settings import Metrics
from strata.wire import worker as wire
from unit.control.api.stage import ApiStage, is_problem
from unit.control.stage import ADMIN, OTHER, OWNER
from unit.control.test_alerts import FAILED, LOAD, on_air
from unit.control.test_troubles import link, stats

DEPLOY = Path(__file__).parents[4] / "deploy"

STATS = msgspec.structs.replace(
    stats(link(15000, "up"), link(15002)),
    bitrate_in_kbps=8000.0,
    flow=wire.Flow(100, 5, 2, 1, 3, 98.0),
    forwards=[wire.ForwardStats("fwd_1", "rtmp", "live", 4000.0, 10, 1, 2, 3.0, 0.5)],
)


async def scrape(api: ApiStage, headers: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Samples by name, each by the values of its labels, in the order of their names."""
    answer = await api.http.get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, dict[Any, float]] = {}
    for family in parsed(answer.text):
        for each in family.samples:
            found.setdefault(each.name, {})[tuple(each.labels.values())] = each.value
    return found


async def broadcast(api: ApiStage) -> str:
    id = await on_air(api.stage)
    api.stage.streams.observer.on_notice(LOAD)
    await api.stage.hear(id, STATS)
    return id


async def test_a_stream_and_its_host_in_base_units(api: ApiStage) -> None:
    id = await broadcast(api)
    await api.stage.platform.alerts.look()
    found = await scrape(api, await api.log_in(ADMIN))
    assert found["strata_stream_input_bytes_per_second"] == {(id,): 1e6}
    assert found["strata_stream_quality_ratio"] == {(id,): 0.98}
    assert found["strata_stream_packets_total"]["lost", id] == 2
    assert found["strata_link_up"] == {("15000", id): 1.0, ("15002", id): 0.0}
    assert found["strata_forward_sent_bytes_total"] == {("fwd_1", "rtmp", id): 10}
    assert found["strata_forward_state"] == {("fwd_1", "rtmp", "live", id): 1}
    assert found["strata_host_cpu_cores"] == {("local",): 2}
    assert found["strata_alerts"] == {("link_down",): 1}
    assert found["strata_streams"] == {(): 1}


async def test_what_is_missing_is_not_zero(api: ApiStage) -> None:
    id = await on_air(api.stage)
    found = await scrape(api, await api.log_in(ADMIN))
    assert found["strata_stream_receiving"] == {(id,): 1}
    assert "strata_stream_input_bytes_per_second" not in found
    assert "strata_host_cpu_cores" not in found
    await api.stage.hear(id, STATS)
    found = await scrape(api, await api.log_in(ADMIN))
    assert "strata_link_round_trip_seconds" not in found
    assert "strata_stream_buffer_seconds" not in found


async def test_each_reads_its_own_and_strangers_nothing(api: ApiStage) -> None:
    id = await broadcast(api)
    assert is_problem(await api.http.get("/metrics"), 401, "unauthorized")
    assert (id,) in (await scrape(api, await api.log_in(OWNER)))["strata_stream_receiving"]
    other = await scrape(api, await api.log_in(OTHER))
    assert "strata_stream_receiving" not in other
    assert "strata_http_request_duration_seconds_count" not in other


async def test_open_where_an_administrator_said_so(api: ApiStage) -> None:
    opened = api.stage.settings.model_copy(update={"metrics": Metrics(open=True)})
    object.__setattr__(api.stage.platform, "settings", opened)
    id = await broadcast(api)
    assert (id,) in (await scrape(api, {}))["strata_stream_receiving"]
    answer = await api.http.get("/metrics", headers={"Authorization": "Bearer tok_x.y"})
    assert is_problem(answer, 401, "unauthorized")


async def test_requests_by_template_whatever_is_asked_for(api: ApiStage) -> None:
    login = await api.log_in(ADMIN)
    for path in ("/api/streams/str_1", "/api/streams/str_2", "/nothing/1", "/nothing/2"):
        await api.http.get(path, headers=login)
    await api.http.request("BREW", "/api/streams", headers=login)
    count = (await scrape(api, login))["strata_http_request_duration_seconds_count"]
    assert count["GET", "/api/streams/{stream_id}", "404"] == 2
    assert count["GET", "none", "404"] == 2
    assert {key[0] for key in count} == {"GET", "POST", "other"}


async def test_as_openmetrics_too(api: ApiStage) -> None:
    await broadcast(api)
    headers = {**await api.log_in(ADMIN), "Accept": "application/openmetrics-text; version=1.0.0"}
    answer = await api.http.get("/metrics", headers=headers)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    names = [family.name for family in open_parsed(answer.text)]
    assert len(names) == len(set(names))
    assert all(name.startswith("strata_") for name in names)


async def test_two_platforms_count_apart(api: ApiStage) -> None:
    login = await api.log_in(ADMIN)
    make_app(api.stage.platform)  # registers nothing twice
    assert (await scrape(api, login))["strata_socket_watchers"] == {(): 0}


@pytest.mark.parametrize("name", ["grafana/strata.json", "prometheus-alerts.yml"])
async def test_boards_and_rules_name_what_there_is(api: ApiStage, name: str) -> None:
    id = await broadcast(api)
    rtt = msgspec.structs.replace(STATS.links[0], rtt_ms=40.0)
    await api.stage.hear(id, msgspec.structs.replace(STATS, links=[rtt, STATS.links[1]]), FAILED)
    await api.stage.platform.alerts.look()
    await scrape(api, await api.log_in(ADMIN))
    there = await scrape(api, await api.log_in(ADMIN))
    text = (DEPLOY / name).read_text()
    if name.endswith(".json"):
        board = json.loads(text)
        expressions = [
            each["expr"] for panel in board["panels"] for each in panel.get("targets", [])
        ]
        expressions += [each["query"] for each in board["templating"]["list"]]
    else:
        expressions = re.findall(r"expr: (.*)", text)
    wanted = {found for each in expressions for found in re.findall(r"strata_[a-z_]+", each)}
    assert len(wanted) > 5
    assert wanted <= there.keys()
