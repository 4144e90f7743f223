"""All forwards of one stream: begun, changed while on the air, and held to the egress cap."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Final

from strata.errors import Conflict, DestinationError, NotFound, StrataError
from strata.media import gst
from strata.tasks import TaskGroup, in_thread
from strata.wire import worker as wire
from strata.wire.forward_url import ForwardUrl
from strata.worker import kinds
from strata.worker.cap import EgressCap
from strata.worker.config import FORWARDS_MAX
from strata.worker.forward import Forward
from strata.worker.hub import Hub
from strata.worker.output import Feed

log = logging.getLogger(__name__)

PROOF_S: Final = 10.0
"""For a new destination to take media. One that does not has 4 s to let go, because the
answer to the command comes within 15 s."""
REQUIRE_S: Final = 1.0
TICK_S: Final = 0.5
STALE_S: Final = 12.0
"""For the old destination to let go of what the new one needs."""


def require(urls: Iterable[ForwardUrl], more_elements: Iterable[str] = ()) -> None:
    """What can be known of forwards before there is any media.

    Raises:
        PartMissing: GStreamer lacks elements; all of them are named.
        BadUrl: one of the forwards cannot work.
        Conflict: two lead to the same place.
    """
    found = [(url, kinds.of(url)) for url in urls]
    gst.require((*more_elements, *(name for _, kind in found for name in kind.ELEMENTS)))
    places: set[str] = set()
    for url, kind in found:
        kind.prepare(url)
        if url.place is not None and url.place in places:
            raise Conflict(f"two forwards lead to {url.shown}; give it once")
        places.add(url.place or "")


async def _require(url: ForwardUrl) -> None:
    """The same for one, off the loop: a disk that hangs must not hold up the stream."""
    try:
        await in_thread("require", lambda: require([url]), REQUIRE_S)
    except TimeoutError:
        raise DestinationError(f"{url.shown}: the disk does not answer") from None


class Forwards:
    """The forwards by their ids.

    Args:
        cap_kbps: what all of them together may send over the network; 0 for no limit.
        tell: called with each event about them.
        is_flowing: whether there is anything for forwards that are fed this, at the moment.
    """

    def __init__(
        self,
        hub: Hub,
        cap_kbps: int,
        tell: Callable[[wire.Event], None],
        is_flowing: Callable[[Feed], bool],
    ) -> None:
        self._hub = hub
        self._cap = EgressCap(hub, cap_kbps)
        self._tell = tell
        self._is_flowing = is_flowing
        self._by_id: dict[str, Forward] = {}
        self._joining: list[Forward] = []
        """On trial beside those that are on the air."""
        self._leaving: dict[Forward, asyncio.Task[None]] = {}
        """Replaced, and still saying goodbye."""
        self._left: dict[str, float] = {}
        """When a place was left (monotonic s): a server may believe for a while longer that
        it is taken."""
        self._changing: set[str] = set()
        self._numbers = itertools.count(1)
        """Of those that are added; none is given twice in the life of a stream."""
        self._is_over_told = False
        self._is_ending = False
        self._tasks = TaskGroup()

    @property
    def all(self) -> Sequence[Forward]:
        """The oldest first."""
        return tuple(self._by_id.values())

    def start(self, urls: Sequence[ForwardUrl], ids: Sequence[str] = (), last: int = 0) -> None:
        """Begins those that are there from the start.

        Args:
            ids: of each of them; none: they are numbered.
            last: the highest number that a forward of the stream ever had.
        """
        ids = ids or [wire.forward_id(number + 1) for number in range(len(urls))]
        self._numbers = itertools.count(max(0, last, *map(wire.forward_number, ids)) + 1)
        for id, url in zip(ids, urls, strict=True):
            forward = self._make(id, url)
            self._cap.begin(forward, self.all)
            self._by_id[forward.id] = forward
        self._share_out()
        self._tasks.spawn("egress", self._keep_cap())

    async def stop(self, *, is_over: bool = True) -> None:
        """Delivers what is queued and closes every forward; see :meth:`Forward.stop`."""
        self._is_ending = True
        everyone = {*self._by_id.values(), *self._joining, *self._leaving}
        await asyncio.gather(*(forward.stop(is_over=is_over) for forward in everyone))
        await self._tasks.close()

    # Changes while on the air.

    async def add(self, url: ForwardUrl) -> Forward:
        """One more, once its destination has taken media; at once where none flows.

        Raises:
            StrataError: it cannot be, and there is nothing of it left.
        """
        if len({*self._by_id, *(each.id for each in self._joining)}) >= FORWARDS_MAX:
            raise Conflict(f"a stream has at most {FORWARDS_MAX} forwards; remove one first")
        await _require(url)
        forward = self._make(self._next_id(), url)
        self._check(forward, None)
        async with self._on_trial(forward):
            await self._prove(forward)
        self._by_id[forward.id] = forward
        self._tell(forward.event())
        return forward

    async def update(self, id: str | None, url: ForwardUrl) -> tuple[Forward, bool]:
        """Replaces a forward (the first, without an id); tells whether both were on the air
        for a moment.

        Raises:
            StrataError: the new one cannot be; the old one is where it was.
        """
        old = self._find(id)
        async with self._change(old):
            await _require(url)
            forward = self._make(old.id, url)
            self._check(forward, old)
            if self._may_overlap(old, forward):
                async with self._on_trial(forward):
                    await self._prove(forward)
                self._replace(old, forward)
                self._leave(old)
                return forward, True
            return await self._swap(old, forward), False

    async def remove(self, id: str) -> None:
        """Closes a forward cleanly."""
        forward = self._find(id)
        async with self._change(forward):
            await self._end(forward)
            forward.forget()
            del self._by_id[forward.id]

    def set_cap(self, kbps: int) -> None:
        self._cap.kbps = kbps
        self._is_over_told = False
        self._share_out()

    def _make(self, id: str, url: ForwardUrl) -> Forward:
        return Forward(id, url, self._on_change, self._on_error)

    def _next_id(self) -> str:
        return wire.forward_id(next(self._numbers))

    def _find(self, id: str | None) -> Forward:
        found = self._by_id.get(id) if id is not None else next(iter(self._by_id.values()), None)
        if found is None:
            raise NotFound(
                f"there is no forward {id[:32]!r}"
                if id is not None
                else "the stream has no forward to replace; add one"
            )
        return found

    def _check(self, forward: Forward, old: Forward | None) -> None:
        """What can be known before anything on the air is touched."""
        self._check_ending()
        url = forward.url
        for other in (*self._by_id.values(), *self._joining):
            if other is not old and url.place is not None and other.url.place == url.place:
                raise Conflict(f"{other.id} leads to {url.shown} already")
        if self._hub.flow.program is not None:
            kinds.of(url).check(self._hub.flow.program, url)
        joining = [each for each in self._joining if each.id not in self._by_id]
        others = [each for each in (*self.all, *joining) if each.id != forward.id]
        claims = self._cap.claims([*others, forward])
        if self._cap.claims([forward]) and self._cap.is_sure and not self._cap.fits(claims):
            raise self._cap.error(claims)

    def _may_overlap(self, old: Forward, new: Forward) -> bool:
        if old.state in ("failed", "stopped") or self._cap.is_waiting(old):
            return False
        if new.url.place is not None and new.url.place == old.url.place:
            return False
        claims = self._cap.claims([*self._staying(), new])
        # What cannot wait would break the cap for as long as both are there.
        return self._cap.fits(claims) or all(claim.can_wait for claim in claims)

    @contextlib.asynccontextmanager
    async def _change(self, forward: Forward) -> AsyncIterator[None]:
        if forward.id in self._changing:
            raise Conflict(f"{forward.id} is being changed already; try again in a moment")
        self._changing.add(forward.id)
        try:
            yield
        finally:
            self._changing.discard(forward.id)

    @contextlib.asynccontextmanager
    async def _on_trial(self, forward: Forward) -> AsyncIterator[None]:
        """Feeds a forward of which nobody is told yet, and drops it when it fails."""
        self._joining.append(forward)
        try:
            leaving = [
                task
                for old, task in self._leaving.items()
                if old.url.place is not None and old.url.place == forward.url.place
            ]
            if leaving:
                await asyncio.wait(leaving, timeout=STALE_S)
            left_at = self._left.get(forward.url.place or "", -STALE_S)
            forward.is_patient = time.monotonic() - left_at < STALE_S
            self._share_out()
            self._cap.begin(forward, self._staying())
            yield
        except BaseException:
            self._cap.forget(forward)
            await forward.discard()
            raise
        finally:
            self._joining.remove(forward)

    async def _prove(self, forward: Forward) -> None:
        if self._is_flowing(forward.feed):
            await forward.proven(PROOF_S)

    def _replace(self, old: Forward, new: Forward) -> None:
        new.takes_over(old)
        self._by_id[new.id] = new
        self._tell(new.event())

    def _leave(self, old: Forward) -> None:
        """Closes the old one cleanly, while the new one is on the air."""

        async def leave() -> None:
            await self._end(old)
            del self._leaving[old]
            self._share_out()

        self._leaving[old] = self._tasks.spawn(f"leave-{old.id}", leave())
        self._share_out()

    async def _end(self, forward: Forward) -> None:
        """Closes one cleanly; what it leaves in the kernel counts against the cap."""
        was_sending = forward.state == "live"
        self._cap.forget(forward)
        await forward.stop()
        if forward.url.place is not None:
            self._left[forward.url.place] = time.monotonic()
        if was_sending:
            self._cap.fade(forward)
        self._share_out()

    def _check_ending(self) -> None:
        if self._is_ending:
            raise Conflict("the stream is ending; nothing can be changed any more")

    async def _swap(self, old: Forward, new: Forward) -> Forward:
        """The two cannot exist at once: the old one goes first, and comes back if the new
        one cannot be."""
        failure = old.message if old.state == "failed" else None
        # What it leaves in the kernel goes out at half the pace; the other half is the new one's.
        old.set_share((old.share_kbps + 1) // 2)
        await self._end(old)
        self._check_ending()
        self._tell(new.event())
        try:
            async with self._on_trial(new):
                await self._prove(new)
        except BaseException:
            if self._is_ending:
                raise
            back = self._make(old.id, old.url)
            self._replace(old, back)
            if failure is None:
                self._share_out()
                self._cap.begin(back, self._staying())
            else:
                back.fail(DestinationError(failure))
            raise
        self._replace(old, new)
        return new

    # The egress cap.

    async def _keep_cap(self) -> None:
        while not self._is_ending:
            await asyncio.sleep(TICK_S)
            self._cap.admit(self._staying())
            if self._cap.is_sure:
                self._give_up()
            self._share_out()

    def _give_up(self) -> None:
        """Ends those that the cap has no room for. One alone goes on with pieces missing; that
        is said."""
        error = self._cap.error(self._cap.claims(self._staying()))
        for forward in self._cap.excess(self._staying()):
            self._cap.forget(forward)
            forward.fail(error)
        left = self._staying()
        if not self._is_over_told and not self._cap.fits(self._cap.claims(left)):
            self._is_over_told = True
            alone = next(each for each in left if self._cap.claims([each]))
            self._on_error(alone, error)

    def _staying(self) -> list[Forward]:
        return [forward for forward in self._by_id.values() if not forward.is_leaving]

    def _share_out(self) -> None:
        self._cap.share_out(dict.fromkeys((*self.all, *self._joining, *self._leaving)))

    # What forwards say.

    def _on_change(self, forward: Forward) -> None:
        if self._by_id.get(forward.id) is forward:
            self._tell(forward.event())

    def _on_error(self, forward: Forward, error: StrataError) -> None:
        if self._by_id.get(forward.id) is forward:
            self._tell(wire.Error(error.message, error.code, forward=forward.id))
