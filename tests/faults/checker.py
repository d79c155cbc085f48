"""The checker: a pure function that compares what clients were told with what there is.

It follows each fact on its way: history, database, topic, store. What it says of one place it says by the facts of the
place before, so that each violation names the step at which something went wrong.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from faults.history import Operation, Outcome

FACTS = {"post": "message.created", "register": "user.registered"}
"""The event that each kind of operation makes exactly once."""
FAILED_LOGIN = "login.failed"
"""Events of this type have no number, and their key names no account when there is none of the name."""


@dataclass(frozen=True)
class Row:
    """What the database has of one message or user."""

    kind: str
    """The kind of operation that made it."""
    id: str
    subject: str
    events: int = 1
    """How many events its aggregate had."""


@dataclass(frozen=True)
class Published:
    """One record of a topic."""

    topic: str
    partition: int
    offset: int
    key: str
    event_id: str
    type: str
    sequence: int


@dataclass(frozen=True)
class Stored:
    """One entry of the log."""

    event_id: str
    type: str
    about: str
    """The id of the message or user."""
    session: str = ""
    """The id of the session, if it is of one."""


@dataclass(frozen=True)
class Violation:
    """Something that was promised never to happen."""

    check: str
    detail: str


@dataclass(frozen=True)
class Evidence:
    """What was found once everything came to rest."""

    rows: Sequence[Row]
    topic: Sequence[Published]
    store: Sequence[Stored]

    @property
    def retries(self) -> int:
        """How many records are in a topic again because their acknowledgement was lost."""
        return len(self.topic) - len({record.event_id for record in self.topic})

    @property
    def most_copies(self) -> int:
        """How often the event is in its topic that is there most often."""
        return max(Counter(record.event_id for record in self.topic).values(), default=0)

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many messages and users the database, the topics and the store know."""
        published = {record.event_id for record in self.topic if record.type in FACTS.values()}
        return len(self.rows), len(published), sum(entry.type in FACTS.values() for entry in self.store)


def check(history: Iterable[Operation], evidence: Evidence) -> list[Violation]:
    """Return everything that is wrong.

    Args:
        history: what clients were told.
        evidence: rows, topic and store after all outboxes are empty and all is consumed.
    """
    history = list(history)
    return [
        *_in_database(history, evidence.rows),
        *_in_topic(evidence.rows, evidence.topic),
        *_in_store(evidence.topic, evidence.store),
        *_sessions(history, evidence.rows, evidence.store),
        *_order(evidence.topic),
    ]


def _in_database(history: Sequence[Operation], rows: Sequence[Row]) -> Iterator[Violation]:
    asked = {(one.kind, one.subject) for one in history}
    found = Counter((row.kind, row.subject) for row in rows)
    ids = {row.id for row in rows}
    perhaps = {(one.kind, one.subject) for one in history if one.outcome is not Outcome.FAIL}
    for one in history:
        if one.kind not in FACTS:
            continue
        there = found[one.kind, one.subject]
        if one.outcome is Outcome.OK and (not there or one.made not in ids):
            yield Violation("lost", f"{one.kind} {one.subject!r} was answered {one.status}, the database lacks it")
        if not one.allowed and there:
            yield Violation("let in", f"{one.kind} {one.subject!r} was not allowed, the database has it")
        # A second attempt may be refused for another reason, such as an ended session, after the first took effect.
        if one.outcome is Outcome.FAIL and there and (one.kind, one.subject) not in perhaps:
            yield Violation("aborted", f"{one.kind} {one.subject!r} was answered {one.status}, the database has it")
    for (kind, subject), count in found.items():
        if count > 1:
            yield Violation("duplicate", f"{kind} {subject!r} is in the database {count} times")
        if (kind, subject) not in asked:
            yield Violation("phantom", f"{kind} {subject!r} is in the database, nobody asked for it")


