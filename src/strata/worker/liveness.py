"""What is on the air: the sender's picture and sound, or what stands in for them. Pure."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from strata.worker.formats import Track

VideoState: TypeAlias = Literal["none", "live", "slate"]
AudioState: TypeAlias = Literal["none", "live", "silence"]

SECOND: Final = 1_000_000_000
SLATE_AFTER: Final = 3 * SECOND // 2
SILENCE_AFTER: Final = SECOND
"""ns without a unit; muxers of platforms and players stumble when a track is away longer."""

VIDEO_TRANSITIONS: Final[dict[VideoState, frozenset[VideoState]]] = {
    "none": frozenset(("live", "slate")),
    "live": frozenset(("slate", "none")),
    "slate": frozenset(("live", "none")),
}
AUDIO_TRANSITIONS: Final[dict[AudioState, frozenset[AudioState]]] = {
    "none": frozenset(("live", "silence")),
    "live": frozenset(("silence", "none")),
    "silence": frozenset(("live", "none")),
}


class Liveness:
    """Follows both tracks of one stream. All times are ns on any monotonic clock.

    Attributes:
        video, audio: what is on the air.
        can_slate: whether there is a slate, and it is wanted.
        can_silence: whether silence may stand in for sound.
        holds: the operator wants the slate, whatever comes in.
        since: when ``video`` took its present value.
    """

    def __init__(self, *, can_silence: bool = True) -> None:
        self.video: VideoState = "none"
        self.audio: AudioState = "none"
        self.can_slate = False
        self.can_silence = can_silence
        self.holds = False
        self.since = 0
        self._went: dict[Track, int] = {}
        self._has_begun = False

    @property
    def has_video(self) -> bool:
        """Whether the stream has ever had a picture."""
        return "video" in self._went

    @property
    def is_alone(self) -> bool:
        """Whether one of the tracks is not to be waited for, because it does not come."""
        return self._has_begun and "none" in (self.video, self.audio)

    def begin(self) -> None:
        """The tracks are known, and forwards begin: sound that is not there by now is made."""
        self._has_begun = True

    def went(self, track: Track, now: int) -> None:
        """A live unit goes out."""
        self._went[track] = now
        if track == "video":
            self._set_video("live", now)
        else:
            self._set_audio("live")

    def look(self, now: int) -> None:
        """Takes note of what has not come."""
        if not self._has_begun:
            return
        is_gone = self.has_video and now - self._went["video"] > SLATE_AFTER
        if self.holds or is_gone:
            self._set_video("slate" if self.can_slate else "none", now)
        heard = self._went.get("audio")
        is_heard = heard is not None and now - heard <= SILENCE_AFTER
        if self.audio == "live" and is_heard and not self.holds:
            return
        # Silence for its own sake is nothing: it goes with a picture, or after sound.
        needed = self.video != "none" or (not self.has_video and heard is not None)
        if self.audio == "none" and self.video == "live" and heard is not None:
            # The picture has just come back; the sound is on its way.
            needed = now - self.since > SILENCE_AFTER
        self._set_audio("silence" if needed and self.can_silence else "none")

    def _set_video(self, state: VideoState, now: int) -> None:
        if state == self.video:
            return
        assert state in VIDEO_TRANSITIONS[self.video], f"video: {self.video} -> {state}"
        self.video, self.since = state, now

    def _set_audio(self, state: AudioState) -> None:
        if state == self.audio:
            return
        assert state in AUDIO_TRANSITIONS[self.audio], f"audio: {self.audio} -> {state}"
        self.audio = state
