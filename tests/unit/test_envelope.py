"""The envelope: types, keys and users of every event, and what an event accepts."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from pydantic import ValidationError

from tidings import events
from tidings.events import CATALOGUE, ApiRequest, Event, EventData, MessageCreated, SessionStarted, UserRegistered
from tidings.events.topics import ACTIVITY, AUTH, MESSAGES, REGISTRY

USER = UUID("018f0000-0000-7000-8000-000000000001")
OTHER = UUID("018f0000-0000-7000-8000-000000000002")

CALL = ApiRequest(method="GET", status=200, duration_ms=1)


def test_every_public_name_of_events_can_be_imported() -> None:
    assert {name for name in events.__all__ if not hasattr(events, name)} == set()
    assert events.__all__ == sorted(events.__all__, key=lambda name: (not name.isupper(), name.islower(), name))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (UserRegistered, "tidings.user.registered.v1"),
        (SessionStarted, "tidings.session.started.v1"),
        (MessageCreated, "tidings.message.created.v1"),
        (ApiRequest, "tidings.api.request.v1"),
    ],
)
def test_a_type_has_prefix_and_version_and_is_in_the_catalogue(kind: type[EventData], expected: str) -> None:
    assert kind.type() == expected
    assert CATALOGUE[expected] is kind


def test_every_catalogue_event_goes_to_a_registered_topic() -> None:
    assert {kind.topic for kind in CATALOGUE.values()} == {AUTH, MESSAGES, ACTIVITY}
    assert {kind.topic for kind in CATALOGUE.values()} <= set(REGISTRY)
    assert all(name == topic.name and topic.partitions > 0 for name, topic in REGISTRY.items())


def test_events_about_an_account_are_ordered_by_account() -> None:
    registered = UserRegistered(user_id=USER, username="mina")
    started = SessionStarted(user_id=USER, username="mina", session_id=OTHER)
    assert registered.key() == started.key() == str(USER)
    assert registered.user() == started.user() == USER


def test_events_about_a_message_are_ordered_by_message_and_belong_to_its_author() -> None:
    created = MessageCreated(message_id=OTHER, author_id=USER, author="mina", length=1)
    assert created.key() == str(OTHER)
    assert created.user() == USER


@pytest.mark.parametrize(
    ("user", "client", "key"),
    [(USER, "abc", str(USER)), (None, "abc", "abc"), (None, None, "anonymous"), (None, "", "anonymous")],
)
def test_activity_is_ordered_by_user_else_by_client(user: UUID | None, client: str | None, key: str) -> None:
    call = ApiRequest(method="GET", status=200, duration_ms=1, user_id=user, client=client)
    assert call.key() == key
    assert call.user() == user


def test_an_event_names_itself_and_its_moment() -> None:
    before = datetime.now(UTC)
    first: Event[ApiRequest] = Event(source="s", data=CALL)
    second: Event[ApiRequest] = Event(source="s", data=CALL)
    assert first.id != second.id
    assert first.id.version == 7
    assert before <= first.time <= datetime.now(UTC)
    assert first.time.utcoffset() == timedelta(0)
    assert first.sequence is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"source": ""},
        {"source": "s" * 256},
        {"time": datetime(2026, 1, 1)},  # noqa: DTZ001  # that a naive one is refused is the point
        {"sequence": -1},
        {"sequence": 10**19},
        {"id": "no uuid"},
    ],
)
def test_an_event_refuses_wrong_attributes(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Event.model_validate({"source": "s", "data": CALL} | wrong)


def test_events_cannot_be_changed() -> None:
    event: Event[ApiRequest] = Event(source="s", data=CALL)
    with pytest.raises(ValidationError, match="frozen"):
        event.source = "t"  # type: ignore[misc]  # that it is refused at run time too is the point
    with pytest.raises(ValidationError, match="frozen"):
        event.data.status = 500  # type: ignore[misc]  # as above


def test_data_ignores_fields_of_a_newer_producer() -> None:
    data = ApiRequest.model_validate({"method": "GET", "status": 200, "duration_ms": 1, "since_version_2": "x"})
    assert data == CALL


def test_data_without_key_and_user_says_so() -> None:
    class Unfinished(EventData):
        name = "unfinished"
        topic = ACTIVITY

    with pytest.raises(NotImplementedError):
        Unfinished().key()
    with pytest.raises(NotImplementedError):
        Unfinished().user()


@pytest.mark.parametrize("duration", [float("inf"), float("-inf"), float("nan")])
def test_a_duration_that_json_cannot_carry_is_refused_when_it_is_made(duration: float) -> None:
    with pytest.raises(ValidationError, match="duration_ms"):
        ApiRequest(method="GET", status=200, duration_ms=duration)
