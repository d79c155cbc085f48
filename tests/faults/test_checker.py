"""The checker: green for what is right, and each check red for what was planted for it."""

from dataclasses import replace
from typing import TypeVar

import pytest

from faults.checker import Evidence, Published, Row, Stored, _sessions, check
from faults.history import Operation, Outcome


def post(subject: str, outcome: Outcome, made: str | None = None) -> Operation:
    status = {Outcome.OK: 201, Outcome.FAIL: 400, Outcome.UNKNOWN: None}[outcome]
    return Operation("post", subject, outcome=outcome, status=status, made=made)


def created(message: str, offset: int, event: str | None = None) -> Published:
    return Published("messages", 0, offset, message, event or f"{message} created", "message.created", 1)


MINA = Operation("register", "mina", outcome=Outcome.OK, status=201, made="mina-id")
HISTORY = [
    post("hello", Outcome.OK, made="m1"),
    post("perhaps, and it did", Outcome.UNKNOWN),
    post("perhaps, and it did not", Outcome.UNKNOWN),
    post("refused", Outcome.FAIL),
    post("perhaps, and it did", Outcome.FAIL),  # at the second attempt the session had ended
    Operation("post", "without a token", allowed=False),
    MINA,
    Operation("login", "mina", outcome=Outcome.OK, status=200, made="s1"),
    Operation("login", "mina"),
    Operation("refresh", "s1", outcome=Outcome.OK, status=200, made="s1"),
    Operation("logout", "s1", outcome=Outcome.OK, status=204),
    Operation("refresh", "s1", outcome=Outcome.FAIL, status=401),
]
ROWS = (
    Row("post", "m1", "hello"),
    Row("post", "m2", "perhaps, and it did"),
    Row("register", "mina-id", "mina", events=4),
)
TOPIC = (
    created("m1", 0),
    created("m2", 1),
    created("m2", 2),  # the retry of a publish whose acknowledgement was lost
    Published("auth", 1, 0, "mina-id", "e1", "user.registered", 1),
    Published("auth", 1, 1, "mina-id", "e2", "session.started", 2),
    Published("auth", 1, 2, "mina-id", "e3", "session.started", 3),
    Published("auth", 1, 3, "mina-id", "e4", "session.ended", 4),
    Published("auth", 1, 4, "hash-of-an-address", "e5", "login.failed", 1),
    Published("auth", 1, 5, "hash-of-an-address", "e6", "login.failed", 1),
)
STORE = (
    Stored("m1 created", "message.created", "m1"),
    Stored("m2 created", "message.created", "m2"),
    Stored("e1", "user.registered", "mina-id"),
    Stored("e2", "session.started", "mina-id", "s1"),
    Stored("e3", "session.started", "mina-id", "s2"),
    Stored("e4", "session.ended", "mina-id", "s1"),
    Stored("e5", "login.failed", "None"),
    Stored("e6", "login.failed", "None"),
)
CLEAN = Evidence(ROWS, TOPIC, STORE)
Place = TypeVar("Place", Published, Stored)


def without(event_id: str, place: tuple[Place, ...]) -> tuple[Place, ...]:
    """Return all of `place` except one event."""
    return tuple(each for each in place if each.event_id != event_id)


def test_what_is_right_is_green() -> None:
    assert check(HISTORY, CLEAN) == []
    assert CLEAN.retries == 1
    assert CLEAN.counts == (3, 3, 3)


ghost = created("m9", 9)
ghost_entry = Stored(ghost.event_id, ghost.type, "m9")
twin = created("m1", 9, event="another event of m1")
twin_entry = Stored(twin.event_id, twin.type, "m1")
late = replace(TOPIC[4], offset=9)


@pytest.mark.parametrize(
    ("name", "evidence"),
    [
        pytest.param("lost", replace(CLEAN, rows=ROWS[1:], topic=TOPIC[1:], store=STORE[1:]), id="acknowledged"),
        pytest.param("lost", replace(CLEAN, topic=TOPIC[1:], store=STORE[1:]), id="not published"),
        pytest.param("lost", replace(CLEAN, topic=without("e4", TOPIC)), id="not published, later one of key"),
        pytest.param("lost", replace(CLEAN, store=STORE[1:]), id="not stored"),
        pytest.param("lost", replace(CLEAN, rows=(replace(ROWS[0], id="m1b"), *ROWS[1:])), id="under another id"),
        pytest.param("duplicate", replace(CLEAN, rows=(*ROWS, replace(ROWS[1], id="m3"))), id="two rows"),
        pytest.param("duplicate", replace(CLEAN, topic=(*TOPIC, twin), store=(*STORE, twin_entry)), id="two events"),
        pytest.param("duplicate", replace(CLEAN, store=(*STORE, twin_entry)), id="two effects"),
        pytest.param("duplicate", replace(CLEAN, store=(*STORE, STORE[3])), id="stored twice"),
        pytest.param("phantom", replace(CLEAN, rows=(*ROWS, Row("post", "m9", "whose?"))), id="nobody asked"),
        pytest.param("phantom", replace(CLEAN, topic=(*TOPIC, ghost), store=(*STORE, ghost_entry)), id="no row"),
        pytest.param("phantom", replace(CLEAN, store=(*STORE, ghost_entry)), id="no record"),
        pytest.param("aborted", replace(CLEAN, rows=(*ROWS, Row("post", "m4", "refused"))), id="refused, yet there"),
        pytest.param("let in", replace(CLEAN, rows=(*ROWS, Row("post", "m5", "without a token"))), id="not allowed"),
        pytest.param("order", replace(CLEAN, topic=(*TOPIC[:4], late, TOPIC[5])), id="later one first"),
        pytest.param("order", replace(CLEAN, topic=(*TOPIC[:5], replace(TOPIC[5], sequence=2))), id="one number twice"),
        pytest.param("split key", replace(CLEAN, topic=(*TOPIC[:5], replace(TOPIC[5], partition=2))), id="partitions"),
    ],
)
def test_what_was_planted_is_found(name: str, evidence: Evidence) -> None:
    assert name in {violation.check for violation in check(HISTORY, evidence)}


THEFT = Stored("e5", "session.reuse_detected", "mina-id", "s2")
OFTEN = Stored("e6", "session.started", "mina-id", "s3")
TWICE = Stored("e7", "session.ended", "mina-id", "s1")
REFUSED = Operation("refresh", "s2", outcome=Outcome.FAIL, status=401)


@pytest.mark.parametrize(
    ("name", "more", "store"),
    [
        pytest.param("signed out", [], (*STORE, THEFT), id="taken for stolen"),
        pytest.param("signed out", [REFUSED], STORE, id="refused, nobody left"),
        pytest.param("phantom", [], (*STORE, OFTEN), id="a session more than logins"),
        pytest.param("lost", [], without("e4", STORE), id="left, without its event"),
        pytest.param("lost", [], without("e2", STORE), id="came, without its event"),
        pytest.param("duplicate", [], (*STORE, TWICE), id="ended twice"),
    ],
)
def test_what_was_planted_among_sessions_is_found(name: str, more: list[Operation], store: tuple[Stored, ...]) -> None:
    found = _sessions([*HISTORY, *more], ROWS, store)
    assert [violation.check for violation in found] == [name]


def test_sessions_as_they_should_be_are_green() -> None:
    assert list(_sessions(HISTORY, ROWS, STORE)) == []
