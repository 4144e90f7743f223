"""Gathers what a preflight judges (:mod:`strata.control.preflight`)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from strata.control import addresses, lifecycle, preflight, tables
from strata.control.assignments import Assignments
from strata.control.destinations import Destinations
from strata.control.forwards import FORWARDS_MAX, Forward
from strata.control.hosts import Hosts, why_drained
from strata.control.live import Live
from strata.control.observer import LOCAL_HOST
from strata.control.preflight import Encoder, Facts, Finding, Room, Target
from strata.control.roles import User
from strata.control.streams import GOES_NOWHERE, StartRequest, Streams
from strata.errors import Conflict, OperatorError, StrataError
from strata.settings import Settings
from strata.wire import forward_url


@dataclass(frozen=True, slots=True)
class Question:
    """What would be done.

    Attributes:
        stream_id: of a stream that runs, which the forwards would join; where none are given,
            its own are looked at.
    """

    start: StartRequest
    stream_id: str | None = None
    encoder: Encoder | None = None
    has_audio: bool | None = None


@dataclass(frozen=True, slots=True)
class _Named:
    """A forward that a field of the request names."""

    field: str
    forward: Forward


class Preflights:
    """Answers what would not work, without doing any of it."""

    def __init__(
        self,
        settings: Settings,
        streams: Streams,
        destinations: Destinations,
        hosts: Hosts,
        assignments: Assignments,
    ) -> None:
        self._settings = settings
        self._streams = streams
        self._destinations = destinations
        self._hosts = hosts
        self._assignments = assignments

    async def ask(self, user: User, question: Question) -> list[Finding]:
        """What would not work, and what may not.

        Raises:
            NotAllowed: who may not start streams.
            NotFound: there is no such stream that the user may see.
            Conflict: it does not run.
        """
        user.require("operator")
        row = await self._running(user, question.stream_id)
        start = question.start
        named, refused = await self._check_all(user, start)
        refused += await self._check_sender(user, start)
        refused += self._check_rest(start, is_running=row is not None)
        own = (start.record, start.preview)
        if row is not None and not (named or refused or any(own)):
            return preflight.findings(await self._facts_of(row, question))
        targets = [*await self._in_use(named), *_local(start)]
        facts = await self._facts(question, row, refused, targets)
        return preflight.findings(facts)

    async def _check_all(
        self, user: User, start: StartRequest
    ) -> tuple[list[_Named], list[Finding]]:
        """Each URL and destination, at once: names take their time to resolve."""

        async def url(at: int, text: str) -> _Named:
            checked = Forward(await self._destinations.check(text))
            await self._resolve(checked)
            return _Named(f"forward_to.{at}", checked)

        async def destination(at: int, id: str) -> _Named:
            checked = await self._destinations.forward(user, id)
            await self._resolve(checked)
            return _Named(f"destinations.{at}", checked)

        asked = [
            *((f"forward_to.{at}", url(at, text)) for at, text in enumerate(start.forward_to)),
            *(
                (f"destinations.{at}", destination(at, i))
                for at, i in enumerate(start.destinations)
            ),
        ]
        answers = await asyncio.gather(*(work for _, work in asked), return_exceptions=True)
        named, refused = [], []
        for (field, _), answer in zip(asked, answers, strict=True):
            if isinstance(answer, OperatorError):
                refused.append(_refusal(answer, field))
            elif isinstance(answer, BaseException):
                raise answer
            else:
                named.append(answer)
        return named, refused

    async def _resolve(self, forward: Forward) -> None:
        """That its host has an address; where private ones are allowed, a start does not look."""
        url = forward_url.parse(forward.url)
        if url.path is None and not url.listens:
            timeout_s = self._settings.forward.resolve_timeout_s
            await addresses.resolve(url.host or "", url.port, url.shown, timeout_s)

    async def _check_sender(self, user: User, start: StartRequest) -> list[Finding]:
        if start.crew is None:
            return []
        try:
            await self._assignments.require(user, start.crew)
        except OperatorError as error:
            return [_refusal(error, "sender_id")]
        return []

    def _check_rest(self, start: StartRequest, *, is_running: bool) -> list[Finding]:
        found = []
        asked = len(start.forward_to) + len(start.destinations) + start.record + start.preview
        if not asked and not is_running:
            found.append(Finding("error", "bad_arguments", GOES_NOWHERE, "forward_to"))
        if asked > FORWARDS_MAX:
            text = f"a stream takes {FORWARDS_MAX} forwards at most, and these are {asked}"
            found.append(Finding("error", "bad_arguments", text, "forward_to"))
        try:
            addresses.slate(start.slate, self._settings.media_dir)
        except StrataError as error:
            found.append(_refusal(error, "slate"))
        return found

    async def _in_use(self, named: Sequence[_Named]) -> list[Target]:
        """With the streams that lead there already, and those that are named twice."""
        others = await self._destinations.in_use()
        found = []
        for at, each in enumerate(named):
            place = each.forward.place
            users = {id for id, other in others if place is not None and other.place == place}
            if place is not None and place in [early.forward.place for early in named[:at]]:
                users.add("this same request")
            found.append(replace(_target(each.field, each.forward), used_by=sorted(users)))
        return found

    async def _facts(
        self,
        question: Question,
        row: tables.Stream | None,
        refused: Sequence[Finding],
        targets: Sequence[Target],
    ) -> Facts:
        live = self._streams.observer.live.get(row.id) if row is not None else None
        stats = live.stats if live is not None else None
        return Facts(
            refused,
            targets,
            await self._room(),
            links=question.start.links,
            records=question.start.record,
            encoder=question.encoder,
            has_audio=_has_audio(live) if row is not None else question.has_audio,
            media=stats.media if stats is not None and stats.bitrate_in_kbps else None,
            media_kbps=stats.bitrate_in_kbps if stats is not None else None,
            max_egress_kbps=self._settings.worker.max_egress_kbps,
            is_running=row is not None,
        )

    async def _facts_of(self, row: tables.Stream, question: Question) -> Facts:
        """Of a stream as it is."""
        uses = await self._destinations.in_use()
        own = [each for id, each in uses if id == row.id]
        targets = []
        for each in own:
            users = {
                id
                for id, other in uses
                if id != row.id and each.place is not None and other.place == each.place
            }
            targets.append(replace(_target(each.id, each), used_by=sorted(users)))
        return await self._facts(question, row, [], targets)

    async def _room(self) -> Room:
        admission = self._settings.admission
        is_draining = await self._hosts.is_draining(LOCAL_HOST)
        return Room(
            connected=self._streams.can_start,
            why_drained=why_drained(LOCAL_HOST) if is_draining else None,
            load=self._streams.observer.load,
            cpu_cores=admission.reserve_cpu_cores,
            memory_mb=admission.reserve_memory_mb,
            egress_kbps=admission.reserve_egress_kbps,
            fill_percent=admission.fill_percent,
            min_disk_mb=admission.min_disk_mb,
        )

    async def _running(self, user: User, stream_id: str | None) -> tables.Stream | None:
        if stream_id is None:
            return None
        row = await self._streams.own(user, stream_id)
        if row.state not in lifecycle.RUNNING:
            raise Conflict(f"{stream_id} is {row.state}, so there is nothing to measure")
        return row


def _has_audio(live: Live | None) -> bool | None:
    """Of a stream that runs: silence that stands in for it is none."""
    if live is None or live.program.video != "live":
        return None
    return live.program.audio == "live"


def _target(field: str, forward: Forward) -> Target:
    url = forward_url.parse(forward.url)
    return Target(field, forward.shown, url.kind, url.host)


def _local(start: StartRequest) -> list[Target]:
    """What stays on this machine."""
    found = []
    if start.record:
        found.append(Target("record", "the recording", "file"))
    if start.preview:
        found.append(Target("preview", "the preview", "hls"))
    return found


def _refusal(error: StrataError, field: str) -> Finding:
    return Finding("error", error.code, error.message, field)
