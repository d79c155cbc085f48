"""UUIDv7: shape, order and time."""

import itertools
import threading
import time
from uuid import RFC_4122, UUID

from hypothesis import given
from hypothesis import strategies as st

from tidings.events import uuid7


def milliseconds(value: UUID) -> int:
    return value.int >> 80


@given(st.integers(min_value=1, max_value=50))
def test_every_id_has_version_7_and_the_rfc_variant(count: int) -> None:
    for value in [uuid7() for _ in range(count)]:
        assert value.version == 7
        assert value.variant == RFC_4122


def test_ids_of_a_burst_strictly_increase_in_value_bytes_and_text() -> None:
    ids = [uuid7() for _ in range(10_000)]
    for key in (lambda i: i.int, lambda i: i.bytes, str):
        assert all(key(a) < key(b) for a, b in itertools.pairwise(ids))


def test_ids_from_many_threads_are_unique_and_increase_in_each_thread() -> None:
    made: list[list[UUID]] = [[] for _ in range(8)]
    start = threading.Barrier(len(made))

    def make(mine: list[UUID]) -> None:
        start.wait()
        mine.extend(uuid7() for _ in range(2_000))

    threads = [threading.Thread(target=make, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({value for mine in made for value in mine}) == 16_000
    assert all(mine == sorted(mine) for mine in made)


def test_the_timestamp_is_now() -> None:
    # Bursts of other tests may have counted a few milliseconds ahead of the clock.
    before = time.time_ns() // 1_000_000
    stamp = milliseconds(uuid7())
    after = time.time_ns() // 1_000_000
    assert before <= stamp <= after + 50


def test_the_random_part_differs_between_ids() -> None:
    assert len({uuid7().int & (2**62 - 1) for _ in range(1_000)}) == 1_000
