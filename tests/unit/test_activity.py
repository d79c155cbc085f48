"""The activity lane: never in the way, bounded, in order, and every event is accounted for."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from aiokafka.errors import InvalidTopicError, LeaderNotAvailableError, MessageSizeTooLargeError
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from tidings.events import ActivityGap, ApiRequest, EventData
from tidings.events.topics import ACTIVITY
from tidings.kafka import activity
from tidings.kafka.activity import ActivityLane
from tidings.kafka.ordered import HeldBack
from tidings.telemetry.propagation import carrier_of
from unit.fakes import METER, FakePublisher, broker_down, in_span


class Keyless(EventData):
    name = "keyless"
    topic = ACTIVITY

    def key(self) -> str:
        raise RuntimeError("no key")


class NoText(EventData):
    name = "no_text"
    topic = ACTIVITY

    data: bytes = b"\xff"


def call(number: int) -> ApiRequest:
    return ApiRequest(method="GET", status=200, duration_ms=number, user_id=UUID(int=number))


def keys(publisher: FakePublisher) -> list[int]:
    calls = [outgoing for outgoing in publisher.delivered if ("ce_type", ApiRequest.type()) in outgoing.record.headers]
    return [UUID(outgoing.record.key.decode()).int for outgoing in calls]


def gaps(publisher: FakePublisher) -> list[int]:
    """How many events each `activity.gap` that was delivered says are missing."""
    found = [outgoing for outgoing in publisher.delivered if ("ce_type", ActivityGap.type()) in outgoing.record.headers]
    return [json.loads(outgoing.record.value)["dropped"] for outgoing in found]


def lane_of(publisher: FakePublisher, max_events: int = 100, max_bytes: int = 10**6) -> ActivityLane:
    return ActivityLane(publisher, METER, "tidings-test", max_events, max_bytes)


async def drained(lane: ActivityLane, deadline: float = 5) -> None:
    task = asyncio.create_task(lane.run())
    await asyncio.sleep(0)
    await lane.stop(task, deadline)


def dropped(lane: ActivityLane) -> dict[str, int]:
    return {name: count for name, count in lane.counts.items() if name.startswith("dropped.")}


def accounted(lane: ActivityLane) -> bool:
    """Tell whether the counts add up; while a batch is under way its events are in none of them."""
    return lane.counts["accepted"] == lane.counts["delivered"] + sum(dropped(lane).values()) + len(lane._waiting)


async def test_what_is_emitted_is_delivered_in_order_and_the_publisher_is_closed() -> None:
    publisher = FakePublisher()
    lane = lane_of(publisher)
    for number in range(10):
        lane.emit(call(number))
    await drained(lane)
    assert keys(publisher) == list(range(10))
    assert publisher.closed
    assert lane.counts == {"accepted": 10, "delivered": 10}
    assert dict(publisher.delivered[0].record.headers)["ce_source"] == "tidings-test"


async def test_a_running_lane_delivers_without_being_stopped() -> None:
    publisher = FakePublisher()
    lane = lane_of(publisher)
    task = asyncio.create_task(lane.run())
    for number in range(3):
        lane.emit(call(number))
        async with asyncio.timeout(5):
            while len(keys(publisher)) <= number:  # noqa: ASYNC110  # a fake sets no event
                await asyncio.sleep(0.001)
    await lane.stop(task, 1)
    assert keys(publisher) == [0, 1, 2]


async def test_events_that_come_one_soon_after_another_go_out_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "GATHER_SECONDS", 60)
    publisher = FakePublisher()
    lane = lane_of(publisher)
    task = asyncio.create_task(lane.run())
    for number in range(3):
        lane.emit(call(number))
        await asyncio.sleep(0.001)
    assert publisher.batches == []
    await lane.stop(task, 5)  # and the end does not wait for more
    assert [len(batch) for batch in publisher.batches] == [3]
    assert lane.counts == {"accepted": 3, "delivered": 3}


@pytest.mark.parametrize("broken", [Keyless(), NoText()], ids=["when its turn comes", "at once"])
async def test_what_cannot_be_encoded_is_counted_and_never_raises(
    broken: EventData, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = FakePublisher()
    lane = lane_of(publisher)
    lane.emit(call(1))
    lane.emit(broken)
    lane.emit(call(2))
    await drained(lane)
    assert keys(publisher) == [1, 2]
    assert gaps(publisher) == [1]
    assert lane.counts == {"accepted": 4, "delivered": 3, "dropped.unencodable": 1}
    assert "could not be encoded" in caplog.text


async def test_an_attempt_that_is_made_again_sends_the_same_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker may have the first one; the consumer knows the second by its id."""
    monkeypatch.setattr(activity, "RETRY_SECONDS", 0.001)
    publisher = FakePublisher(broker_down(2))
    lane = lane_of(publisher)
    lane.emit(call(1))
    await drained(lane)
    assert len({outgoing.record for (outgoing,) in publisher.batches}) == 1


