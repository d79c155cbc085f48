"""The demo: the journey of one request as a tree, and what it says when a call is refused."""

import httpx
import pytest

from tidings_local.demo import DemoFailed, _call, _events, journey

CALL = {
    "type": "api.request",
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "service": "tidings-messages",
    "method": "POST",
    "route": "/api/messages",
    "status": 201,
    "occurred_at": "2026-01-02T03:04:05.020000Z",
    "published_at": "2026-01-02T03:04:05.030000Z",
    "stored_at": "2026-01-02T03:04:05.045500Z",
    "topic": "tidings.activity.v1",
    "partition": 2,
    "offset": 17,
    "data": {"duration_ms": 20.04},
}
FACT = {
    "type": "message.created",
    "trace_id": CALL["trace_id"],
    "service": "tidings-messages",
    "occurred_at": "2026-01-02T03:04:05.010000Z",
    "published_at": "2026-01-02T03:04:05.015000Z",
    "stored_at": "2026-01-02T03:04:06.000000Z",
    "topic": "tidings.messages.v1",
    "partition": 0,
    "offset": 4,
    "data": {},
}


def test_the_journey_is_a_tree_with_times_since_the_request_began() -> None:
    assert journey([CALL, FACT]).splitlines() == [
        "trace 4bf92f3577b34da6a3ce929d0e0e4736",
        "└─ POST /api/messages → 201  in 20.0 ms  (tidings-messages)",
        "   ├─ message.created",
        "   │    happened     +10.0 ms  in tidings-messages",
        "   │    published    +15.0 ms  to tidings.messages.v1[0]@4",
        "   │    stored     +1000.0 ms  in the log",
        "   └─ api.request",
        "        happened     +20.0 ms  in tidings-messages",
        "        published    +30.0 ms  to tidings.activity.v1[2]@17",
        "        stored       +45.5 ms  in the log",
    ]


def test_the_order_of_the_log_does_not_matter_and_the_call_comes_last() -> None:
    later = FACT | {"type": "message.edited", "occurred_at": "2026-01-02T03:04:05.019000Z"}
    assert journey([later, CALL, FACT]) == journey([FACT, later, CALL])
    kinds = [line.split()[-1] for line in journey([later, CALL, FACT]).splitlines()[1:] if "─ " in line][1:]
    assert kinds == ["message.created", "message.edited", "api.request"]


def test_clocks_that_disagree_give_no_negative_times() -> None:
    early = FACT | {"occurred_at": "2026-01-02T03:04:04.000000Z"}
    assert "happened      +0.0 ms" in journey([early, CALL])


def answering(answer: httpx.Response | Exception) -> httpx.Client:
    def handle(_: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return httpx.Client(transport=httpx.MockTransport(handle), base_url="http://tidings.test")


def test_a_call_that_is_refused_says_which_and_how() -> None:
    with (
        answering(httpx.Response(503, text="busy")) as http,
        pytest.raises(DemoFailed, match="GET /x answered 503: busy"),
    ):
        _call(http, "GET", "/x")


def test_a_call_without_answer_says_where() -> None:
    with (
        answering(httpx.ConnectError("refused")) as http,
        pytest.raises(DemoFailed, match="no answer from http://tidings"),
    ):
        _call(http, "GET", "/x")


def test_the_demo_waits_for_the_fact_and_the_call_together() -> None:
    answers = iter([[], [CALL], [FACT, CALL]])
    with httpx.Client(
        transport=httpx.MockTransport(lambda _: httpx.Response(200, json={"items": next(answers)})), base_url="http://x"
    ) as http:
        assert _events(http, "trace") == [FACT, CALL]
