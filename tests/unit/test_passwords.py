"""Passwords: the policy, the hashes, and what happens when too many come at once."""

import asyncio
from collections.abc import Iterator

import pytest
from argon2 import extract_parameters
from argon2.low_level import Type
from hypothesis import given
from hypothesis import strategies as st

from tidings_auth.passwords import MAX_LENGTH, QUEUE, WORKERS, HashingBusy, Passwords, check_policy


@pytest.fixture(scope="module")
def passwords() -> Iterator[Passwords]:
    made = Passwords()
    yield made
    made.close()


async def test_a_password_is_verified_by_its_hash_and_no_other_is(passwords: Passwords) -> None:
    encoded = await passwords.hash("비밀번호 🌤 \0 correct")
    assert await passwords.verify(encoded, "비밀번호 🌤 \0 correct") is True
    for wrong in ("비밀번호 🌤 \0 correct ", "비밀번호 🌤 \0 Correct", "비밀번호 🌤 ", ""):
        assert await passwords.verify(encoded, wrong) is False


async def test_a_hash_is_argon2id_with_owasps_parameters_and_a_salt_of_its_own(passwords: Passwords) -> None:
    one, other = await passwords.hash("the same"), await passwords.hash("the same")
    assert one != other
    found = extract_parameters(one)
    assert (found.type, found.memory_cost, found.time_cost, found.parallelism) == (Type.ID, 19_456, 2, 1)
    assert "the same" not in one
    assert len(one) <= 255
    assert one.isascii()


@pytest.mark.parametrize("encoded", [None, "", "garbage", "$argon2id$v=19$m=1", "$2b$12$abcdefghijklmnopqrstuv"])
async def test_without_a_usable_hash_no_password_is_right(passwords: Passwords, encoded: str | None) -> None:
    assert await passwords.verify(encoded, "anything") is False


async def test_when_the_queue_is_full_one_more_is_refused_and_later_ones_are_not(passwords: Passwords) -> None:
    room = QUEUE + WORKERS
    results = await asyncio.gather(*(passwords.verify("garbage", "x") for _ in range(room + 3)), return_exceptions=True)
    assert results[:room] == [False] * room
    assert [type(result) for result in results[room:]] == [HashingBusy] * 3
    assert await passwords.verify("garbage", "x") is False


async def test_a_caller_that_goes_away_gives_its_place_back(passwords: Passwords) -> None:
    tasks = [asyncio.create_task(passwords.verify("garbage", "x")) for _ in range(QUEUE + WORKERS)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await passwords.verify("garbage", "x") is False


@pytest.mark.parametrize("password", ["x" * 8, "x" * MAX_LENGTH, "비밀번호여덟글자", "        ", "\0" * 8])
def test_any_characters_of_the_right_number_are_allowed(password: str) -> None:
    check_policy(password, "mina", 8)


@pytest.mark.parametrize(("length", "minimum"), [(0, 8), (7, 8), (14, 15), (MAX_LENGTH + 1, 8)])
def test_too_few_and_too_many_are_refused(length: int, minimum: int) -> None:
    with pytest.raises(ValueError, match=f"{minimum} to 256 characters"):
        check_policy("x" * length, "mina", minimum)


@pytest.mark.parametrize("password", ["mina-mina", "xxMINAxx", "12345mina"])
def test_a_password_must_not_contain_the_username_in_any_case(password: str) -> None:
    with pytest.raises(ValueError, match="must not contain the username"):
        check_policy(password, "Mina", 8)


@given(st.text(max_size=300), st.text(max_size=64))
def test_a_refusal_never_repeats_the_password(password: str, username: str) -> None:
    said = ""
    try:
        check_policy(password, username, 8)
    except ValueError as error:
        said = str(error)
    assert said in ("", "a password has 8 to 256 characters", "a password must not contain the username")