def _in_topic(rows: Sequence[Row], topic: Sequence[Published]) -> Iterator[Violation]:
    by_key: dict[str, set[int]] = defaultdict(set)
    made: dict[tuple[str, str], set[str]] = defaultdict(set)
    for record in topic:
        if record.type == FAILED_LOGIN:
            continue
        by_key[record.key].add(record.sequence)
        made[record.type, record.key].add(record.event_id)
    for row in rows:
        type_ = FACTS[row.kind]
        if not made[type_, row.id]:
            yield Violation("lost", f"{type_} of {row.id} is not in the topic, its row is there")
        if missing := set(range(1, row.events + 1)) - by_key[row.id] - {1}:
            yield Violation("lost", f"events {sorted(missing)} of {row.id} are not in the topic")
    ids = {row.id for row in rows}
    for (type_, key), events in made.items():
        if events and key not in ids:
            yield Violation("phantom", f"{type_} of {key} is in the topic, the database knows no such row")
        if len(events) > 1 and type_ in FACTS.values():
            yield Violation("duplicate", f"{type_} of {key} was published as {len(events)} events")


def _in_store(topic: Sequence[Published], store: Sequence[Stored]) -> Iterator[Violation]:
    published = {record.event_id: record for record in topic}
    stored = Counter(entry.event_id for entry in store)
    effects = Counter((entry.type, entry.about) for entry in store if entry.type in FACTS.values())
    for event_id, record in published.items():
        if not stored[event_id]:
            place = f"{record.topic}[{record.partition}]@{record.offset}"
            yield Violation("lost", f"{record.type} of {record.key} at {place} is not in the store")
    for entry in store:
        if entry.event_id not in published:
            yield Violation("phantom", f"{entry.type} of {entry.about} is in the store, not in the topic")
    for event_id, count in stored.items():
        if count > 1:
            yield Violation("duplicate", f"event {event_id} is in the store {count} times")
    for (type_, about), count in effects.items():
        if count > 1:
            yield Violation("duplicate", f"{type_} of {about} took effect {count} times in the store")


def _sessions(history: Sequence[Operation], rows: Sequence[Row], store: Sequence[Stored]) -> Iterator[Violation]:
    of: dict[str, Counter[str]] = defaultdict(Counter)
    for entry in store:
        of[entry.type][entry.session] += 1
    left = {one.subject for one in history if one.kind == "logout"}
    begun: set[str | None] = set()
    perhaps: Counter[str] = Counter()
    for one in history:
        ok = one.outcome is Outcome.OK
        if one.kind == "login" and ok:
            begun.add(one.made)
            if not of["session.started"][one.made or ""]:
                yield Violation("lost", f"login of {one.subject} began {one.made}, of which there is no event")
        if one.kind == "login" and one.outcome is Outcome.UNKNOWN:
            perhaps[one.subject] += 1
        if one.kind == "logout" and ok and not of["session.ended"][one.subject]:
            yield Violation("lost", f"{one.subject} was signed out, there is no event of its end")
        if one.kind == "refresh" and one.status == 401 and one.subject not in left:
            yield Violation("signed out", f"{one.subject} was refused a refresh, nobody had signed out")
    names = {row.id: row.subject for row in rows}
    perhaps.subtract(names[one.about] for one in store if one.type == "session.started" and one.session not in begun)
    for name, count in perhaps.items():
        if count < 0:
            yield Violation("phantom", f"{-count} sessions of {name} began that nobody asked for")
    for type_ in ("session.started", "session.ended"):
        for session, count in of[type_].items():
            if count > 1:
                yield Violation("duplicate", f"{type_} of {session} is in the store {count} times")
    for session in of["session.reuse_detected"]:
        yield Violation("signed out", f"{session} was taken for stolen")


def _order(topic: Sequence[Published]) -> Iterator[Violation]:
    by_key: dict[tuple[str, str], list[Published]] = defaultdict(list)
    numbered = [record for record in topic if record.type != FAILED_LOGIN]
    for record in sorted(numbered, key=lambda record: (record.topic, record.partition, record.offset)):
        by_key[record.topic, record.key].append(record)
    for (name, key), records in by_key.items():
        if len(partitions := {record.partition for record in records}) > 1:
            yield Violation("split key", f"{key} is in partitions {sorted(partitions)} of {name}")
        # An event that is there again is a publish made again; whoever takes each id once sees the first.
        first = {record.event_id: record for record in reversed(records)}
        for before, after in pairwise(sorted(first.values(), key=lambda record: (record.partition, record.offset))):
            if after.sequence <= before.sequence:
                steps = f"{before.sequence} then {after.sequence}"
                yield Violation("order", f"{key} in {name}[{after.partition}] at {after.offset}: {steps}")
