"""Whether a stream is well, and what is to be done. Pure: ages and times are arguments.

What is judged is what the worker reports. A number that is missing is not zero: a worker of
which nothing has been heard yet has no bitrate, and no alarm for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from strata.wire.host import Alarm

CHECK_S: Final = 5.0
"""How often each stream is looked at."""

Action: TypeAlias = Literal["kill", "reclaim"]


@dataclass(frozen=True, slots=True)
class Rules:
    """How long something may last, in seconds; 0 is for ever.

    Attributes:
        silence_s: a worker reports nothing: then it hangs, and is killed.
        stall_s: no media: then there is an alarm.
        no_input_s: no media: then the stream is ended and its ports are given back.
        first_media_s: the same, where there has been no media at all.
        progress_s: a forward that says it is live has sent nothing: then there is an alarm.
    """

    silence_s: float = 15.0
    stall_s: float = 30.0
    no_input_s: float = 60.0
    first_media_s: float = 300.0
    progress_s: float = 15.0


@dataclass(frozen=True, slots=True)
class ForwardReport:
    """One forward, as its worker tells.

    Attributes:
        idle_s: seconds since it last made progress; None where that is not known.
    """

    forward: str
    state: str
    message: str = ""
    idle_s: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A stream, as it is known now.

    Attributes:
        heard_s: seconds since the worker last reported, or since it was started.
        quiet_s: seconds since media last arrived, or since the stream was started.
        had_media: whether any has arrived.
        is_fed: whether its forwards are given anything, be it a slate.
    """

    heard_s: float
    quiet_s: float
    had_media: bool
    is_fed: bool = False
    forwards: tuple[ForwardReport, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong, in the words of the operator's page, and what has to be done at once."""

    alarms: tuple[Alarm, ...] = ()
    action: Action | None = None
    detail: str = ""


def judge(report: Report, rules: Rules) -> Verdict:
    """What a look at a stream finds."""
    if 0 < rules.silence_s <= report.heard_s:
        text = f"the worker has reported nothing for {report.heard_s:.0f} s"
        return Verdict((Alarm("no_stats", text),), "kill", f"{text} and was killed")
    limit_s = rules.no_input_s if report.had_media else rules.first_media_s
    if 0 < limit_s <= report.quiet_s:
        return Verdict((), "reclaim", _no_input(report))
    alarms = [*_stalled(report, rules), *_forwards(report, rules)]
    return Verdict(tuple(alarms))


def _no_input(report: Report) -> str:
    if report.had_media:
        return (
            f"no media came for {report.quiet_s:.0f} s, so the stream was ended and its ports "
            "were given back; look after the sender and its links, then start a new one"
        )
    return (
        f"no media came at all in {report.quiet_s:.0f} s; check address, key and firewall of "
        "the sender, then start the stream again"
    )


def _stalled(report: Report, rules: Rules) -> list[Alarm]:
    if not report.had_media or not 0 < rules.stall_s <= report.quiet_s:
        return []
    ends = f"; it ends after {rules.no_input_s:.0f} s" if rules.no_input_s else ""
    return [Alarm("stalled", f"no media for {report.quiet_s:.0f} s{ends}")]


def _forwards(report: Report, rules: Rules) -> list[Alarm]:
    found = []
    for forward in report.forwards:
        if forward.state in ("retrying", "failed"):
            text = forward.message or f"the destination is {forward.state}"
            found.append(Alarm("forward", text, forward.forward))
        elif (
            forward.state == "live"
            and report.is_fed
            and forward.idle_s is not None
            and 0 < rules.progress_s <= forward.idle_s
        ):
            text = f"the destination has taken nothing for {forward.idle_s:.0f} s"
            found.append(Alarm("forward", text, forward.forward))
    return found
