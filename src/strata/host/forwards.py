"""The forwards of one stream as they are now, for its next worker. Pure.

Ids are written down (:mod:`strata.host.records`), URLs are not: they hold stream keys. A host
that was started anew knows the ids from the record, and what the worker tells of, and learns
the URLs from control.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from strata.errors import BadArguments, BadUrl
from strata.wire import forward_url, worker


class Forwards:
    """Ids and URLs, the oldest first.

    Args:
        ids: those that are known of; None: nothing is.
        last: the highest number that a forward of the stream ever had.

    Attributes:
        last: the same, now. No id is given twice.
    """

    def __init__(self, ids: Sequence[str] | None = None, last: int = 0) -> None:
        self._urls: dict[str, str | None] = {}
        self._is_whole = ids is not None
        """Whether there are none but these."""
        self.last = last
        for id in ids or ():
            self.hear(id)

    @property
    def ids(self) -> list[str]:
        return list(self._urls)

    @property
    def outward(self) -> int:
        """How many lead to the network. One of which that is not known counts."""
        return sum(url is None or not is_on_disk(url) for url in self._urls.values())

    def begin(self, urls: Sequence[str]) -> None:
        """Those that the stream starts with."""
        self._is_whole = True
        for number, url in enumerate(urls, 1):
            self.put(worker.forward_id(number), url)

    def hear(self, id: str) -> bool:
        """The worker tells of a forward; returns whether that is news."""
        is_news = id not in self._urls
        if is_news:
            self.put(id, None)
        return is_news

    def put(self, id: str, url: str | None) -> None:
        """A forward leads to there from now on."""
        self._urls[id] = url
        self.last = max(self.last, worker.forward_number(id))

    def remove(self, id: str) -> None:
        self._urls.pop(id, None)
        self._is_whole = True  # the worker that removed it has told of the others

    def entrust(self, urls: Sequence[str], ids: Sequence[str] = ()) -> None:
        """Takes in what control knows. What is known here is newer: one that was removed does
        not come back, and one that was replaced leads to where it leads.

        Args:
            ids: of each of ``urls``; none: they are as many as are known here, in that order,
                or else they are numbered.

        Raises:
            BadArguments: URLs and ids do not belong together.
        """
        if ids and len(ids) != len(urls):
            raise BadArguments(f"{len(urls)} forwards have {len(ids)} ids; give one for each")
        if not ids and len(urls) == len(self._urls):
            ids = self.ids
        ids = ids or [worker.forward_id(number) for number in range(1, len(urls) + 1)]
        for id, url in zip(ids, urls, strict=True):
            if self._urls.get(id) is None and (id in self._urls or not self._is_whole):
                self.put(id, url)
        self._is_whole = True

    def drop_unknown(self) -> list[str]:
        """Gives up those whose URL nobody has told; returns their ids."""
        lost = [id for id, url in self._urls.items() if url is None]
        for id in lost:
            del self._urls[id]
        return lost

    def to_note(self) -> dict[str, Any]:
        """What of them belongs into the record of the stream; no secret is in it."""
        return {"forwards": self.outward, "forward_ids": self.ids, "last_forward": self.last}

    def secrets(self, psk: str) -> worker.Secrets:
        """What a worker needs to begin with them."""
        known = {id: url for id, url in self._urls.items() if url is not None}
        return worker.Secrets(psk, list(known.values()), list(known), self.last)


def is_on_disk(url: str) -> bool:
    """Whether a forward stays on this machine."""
    try:
        return forward_url.parse(url).kind in ("file", "hls")
    except BadUrl:  # as an earlier release took it
        return False
