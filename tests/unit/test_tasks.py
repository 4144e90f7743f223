from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from strata.tasks import TaskGroup, in_thread


async def fail() -> None:
    raise ValueError("broken on purpose")


async def test_a_task_has_its_name_and_runs() -> None:
    done = asyncio.Event()

    async def work() -> None:
        task = asyncio.current_task()
        assert task is not None
        assert task.get_name() == "some-duty"
        done.set()

    group = TaskGroup()
    await group.spawn("some-duty", work())
    assert done.is_set()


async def test_a_failure_is_logged_and_handed_on(caplog: pytest.LogCaptureFixture) -> None:
    failures: list[tuple[str, BaseException]] = []
    group = TaskGroup(lambda name, error: failures.append((name, error)))
    await group.spawn("some-duty", fail())
    assert [(name, str(error)) for name, error in failures] == [("some-duty", "broken on purpose")]
    assert "some-duty ended with an error" in caplog.text
    assert "broken on purpose" in caplog.text


async def test_a_failure_that_nobody_asked_for_is_logged_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await TaskGroup().spawn("some-duty", fail())
    assert "broken on purpose" in caplog.text


async def test_a_failure_leaves_the_other_tasks_alone() -> None:
    group = TaskGroup()
    go_on = asyncio.Event()
    other = group.spawn("other", go_on.wait())
    await group.spawn("some-duty", fail())
    assert not other.done()
    go_on.set()
    await asyncio.wait_for(other, 5.0)


async def test_closing_cancels_and_waits() -> None:
    ended = asyncio.Event()
    started = asyncio.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.set()

    failures: list[str] = []
    group = TaskGroup(lambda name, error: failures.append(name))
    task = group.spawn("some-duty", work())
    await started.wait()
    await asyncio.wait_for(group.close(), 5.0)
    assert ended.is_set()
    assert task.cancelled()
    assert not failures


async def test_a_task_can_be_cancelled_before_its_first_step() -> None:
    steps: list[str] = []

    async def work() -> None:
        steps.append("one")

    group = TaskGroup()
    task = group.spawn("some-duty", work())
    await group.close()
    assert task.cancelled()
    assert steps == []
    gc.collect()  # a coroutine that nobody closed would warn now


async def test_a_task_that_closes_its_own_group_is_not_cancelled() -> None:
    group = TaskGroup()
    other = group.spawn("other", asyncio.Event().wait())
    closed = asyncio.Event()

    async def close() -> None:
        await group.close()
        closed.set()

    await asyncio.wait_for(group.spawn("closer", close()), 5.0)
    assert closed.is_set()
    assert other.cancelled()


async def test_a_thread_gives_its_result() -> None:
    async def name() -> str:
        return await in_thread("worker-7", lambda: threading.current_thread().name, 5.0)

    assert await name() == "worker-7"
    assert threading.current_thread().name != "worker-7"


async def test_a_thread_gives_its_error() -> None:
    def work() -> None:
        raise OSError("no such device")

    with pytest.raises(OSError, match="no such device"):
        await in_thread("worker", work, 5.0)


async def test_a_thread_that_hangs_is_left_behind() -> None:
    release = threading.Event()
    hung = threading.Event()

    def work() -> None:
        hung.set()
        release.wait(30.0)

    with pytest.raises(TimeoutError):
        await in_thread("worker", work, 0.05)
    assert hung.is_set()
    [thread] = [each for each in threading.enumerate() if each.name == "worker"]
    assert thread.daemon
    release.set()
    thread.join(5.0)
    await asyncio.sleep(0)  # the late result is delivered, and nobody minds


async def test_a_cancellation_that_comes_with_the_result_is_not_lost() -> None:
    release = threading.Event()
    task = asyncio.create_task(in_thread("worker", lambda: release.wait(30.0), 30.0))
    await asyncio.sleep(0)  # it has begun
    [thread] = [each for each in threading.enumerate() if each.name == "worker"]
    release.set()
    thread.join(5.0)  # the result waits for the loop
    asyncio.get_running_loop().call_soon(task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_thread_may_outlive_the_loop() -> None:
    release = threading.Event()

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await in_thread("worker", lambda: release.wait(30.0), 0.05)

    asyncio.run(give_up())
    [thread] = [each for each in threading.enumerate() if each.name == "worker"]
    release.set()
    thread.join(5.0)
    assert not thread.is_alive()
