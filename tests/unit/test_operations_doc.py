"""docs/operations.md explains each alarm, each end and each cause, and names what there is."""

from __future__ import annotations

import inspect
import re
import typing
from pathlib import Path

import pytest

from strata.control import lifecycle, posts, troubles
from strata.control.live import Live
from strata.settings import Settings
from strata.wire import host

ROOT = Path(__file__).parents[2]
DOC = (ROOT / "docs" / "operations.md").read_text()


def rows(title: str) -> dict[str, list[str]]:
    """What a table says of each thing that its first column names."""
    section = DOC.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    found = re.findall(r"^\| `(\w+)` \| (.*) \|$", section, re.MULTILINE)
    assert len({name for name, _ in found}) == len(found)
    return {name: rest.split(" | ") for name, rest in found}


def alert_kinds() -> set[str]:
    """Those that the code names, and what alarms of a host or about a sender become."""
    named = set(re.findall(r"\bKey\(\s*\"(\w+)\"", inspect.getsource(troubles)))
    texts = [path.read_text() for path in (ROOT / "src").rglob("*.py")]
    alarms = {kind for text in texts for kind in re.findall(r"\bAlarm\(\s*\"(\w+)\"", text)}
    told = {troubles.HOST_KINDS.get(kind, kind) for kind in alarms - troubles.TOLD_BY_WORKER}
    return named | told | {*troubles.FORWARD_KINDS.values(), *typing.get_args(posts.TroubleKind)}


def test_every_alert_is_explained() -> None:
    alerts = rows("Alarms")
    assert set(alerts) == alert_kinds() >= {"no_stats", "stalled", "forward_stuck", "slate"}
    for name, cells in alerts.items():
        assert len(cells) == 3, name
        assert all(cells), name


def test_no_cause_of_trouble_has_no_alert() -> None:
    """What makes a stream degraded is what alerts are made from."""
    getter = Live.has_alarm.fget  # type: ignore[attr-defined]
    causes = set(re.findall(r"self\.(\w+)", inspect.getsource(getter)))
    told = set(re.findall(r"live\.(\w+)", inspect.getsource(troubles)))
    assert causes <= told, causes - told


def test_every_end_is_explained() -> None:
    ends = rows("How a stream ended")
    assert set(ends) == {*typing.get_args(host.EndReason), *lifecycle.FAILURES, "sender_lost"}
    assert all(len(cells) == 2 and all(cells) for cells in ends.values())


def test_settings_that_are_named_exist() -> None:
    wanted = Settings().model_dump()
    named = set(re.findall(r"`(\w+)\.(\w+)(?: = [^`]*)?`", DOC))
    files = {("strata", "toml"), ("seal", "key"), ("program", "video")}
    settings = {(section, key) for section, key in named if section in wanted}
    assert ("host", "port_range") in settings
    for section, key in settings - files:
        assert key in wanted[section], f"{section}.{key}"


@pytest.mark.parametrize("name", re.findall(r"`(deploy/[\w.]+|docs/[\w.]+)", DOC))
def test_files_that_are_named_exist(name: str) -> None:
    assert (ROOT / name.rstrip(".")).exists()


def test_commands_of_the_units_are_those_of_the_page() -> None:
    for unit in ("control", "host"):
        text = (ROOT / "deploy" / "systemd" / f"strata-{unit}.service").read_text()
        [command] = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
        assert f"{command} &" in DOC
