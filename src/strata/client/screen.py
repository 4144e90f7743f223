"""Where answers are shown: once, as JSON, or again each second."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from strata.client import login
from strata.client.api import Answer, Api
from strata.errors import BadArguments, PlatformRefused, PlatformUnreachable

Read: TypeAlias = Callable[[Api], Answer]
Draw: TypeAlias = Callable[[Any, datetime], RenderableType]

WATCH_EVERY_S: Final = 1.0
WATCH_PATIENCE_S: Final = 5.0
PLAIN_WIDTH: Final = 1000
"""Of what goes into a file or a pipe: nothing is cut off there."""


def present(read: Read, draw: Draw, as_json: bool, watch: bool = False) -> None:
    """Shows an answer.

    Args:
        as_json: as the platform said it, and nothing else.
        watch: again each second until Ctrl-C.

    Raises:
        BadArguments: both at once.
    """
    if as_json and watch:
        raise BadArguments("--json is one document and --watch has no end; give one of them")
    who = login.current()
    if watch:
        try:
            _watch(lambda: _read_once(who, read), draw)
        except KeyboardInterrupt:
            return
    with Api(who) as api:
        answer = read(api)
    if as_json:
        put_json(answer)
    else:
        put(draw(answer.data, datetime.now(UTC)))


def put_json(answer: Answer) -> None:
    if answer.text:
        print(answer.text, flush=True)


def put(drawn: RenderableType) -> None:
    """Prints it: in colours where a person looks, else plain and without an end to its lines."""
    screen = console()
    if is_live(screen):
        screen.print(drawn)
    else:
        print(as_text(screen, drawn), flush=True)


def console() -> Console:
    is_terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    width = None if is_terminal else PLAIN_WIDTH
    return Console(width=width, force_terminal=is_terminal, markup=False, highlight=False)


def is_live(screen: Console) -> bool:
    return screen.is_terminal and not screen.is_dumb_terminal


def as_text(screen: Console, drawn: RenderableType) -> str:
    with screen.capture() as captured:
        screen.print(drawn)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _read_once(who: login.Login, read: Read) -> Answer:
    with Api(who, WATCH_PATIENCE_S) as api:
        return read(api)


def _watch(
    read: Callable[[], Answer],
    draw: Draw,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Draws what is read each second. A platform that is away is told on top of what it said
    last, which is then old; it is asked again and again."""
    data: Any = None
    away_since: datetime | None = None
    with contextlib.closing(_frames()) as frames:
        next(frames)
        while True:
            now = datetime.now(UTC)
            try:
                data, away_since, trouble = read().data, None, ""
            except (PlatformUnreachable, PlatformRefused) as error:
                if data is None:  # nothing was ever seen: that is an answer, too
                    raise
                away_since, trouble = away_since or now, error.message
            drawn = draw(data, away_since or now)
            if away_since is not None:
                drawn = Group(_old(away_since, now, trouble), drawn)
            frames.send(drawn)
            sleep(WATCH_EVERY_S)


def _frames() -> Generator[None, RenderableType, None]:
    """Takes one picture after the other: in place on a terminal, else each that is new."""
    screen = console()
    if is_live(screen):
        with Live(console=screen, auto_refresh=False) as live:
            while True:
                live.update((yield), refresh=True)
    shown = ""
    while True:
        text = as_text(screen, (yield))
        if text != shown:
            print(text, end="\n\n", flush=True)
            shown = text


def _old(since: datetime, now: datetime, trouble: str) -> Text:
    for_s = (now - since).total_seconds()
    return Text(f"OLD, for {for_s:.0f} s: {trouble}", "bold red")
