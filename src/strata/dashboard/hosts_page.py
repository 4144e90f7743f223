"""*Hosts*: the machines that run the workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from strata.control.api import hosts
from strata.control.api.hosts import HostOut
from strata.control.roles import User
from strata.dashboard import records
from strata.dashboard.panel import Action, Arguments
from strata.dashboard.records import Act, Column, Records, Row, Spec


class HostsPanel(Records):
    def spec(self) -> Spec:
        return Spec(
            title="Hosts",
            note="The machines that receive. What is full takes no new broadcasts; those that run "
            "go on.",
            columns=[
                Column(key="name", text="Host"),
                Column(key="state", text="State"),
                Column(key="streams", text="Broadcasts"),
                Column(key="cpu", text="Processor"),
                Column(key="memory", text="Memory"),
                Column(key="egress", text="Uplink"),
                Column(key="disk", text="Free disk"),
                Column(key="warnings", text="Warnings"),
            ],
            acts=[
                Act(
                    key="drain",
                    text="Drain",
                    sure="It takes no new broadcasts. Those that run on it go on.",
                ),
                Act(key="undrain", text="Take new broadcasts again"),
            ],
            again_s=5,
        )

    async def rows(self, user: User) -> Sequence[Row]:
        return [_row(each, user.sees_all) for each in await hosts.listed(self.seat.platform)]

    async def drain(self, user: User, args: Arguments) -> Any:
        await self._drain(user, args, is_draining=True)
        return records.said("It takes no new broadcasts from now on.")

    async def undrain(self, user: User, args: Arguments) -> Any:
        await self._drain(user, args, is_draining=False)
        return records.said("It takes new broadcasts again.")

    async def _drain(self, user: User, args: Arguments, *, is_draining: bool) -> None:
        id = str(args.get("id", ""))
        await self.seat.platform.hosts.drain(user, id, is_draining=is_draining)

    actions: ClassVar[dict[str, Action]] = {
        **Records.actions,
        "drain": drain,
        "undrain": undrain,
    }


def _row(one: HostOut, may_drain: bool) -> Row:
    if not one.connected:
        state = records.state("bad", "Does not answer", more="systemctl status strata-host")
    elif one.draining:
        state = records.state("warn", "Draining", more="takes no new broadcasts")
    else:
        state = records.state("good", "Connected")
    cells = {
        "name": records.text(one.id),
        "state": state,
        "streams": records.text(one.streams, more=_ports(one)),
        "cpu": records.share(
            one.used_cpu_cores,
            one.cpu_cores,
            f"{one.used_cpu_cores or 0:.1f} of {one.cpu_cores or 0:.0f} cores",
        ),
        "memory": records.share(
            one.used_memory_mb,
            one.memory_mb,
            f"{(one.used_memory_mb or 0) / 1024:.1f} of {(one.memory_mb or 0) / 1024:.1f} GB",
        ),
        "egress": _egress(one),
        "disk": records.text(_gigabytes(one.free_disk_mb)),
        "warnings": records.text("; ".join(one.warnings) or "none"),
    }
    act = "undrain" if one.draining else "drain"
    return records.row(one.id, cells, *((act,) if may_drain else ()))


def _ports(one: HostOut) -> str:
    return f"{one.free_ports} ports free" if one.free_ports is not None else ""


def _egress(one: HostOut) -> records.Cell:
    if one.used_egress_kbps is None:
        return records.text(None)
    used = f"{one.used_egress_kbps / 1000:.1f} Mb/s"
    if one.egress_kbps is None:
        return records.text(used, more="no limit is set")
    return records.share(
        one.used_egress_kbps, one.egress_kbps, f"{used} of {one.egress_kbps / 1000:.0f} Mb/s"
    )


def _gigabytes(megabytes: float | None) -> str | None:
    return f"{megabytes / 1024:.0f} GB" if megabytes is not None else None
