"""A host that runs streams in memory only, for tests of what control decides."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from strata.errors import HostUnreachable, NotFound, StrataError
from strata.wire import host as wire
from strata.wire import worker


class FakeHost:
    """Runs what it is told to, in memory.

    Attributes:
        forgot: streams of which it does not know the secrets.
        slates_held: streams whose slate is on the air whatever comes.
    """

    def __init__(self) -> None:
        self.connected = True
        self.asked: list[wire.Request] = []
        self.running: dict[str, list[worker.Event]] = {}
        self.ended: list[wire.Ended] = []
        self.alarms: dict[str, list[wire.Alarm]] = {}
        self.forgot: set[str] = set()
        self.slates_held: set[str] = set()
        self.fail: StrataError | None = None
        self.before_answer: Callable[[wire.Request], Awaitable[None]] | None = None

    def start(self) -> None:
        self.connected = True

    async def close(self) -> None:
        self.connected = False

    async def request(self, request: wire.Request) -> wire.Reply:
        self.asked.append(request)
        if not self.connected:
            raise HostUnreachable("the host is not connected")
        reply = self._answer(request)
        if self.before_answer is not None:
            await self.before_answer(request)
        if isinstance(reply, StrataError):
            raise reply
        return reply

    def _answer(self, request: wire.Request) -> wire.Reply | StrataError:
        if self.fail is not None:
            return self.fail
        match request:
            case wire.Start(stream_id=stream_id):
                self.running[stream_id] = []
                return wire.Started([15000, 15002], 4711)
            case wire.Stop(stream_id=stream_id):
                if self.running.pop(stream_id, None) is None:
                    return NotFound(f"{stream_id} does not run on this host")
                return wire.Stopped("user_stop", "stopped on request")
            case wire.List():
                snapshots = [
                    wire.Snapshot(
                        stream_id,
                        [15000, 15002],
                        4711,
                        list(events),
                        self.alarms.get(stream_id, []),
                        needs_secrets=stream_id in self.forgot,
                        slate_now=stream_id in self.slates_held,
                    )
                    for stream_id, events in self.running.items()
                ]
                return wire.Streams(snapshots, self.ended)
            case wire.Configure(stream_id=stream_id) if stream_id in self.running:
                return wire.Done()
            case wire.Configure(stream_id=stream_id):
                return NotFound(f"{stream_id} does not run on this host")
            case wire.Entrust(stream_id=stream_id):
                self.forgot.discard(stream_id)
                return wire.Done()

    def stops(self) -> list[str]:
        return [each.stream_id for each in self.asked if isinstance(each, wire.Stop)]
