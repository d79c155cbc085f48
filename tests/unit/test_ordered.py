"""Sending in order: what is decided before anything goes to a broker."""

from typing import Any

from aiokafka.errors import UnknownTopicOrPartitionError

from tidings.kafka.ordered import HeldBack, Outcome, RawRecord, is_held_back, is_refusal, send_in_order


class NoTopics:
    """A producer of a cluster that has no topics and makes none on demand."""

    async def partitions_for(self, topic: str) -> set[int]:
        """Say that there is no such topic."""
        raise UnknownTopicOrPartitionError


async def test_records_of_a_topic_that_is_not_there_wait_for_it_and_say_how_to_make_it() -> None:
    producer: Any = NoTopics()
    outcomes: list[Outcome] = [HeldBack()]
    await send_in_order(producer, [RawRecord("absent.v1", b"k", b"{}", ())], outcomes)
    (outcome,) = outcomes
    assert not is_refusal(outcome)
    assert not is_held_back(outcome)
    assert "there is no topic absent.v1; python -m tidings topics apply makes it" in str(outcome)