async def test_an_event_happened_when_it_was_emitted_however_long_it_waited() -> None:
    publisher = FakePublisher()
    lane = lane_of(publisher)
    before = datetime.now(UTC)
    lane.emit(call(1))
    after = datetime.now(UTC)
    await asyncio.sleep(0.01)
    await drained(lane)
    (outgoing,) = publisher.delivered
    assert before <= datetime.fromisoformat(dict(outgoing.record.headers)["ce_time"]) <= after


async def test_drops_show_in_the_metrics_by_reason() -> None:
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("tests")
    lane = ActivityLane(FakePublisher(), meter, "tidings-test", max_events=3)
    for number in range(5):
        lane.emit(call(number))
    metrics: Any = reader.get_metrics_data()
    ((metric,),) = [scope.metrics for resource in metrics.resource_metrics for scope in resource.scope_metrics]
    assert metric.name == "tidings.events.dropped"
    assert metric.data.is_monotonic
    shown = {point.attributes["reason"]: point.value for point in metric.data.data_points}
    assert shown == {"buffer_full": 2, "refused": 0, "shutdown": 0, "unencodable": 0}


async def test_more_events_than_fit_drop_the_oldest_and_are_counted() -> None:
    publisher = FakePublisher()
    lane = lane_of(publisher, max_events=3)
    for number in range(10):
        lane.emit(call(number))
    await drained(lane)
    assert keys(publisher) == [7, 8, 9]
    assert gaps(publisher) == [7]
    assert lane.counts == {"accepted": 11, "dropped.buffer_full": 7, "delivered": 4}
    assert accounted(lane)


async def test_more_bytes_than_fit_drop_the_oldest_and_are_counted() -> None:
    probe = FakePublisher()
    lane = lane_of(probe)
    lane.emit(call(1))
    await drained(lane)
    size = activity.OVERHEAD + len(probe.delivered[0].record.value)

    publisher = FakePublisher()
    lane = lane_of(publisher, max_bytes=size * 2)
    for number in range(1, 6):
        lane.emit(call(number))
    await drained(lane)
    assert keys(publisher) == [4, 5]
    assert dropped(lane) == {"dropped.buffer_full": 3}
    assert accounted(lane)


async def test_events_go_out_in_batches_of_limited_size() -> None:
    publisher = FakePublisher()
    lane = lane_of(publisher, max_events=2_000)
    for number in range(activity.BATCH + 1):
        lane.emit(call(number))
    await drained(lane)
    assert [len(batch) for batch in publisher.batches] == [activity.BATCH, 1]
    assert keys(publisher) == list(range(activity.BATCH + 1))


async def test_after_an_outage_events_go_out_in_the_order_in_which_they_came(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.ERROR)
    monkeypatch.setattr(activity, "RETRY_SECONDS", 0.1)
    publisher = FakePublisher(broker_down(1))
    lane = lane_of(publisher)
    task = asyncio.create_task(lane.run())
    for number in range(3):
        lane.emit(call(number))
    await asyncio.sleep(0.01)
    assert publisher.delivered == []
    for number in range(3, 6):
        lane.emit(call(number))
    await lane.stop(task, 5)
    assert keys(publisher) == list(range(6))
    assert lane.counts == {"accepted": 6, "delivered": 6}


async def test_what_does_not_fit_back_after_an_outage_is_dropped_from_the_oldest() -> None:
    class Filling(FakePublisher):
        lane: ActivityLane

        async def publish(self, batch, deadline=0):  # type: ignore[no-untyped-def]  # as its base
            if not self.batches:
                for number in (4, 5):
                    self.lane.emit(call(number))
            return await super().publish(batch, deadline)

    publisher = Filling(broker_down(1))
    lane = publisher.lane = lane_of(publisher, max_events=3)
    for number in (1, 2, 3):
        lane.emit(call(number))
    await drained(lane, deadline=0.05)
    assert [UUID(outgoing.record.key.decode()).int for outgoing in publisher.batches[0]] == [1, 2, 3]
    assert lane.counts == {"accepted": 5, "dropped.buffer_full": 2, "dropped.shutdown": 3}


async def test_records_that_the_broker_refuses_are_counted_and_the_others_delivered() -> None:
    publisher = FakePublisher([[None, MessageSizeTooLargeError(), None]])
    lane = lane_of(publisher)
    for number in range(3):
        lane.emit(call(number))
    await drained(lane)
    assert keys(publisher) == [0, 2]
    assert gaps(publisher) == [1]
    assert lane.counts == {"accepted": 4, "delivered": 3, "dropped.refused": 1}


