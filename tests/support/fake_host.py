"""A host that runs streams in memory only, for tests of what control decides."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from strata.errors import HostUnreachable, NoPicture, NotFound, StrataError
from strata.wire import host as wire
from strata.wire import worker


class FakeHost:
    """Runs what it is told to, in memory.

    Attributes:
        forgot: streams of which it does not know the secrets.
        forwards: of each stream, the ids and URLs.
        tested: what a test push comes to.
        picture: what a stream shows; None: nothing.
        slates_held: streams whose slate is on the air whatever comes.
    """

    def __init__(self) -> None:
        self.connected = True
        self.asked: list[wire.Request] = []
        self.running: dict[str, list[worker.Event]] = {}
        self.ended: list[wire.Ended] = []
        self.alarms: dict[str, list[wire.Alarm]] = {}
        self.forgot: set[str] = set()
        self.forwards: dict[str, dict[str, str]] = {}
        self.slates_held: set[str] = set()
        self.tested = wire.Tested(True, "it took 10 s of colour bars", "ok", 10.0, 2_000_000)
        self.picture: wire.Picture | None = None
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
            case wire.Start(stream_id=stream_id, forwards=urls):
                self.running[stream_id] = []
                self.forwards[stream_id] = {
                    worker.forward_id(number): url for number, url in enumerate(urls, 1)
                }
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
                        forward_ids=list(self.forwards.get(stream_id, {})),
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
            case wire.TestPush():
                return self.tested
            case wire.Thumbnail(stream_id=stream_id):
                if self.picture is None:
                    return NoPicture(f"{stream_id} has nothing on the air")
                return self.picture
            case _:
                return self._change(request)

    def _change(self, order: wire.Order) -> wire.Reply | StrataError:
        here = self.forwards.get(order.stream_id)
        if here is None or order.stream_id not in self.running:
            return NotFound(f"{order.stream_id} does not run on this host")
        match order:
            case wire.AddForward(url=url):
                id = worker.forward_id(max(map(worker.forward_number, here), default=0) + 1)
                here[id] = url
                return wire.Changed(id)
            case wire.ReplaceForward(forward=id, url=url) if id in here:
                here[id] = url
                return wire.Changed(id, overlap=True)
            case wire.RemoveForward(forward=id) if id in here:
                del here[id]
                return wire.Changed(id)
            case wire.Configure(slate_now=now):
                if now:
                    self.slates_held.add(order.stream_id)
                else:
                    self.slates_held.discard(order.stream_id)
                return wire.Done()
        return NotFound(f"there is no forward {order.forward}")

    def stops(self) -> list[str]:
        return [each.stream_id for each in self.asked if isinstance(each, wire.Stop)]
