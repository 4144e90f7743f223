from __future__ import annotations

import msgspec
import pytest

from strata.control import posts
from strata.control.posts import NOT_WANTED, Post, Trouble
from strata.errors import BadArguments
from strata.wire import agent as wire

CAMERA = wire.MediaInput("v4l2", "/dev/video0")


def running(stream_id: str) -> wire.StreamState:
    return wire.StreamState(stream_id, "running")


def ended(stream_id: str, detail: str = "it died") -> wire.StreamState:
    return wire.StreamState(stream_id, "ended", detail)


def test_a_claim_is_given_back_once() -> None:
    post = Post(word="of the last one", refusal="of the last one")
    post.claim("str_1")
    assert (post.stream_id, post.is_starting, post.word, post.refusal) == (
        "str_1",
        True,
        None,
        None,
    )
    post.release("str_2")
    assert post.stream_id == "str_1"
    post.release("str_1")
    assert (post.stream_id, post.is_starting) == (None, False)


@pytest.mark.parametrize(
    ("doing", "left"),
    [
        (None, {}),
        (running("str_1"), {"str_1": "eos"}),
        (ended("str_1"), {}),
        (running("str_2"), {"str_2": NOT_WANTED}),
        (ended("str_2"), {}),
        (running("str_wanted"), {}),
    ],
)
def test_what_is_to_be_stopped_follows_from_what_the_sender_says(
    doing: wire.StreamState | None, left: dict[str, str]
) -> None:
    post = Post("str_wanted")
    post.recall("str_1", "eos")
    post.hear(doing)
    assert post.to_stop == left
    assert post.stream_id == "str_wanted"


def test_a_recall_gives_the_sender_back() -> None:
    post = Post("str_1")
    post.recall("str_1", "no_input")
    assert (post.stream_id, post.to_stop) == (None, {"str_1": "no_input"})


@pytest.mark.parametrize(
    ("doing", "should"),
    [
        (None, True),
        (running("str_1"), False),
        (wire.StreamState("str_1", "a word of the future"), False),
        (ended("str_1"), False),
        (running("str_2"), True),
        (ended("str_2"), True),
    ],
)
def test_only_who_does_not_know_is_told_to_begin(
    doing: wire.StreamState | None, should: bool
) -> None:
    assert Post("str_1").should_begin(doing) is should
    assert not Post("str_1", is_starting=True).should_begin(doing)
    assert not Post().should_begin(doing)


def test_what_it_said_of_its_end_holds_until_it_sends_again() -> None:
    post = Post("str_1")
    post.hear(ended("str_1", ""))
    assert post.word == posts.NO_WORD
    post.hear(ended("str_1", "it died\0"))
    assert post.word == "it died"
    post.hear(None)
    assert post.word == "it died"
    post.hear(running("str_1"))
    assert post.word is None
    post.hear(ended("str_2"))
    assert post.word is None


def test_troubles_the_most_certain_first() -> None:
    post = Post("str_1", refusal="no camera", lost_at=100.0)
    assert post.trouble(129.9, 30.0) == Trouble(
        "sender_refused", "the sender does not begin (no camera)"
    )
    assert post.trouble(130.0, 30.0) == Trouble("sender_offline", "the sender is not connected")
    post.word = "it died"
    assert post.trouble(130.0, 30.0) == Trouble(
        "sender_ended", "the sender has stopped by itself (it died)"
    )
    assert Post("str_1").trouble(1e9, 30.0) is None


def test_the_first_camera_and_never_a_test_picture() -> None:
    status = wire.Status(media_inputs=[wire.MediaInput("test", "x"), CAMERA])
    assert posts.first_input(status) == wire.Source("v4l2", device="/dev/video0")


@pytest.mark.parametrize(
    "status", [None, wire.Status(), wire.Status(media_inputs=[wire.MediaInput("test", "x")])]
)
def test_without_a_camera_a_person_has_to_say(status: wire.Status | None) -> None:
    with pytest.raises(BadArguments, match="for a test picture"):
        posts.first_input(status)


def test_a_source_is_shown_without_its_password() -> None:
    source = wire.Source("uri", uri="rtsp://user:canary@camera/1")
    assert posts.shown(source) == {"mode": "uri", "uri": "rtsp://****@camera/****"}
    assert posts.shown(wire.Source("file", path="/a.ts")) == {"mode": "file", "path": "/a.ts"}
    assert msgspec.to_builtins(source)["uri"] == source.uri
