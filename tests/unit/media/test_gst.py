from __future__ import annotations

import asyncio

import pytest
from gi.repository import GLib

from strata.errors import PartMissing
from strata.media import gst
from strata.media.gst import Gst
from strata.wire import forward_url
from strata.worker import ingest, kinds

DEADLINE_S = 10.0
ONE_OF_EACH_KIND = (
    *("rtmp://host/app/key", "srt://host:9000", "hls:///media/live", "https://host/live/"),
    *("file:///media/name.ts", "file:///media/name.mkv", "file:///media/name.mp4"),
)


def test_what_a_worker_is_made_of_is_installed_and_has_a_package() -> None:
    every = [kinds.of(forward_url.parse(url)) for url in ONE_OF_EACH_KIND]
    elements = {*ingest.ELEMENTS, *(element for kind in every for element in kind.ELEMENTS)}
    gst.require(elements)
    assert elements <= set(gst.PACKAGES)


def test_what_is_missing_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        gst, "PACKAGES", {"nosuchmux": "gst-nothing", "nosuchsink": "gst-nothing", "appsrc": "base"}
    )
    with pytest.raises(PartMissing) as one:
        gst.require(["appsrc", "nosuchsink"])
    assert "lacks the element nosuchsink, " in one.value.message
    assert one.value.message.endswith("apt-get install gst-nothing")
    with pytest.raises(PartMissing) as two:
        gst.require(["nosuchsink", "nosuchmux", "nosuchsink"])
    assert "the elements nosuchmux, nosuchsink," in two.value.message
    assert two.value.message.count("gst-nothing") == 1
    assert two.value.exit_status == 4


def test_an_element_is_made_with_its_properties() -> None:
    source = gst.make("appsrc", max_bytes=5)
    assert source.get_property("max-bytes") == 5


def test_an_element_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gst, "PACKAGES", {"nosuchsink": "gst-nothing"})
    with pytest.raises(PartMissing, match="lacks the element nosuchsink"):
        gst.make("nosuchsink")


def test_an_element_that_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gst.Gst.ElementFactory, "make", lambda factory, name: None)
    with pytest.raises(PartMissing, match="appsrc is installed but does not load"):
        gst.make("appsrc")


async def test_messages_wake_the_event_loop() -> None:
    pipeline = Gst.Pipeline.new("test")
    source = gst.make("appsrc")
    pipeline.add(source)
    bus = pipeline.get_bus()
    woken = asyncio.Event()
    unwatch = gst.watch_bus(bus, woken.set)
    failure = Gst.Message.new_error(source, _error("it broke"), "the details")
    caution = Gst.Message.new_warning(source, _error("it creaks"), "")
    bus.post(Gst.Message.new_latency(source))
    for message in (failure, caution, Gst.Message.new_eos(pipeline)):
        bus.post(message)
    await asyncio.wait_for(woken.wait(), DEADLINE_S)
    unwatch()
    found = gst.pop_messages(bus)
    assert [message.type for message in found] == [
        *(Gst.MessageType.ERROR, Gst.MessageType.WARNING, Gst.MessageType.EOS),
    ]
    assert gst.bus_error(found[0]) == ("it broke", "the details")
    assert gst.bus_error(found[1]) == ("it creaks", "")
    assert gst.pop_messages(bus) == []


async def test_after_the_watch_nothing_is_called() -> None:
    pipeline = Gst.Pipeline.new("test")
    bus = pipeline.get_bus()
    calls: list[str] = []
    unwatch = gst.watch_bus(bus, lambda: calls.append("called"))
    unwatch()
    other = asyncio.Event()
    asyncio.get_running_loop().add_reader(bus.get_pollfd().fd, other.set)
    bus.post(Gst.Message.new_eos(pipeline))
    await asyncio.wait_for(other.wait(), DEADLINE_S)
    asyncio.get_running_loop().remove_reader(bus.get_pollfd().fd)
    assert calls == []


def _error(text: str) -> GLib.Error:
    return GLib.Error.new_literal(Gst.resource_error_quark(), text, 1)
