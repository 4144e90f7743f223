"""What is known of a running stream right now, from what its host reports."""

from __future__ import annotations

from dataclasses import dataclass, field

from strata.wire import worker as wire


@dataclass(slots=True)
class Live:
    """The latest of each kind of event of one worker."""

    input: wire.Input = field(default_factory=lambda: wire.Input("waiting", 0.0))
    program: wire.Program = field(default_factory=lambda: wire.Program("none", "none"))
    forwards: dict[str, wire.Forward] = field(default_factory=dict)
    stats: wire.Stats | None = None

    def hear(self, event: wire.Event) -> bool:
        """Takes an event in; True where it can change the state of the stream."""
        match event:
            case wire.Input():
                self.input = event
            case wire.Program():
                self.program = event
            case wire.Forward():
                self.forwards[event.forward] = event
            case wire.Stats():
                self.stats = event
                return False
            case _:
                return False
        return True

    def forward_states(self) -> list[wire.ForwardState]:
        return [forward.state for forward in self.forwards.values()]
