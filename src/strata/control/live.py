"""What is known of a running stream right now, from what its host reports."""

from __future__ import annotations

from dataclasses import dataclass, field

from strata.control.policy import Policy
from strata.wire import worker as wire
from strata.wire.host import Alarm


@dataclass(slots=True)
class Live:
    """The latest of each kind of event of one worker."""

    owner_id: str | None = None
    """Whose stream it is."""

    input: wire.Input = field(default_factory=lambda: wire.Input("waiting", 0.0))
    program: wire.Program = field(default_factory=lambda: wire.Program("none", "none"))
    forwards: dict[str, wire.Forward] = field(default_factory=dict)
    stats: wire.Stats | None = None

    alarms: list[Alarm] = field(default_factory=list)
    """What the host finds wrong with it."""

    sender_alarms: list[Alarm] = field(default_factory=list)
    """What is wrong with its sender."""

    policy: Policy | None = None
    """What is done when little arrives."""

    low: str = ""
    """That less arrives than its policy wants, in words."""

    is_slate_held: bool = False
    """Whether somebody has asked for the slate to be shown, whatever comes."""

    is_slate_ours: bool = False
    """Whether that was for the sake of the policy."""

    is_restarting: bool = False
    """Whether its worker has died, and the next one is on its way."""

    is_off: bool = False
    """Whether nothing is on the air any more: no media, and no slate."""

    gone: set[str] = field(default_factory=set)
    """Forwards that were removed. What was said of them before may be heard after that."""

    def for_next_worker(self) -> Live:
        """What still holds when its worker has died: what others say of it and want of it."""
        return Live(
            self.owner_id,
            sender_alarms=self.sender_alarms,
            policy=self.policy,
            low=self.low,
            is_slate_held=self.is_slate_held,
            is_slate_ours=self.is_slate_ours,
            is_restarting=True,
            is_off=self.is_off or _is_on(self.program),
        )

    def drop(self, forward: str) -> None:
        """A forward has been removed."""
        self.gone.add(forward)
        self.forwards.pop(forward, None)

    def hear(self, event: wire.Event) -> bool:
        """Takes an event in; True where it can change the state of the stream."""
        match event:
            case wire.Ready():
                self.is_restarting = False
            case wire.Input():
                self.input = event
            case wire.Program():
                was_on = self.is_off or _is_on(self.program)
                self.is_off = was_on and not _is_on(event)
                self.program = event
            case wire.Forward() if event.forward in self.gone:
                return False
            case wire.Forward():
                self.forwards[event.forward] = event
            case wire.Stats():
                before, self.stats = self.links_down, event
                return before != self.links_down
            case _:
                return False
        return True

    @property
    def links_down(self) -> tuple[int, ...]:
        """Ports that have brought media, and can be used no more."""
        links = self.stats.links if self.stats is not None else []
        return tuple(link.port for link in links if link.received and link.state == "down")

    @property
    def has_alarm(self) -> bool:
        """Whether something is wrong beside input and forwards."""
        return (
            self.program.video == "slate"
            or self.is_off
            or self.is_restarting
            or bool(self.links_down or self.standing or self.low)
        )

    @property
    def standing(self) -> list[Alarm]:
        """What is wrong at either end."""
        return [*self.alarms, *self.sender_alarms]

    @property
    def is_fed(self) -> bool:
        """Whether there is anything for forwards to take."""
        return self.program.video == "slate" or (
            self.input.state == "receiving" and not self.is_off
        )

    def forward_states(self) -> list[wire.ForwardState]:
        return [forward.state for forward in self.forwards.values()]


def _is_on(program: wire.Program) -> bool:
    return program.video != "none" or program.audio == "live"
