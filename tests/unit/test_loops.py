"""Loops: a task that was told to stop ends in time, and its error is nobody else's."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from tidings.kafka.loops import end


def started(work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    return asyncio.create_task(work)


async def seconds_to_end(task: "asyncio.Task[None]", deadline: float) -> float:
    loop = asyncio.get_running_loop()
    start = loop.time()
    await end(task, deadline)
    return loop.time() - start


async def test_a_task_that_ends_in_time_is_waited_for_and_not_longer() -> None:
    done: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0.01)
        done.append("all of it")

    task = started(work())
    assert await seconds_to_end(task, 5) < 1
    assert done == ["all of it"]
    assert not task.cancelled()


async def test_a_task_that_does_not_end_in_time_is_cancelled_and_may_tidy_up() -> None:
    done: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            done.append("tidied up")

    task = started(work())
    assert 0.04 < await seconds_to_end(task, 0.05) < 1
    assert done == ["tidied up"]
    assert task.cancelled()


async def test_an_error_of_the_task_is_not_raised() -> None:
    async def work() -> None:
        raise RuntimeError("before its end")

    task = started(work())
    await end(task, 1)
    assert isinstance(task.exception(), RuntimeError)


async def test_an_error_while_the_task_is_cancelled_is_not_raised() -> None:
    async def work() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise RuntimeError("at its end") from None

    task = started(work())
    await end(task, 0.01)
    assert isinstance(task.exception(), RuntimeError)


async def test_a_task_that_ended_before_stays_as_it_is() -> None:
    async def work() -> None:
        return None

    task = started(work())
    await task
    assert await seconds_to_end(task, 5) < 1
    assert not task.cancelled()


async def test_a_task_that_was_cancelled_before_is_no_error() -> None:
    task = started(asyncio.sleep(60))
    task.cancel()
    await end(task, 1)
    assert task.cancelled()