async def test_records_that_are_held_back_go_out_next() -> None:
    publisher = FakePublisher([[None, MessageSizeTooLargeError(), HeldBack(), HeldBack()]])
    lane = lane_of(publisher)
    for number in range(4):
        lane.emit(call(number))
    await drained(lane)
    assert keys(publisher) == [0, 2, 3]
    assert lane.counts == {"accepted": 5, "delivered": 4, "dropped.refused": 1}


async def test_what_the_broker_cannot_take_now_waits_and_is_not_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "RETRY_SECONDS", 0.001)
    publisher = FakePublisher([[LeaderNotAvailableError()] * 3])
    lane = lane_of(publisher)
    for number in range(3):
        lane.emit(call(number))
    await drained(lane)
    assert keys(publisher) == [0, 1, 2]
    assert lane.counts == {"accepted": 3, "delivered": 3}


async def test_a_gap_that_is_dropped_itself_leaves_nothing_untold() -> None:
    publisher = FakePublisher()
    lane = lane_of(publisher, max_events=3)
    for number in range(13):
        lane.emit(call(number))
    await lane._publish_oldest()  # three are delivered, and a gap of ten waits
    for number in range(4):
        lane.emit(call(number))  # it is the oldest, and dropped with one of these
    await drained(lane)
    assert gaps(publisher) == [11]


async def hang(*_: object) -> None:
    await asyncio.sleep(60)


@pytest.mark.parametrize("script", [broker_down(100), []], ids=["broker away", "broker silent"])
async def test_what_is_left_at_the_deadline_is_counted_as_dropped(script: list[Exception]) -> None:
    class Silent(FakePublisher):
        publish: Callable[..., Awaitable[list[Exception | None]]] = hang  # type: ignore[assignment]

    publisher = FakePublisher(script) if script else Silent()
    lane = lane_of(publisher)
    for number in range(5):
        lane.emit(call(number))
    loop = asyncio.get_running_loop()
    start = loop.time()
    await drained(lane, deadline=0.05)
    assert loop.time() - start < 1
    assert lane.counts == {"accepted": 5, "dropped.shutdown": 5}
    assert publisher.closed


async def test_a_lane_that_never_had_anything_stops_at_once() -> None:
    loop = asyncio.get_running_loop()
    start = loop.time()
    await drained(lane_of(FakePublisher()), deadline=5)
    assert loop.time() - start < 1


async def test_each_event_keeps_the_trace_in_which_it_was_emitted() -> None:
    publisher = FakePublisher()
    lane = lane_of(publisher)
    with in_span() as (trace_id, span_id):
        lane.emit(call(1))
    lane.emit(call(2))
    await drained(lane)
    inside, outside = publisher.delivered
    assert carrier_of(inside.context)["traceparent"].split("-")[1:3] == [trace_id, span_id]
    assert carrier_of(outside.context) == {}


async def test_a_publisher_that_fails_unexpectedly_loses_no_event_uncounted() -> None:
    publisher = FakePublisher([RuntimeError("nobody expected this")])
    lane = lane_of(publisher)
    for number in range(3):
        lane.emit(call(number))
    task = asyncio.create_task(lane.run())
    with pytest.raises(RuntimeError, match="nobody expected this"):
        await task
    assert accounted(lane)
    await lane.stop(task, 0.1)
    assert lane.counts == {"accepted": 3, "dropped.shutdown": 3}
    assert publisher.closed


async def test_every_event_is_accounted_for_in_good_times_and_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "RETRY_SECONDS", 0.001)
    publisher = FakePublisher([*broker_down(2), [None, MessageSizeTooLargeError(), None], *broker_down(1)])
    lane = lane_of(publisher, max_events=3)
    for number in range(5):
        lane.emit(call(number))
        assert accounted(lane)
    lane.emit(NoText())
    assert accounted(lane)
    task = asyncio.create_task(lane.run())
    while lane.counts["delivered"] < 2:
        await asyncio.sleep(0)
        assert accounted(lane)
    lane.emit(call(9))
    await lane.stop(task, 5)
    assert accounted(lane)
    assert lane.counts == {
        "accepted": 8,
        "delivered": 4,
        "dropped.buffer_full": 2,
        "dropped.unencodable": 1,
        "dropped.refused": 1,
    }


async def test_a_topic_that_refuses_everything_is_not_told_of_gaps_for_ever() -> None:
    publisher = FakePublisher([[InvalidTopicError()] * 2] * 50)
    lane = lane_of(publisher)
    lane.emit(call(1))
    lane.emit(call(2))
    await drained(lane)
    assert lane.counts == {"accepted": 2, "dropped.refused": 2}
