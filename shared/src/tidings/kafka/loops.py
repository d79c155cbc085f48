"""Loops: how a background task is brought to its end."""

import asyncio

CANCEL_SECONDS = 2.0


async def end(task: "asyncio.Task[None]", deadline: float) -> None:
    """Wait for a task that was told to stop, at most `deadline` seconds; then cancel it. Its error is not raised."""
    await asyncio.wait([task], timeout=deadline)
    task.cancel()
    await asyncio.wait([task], timeout=CANCEL_SECONDS)
