"""Passwords: the policy, the hashes, and what happens when too many come at once."""

import asyncio
import os
import sys
import threading
from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.low_level import Type
from hypothesis import given
from hypothesis import strategies as st

from tidings_auth import common_passwords
from tidings_auth.common_passwords import is_common
from tidings_auth.passwords import (
    CORES,
    MAX_LENGTH,
    NICE,
    QUEUE,
    WORKERS,
    HashingBusy,
    Passwords,
    Verdict,
    check_policy,
)

WRONG, RIGHT, OUTDATED = Verdict.WRONG, Verdict.RIGHT, Verdict.OUTDATED


@pytest.fixture(scope="module")
def passwords() -> Iterator[Passwords]:
    made = Passwords()
    yield made
    made.close()


async def test_a_password_is_verified_by_its_hash_and_no_other_is(passwords: Passwords) -> None:
    encoded = await passwords.hash("비밀번호 🌤 \0 correct")
    assert await passwords.verify(encoded, "비밀번호 🌤 \0 correct") is RIGHT
    for wrong in ("비밀번호 🌤 \0 correct ", "비밀번호 🌤 \0 Correct", "비밀번호 🌤 ", "", "\ud800"):
        assert await passwords.verify(encoded, wrong) is WRONG


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
    assert await passwords.verify(encoded, "anything") is WRONG


async def test_when_the_queue_is_full_one_more_is_refused_and_later_ones_are_not(passwords: Passwords) -> None:
    room = QUEUE + WORKERS
    results = await asyncio.gather(*(passwords.verify("garbage", "x") for _ in range(room + 3)), return_exceptions=True)
    assert results[:room] == [WRONG] * room
    assert [type(result) for result in results[room:]] == [HashingBusy] * 3
    assert await passwords.verify("garbage", "x") is WRONG


async def test_a_caller_that_goes_away_gives_its_place_back(passwords: Passwords) -> None:
    tasks = [asyncio.create_task(passwords.verify("garbage", "x")) for _ in range(QUEUE + WORKERS)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await passwords.verify("garbage", "x") is WRONG


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
    assert said in (
        "",
        "a password has 8 to 256 characters",
        "a password must not contain the username",
        "contains half of a surrogate pair, which is no character",
        "this password is one of the most common; choose another",
    )


@pytest.mark.parametrize("password", ["a\ud800bcdefgh", "\udfff" * 8])
def test_half_a_surrogate_pair_is_no_character(password: str) -> None:
    with pytest.raises(ValueError, match="half of a surrogate pair"):
        check_policy(password, "mina", 8)


def test_a_username_is_found_in_a_password_as_usernames_are_compared() -> None:
    for password in ("my ＭＩＮＡ is here", "my straße", "my STRASSE"):
        with pytest.raises(ValueError, match="must not contain the username"):
            check_policy(password, "mina" if "ＭＩＮＡ" in password else "Strasse", 8)


@pytest.mark.parametrize(
    "password", ["password", "12345678", "PassWord1", "iloveyou", "ｐａｓｓｗｏｒｄ", "QWERTYUIOP"]
)
def test_a_common_password_is_refused_in_any_case_and_width(password: str) -> None:
    with pytest.raises(ValueError, match=r"^this password is one of the most common; choose another$"):
        check_policy(password, "mina", 8)


@pytest.mark.parametrize(
    "password", ["password horse", "비밀번호여덟글자", "a password that nobody else has", " password"]
)
def test_what_only_contains_a_common_password_is_allowed(password: str) -> None:
    check_policy(password, "mina", 8)


def test_the_list_has_more_than_ten_thousand_that_pass_the_length_and_nothing_else_of_its_package_stays() -> None:
    assert not is_common("")
    found = common_passwords._common()
    assert len(found) > 10_000
    assert min(map(len, found)) == 8
    assert not [name for name in sys.modules if name.startswith(("zxcvbn", "frequency_lists"))]


@pytest.mark.parametrize(
    ("one", "other"), [("caf\u00e9 au lait", "cafe\u0301 au lait"), ("ﬁnd me a horse", "find me a horse")]
)
async def test_a_password_is_not_normalised(passwords: Passwords, one: str, other: str) -> None:
    encoded = await passwords.hash(one)
    assert await passwords.verify(encoded, one) is RIGHT
    assert await passwords.verify(encoded, other) is WRONG


async def test_a_hash_of_other_parameters_is_right_and_outdated(passwords: Passwords) -> None:
    old = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("correct horse")
    assert await passwords.verify(old, "correct horse") is OUTDATED
    assert await passwords.verify(old, "wrong horse") is WRONG


async def test_hashing_stands_back_for_the_loop_and_leaves_it_a_core(passwords: Passwords) -> None:
    def priority() -> tuple[str, int]:
        return threading.current_thread().name, os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    own = priority()[1]
    name, found = await passwords._run(priority)
    assert name.startswith("argon2")
    assert found == min(19, NICE)
    assert priority()[1] == own
    assert WORKERS == 1 or CORES > WORKERS


async def test_who_goes_away_before_its_turn_is_not_hashed_for(passwords: Passwords) -> None:
    turn, done = threading.Event(), []
    first = [asyncio.create_task(passwords._run(turn.wait)) for _ in range(WORKERS)]
    waiting = [asyncio.create_task(passwords._run(lambda: done.append(1))) for _ in range(QUEUE)]
    await asyncio.sleep(0)
    for task in waiting[1:]:
        task.cancel()
    await asyncio.gather(*waiting[1:], return_exceptions=True)
    after = [asyncio.create_task(passwords._run(lambda: done.append(1))) for _ in range(QUEUE - 1)]
    await asyncio.sleep(0)
    turn.set()
    await asyncio.gather(*first, waiting[0], *after)
    assert len(done) == QUEUE
