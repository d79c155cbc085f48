"""Handing over: a rebalance waits for the batch in hand, but not for ever."""

import asyncio

import pytest

from tidings.kafka.rebalance import HandOver


async def test_with_free_hands_the_partitions_go_at_once() -> None:
    hand_over = HandOver()
    await asyncio.wait_for(hand_over.on_partitions_revoked([]), 1)
    assert hand_over.wanted.is_set()
    await hand_over.on_partitions_assigned([])
    assert not hand_over.wanted.is_set()


async def test_the_partitions_stay_until_the_batch_in_hand_is_done() -> None:
    hand_over = HandOver()
    with hand_over.batch_in_hand():
        revoking = asyncio.create_task(hand_over.on_partitions_revoked([]))
        await asyncio.sleep(0.05)
        assert not revoking.done()
    await asyncio.wait_for(revoking, 1)


async def test_a_batch_that_fails_frees_the_hands_too() -> None:
    hand_over = HandOver()
    with pytest.raises(RuntimeError), hand_over.batch_in_hand():
        raise RuntimeError
    await asyncio.wait_for(hand_over.on_partitions_revoked([]), 1)


async def test_a_batch_that_takes_too_long_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidings.kafka.rebalance.HAND_OVER_SECONDS", 0.05)
    hand_over = HandOver()
    with hand_over.batch_in_hand():
        await asyncio.wait_for(hand_over.on_partitions_revoked([]), 1)
