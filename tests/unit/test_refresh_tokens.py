"""Refresh tokens: what a client holds is one or nothing, and says nothing about itself."""

import contextlib
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings_auth.rotation import RefreshToken, UnknownToken

SESSION = UUID("018f0000-0000-7000-8000-000000000002")
TOKEN = RefreshToken.new(SESSION)


def test_a_token_survives_being_written_and_read() -> None:
    assert RefreshToken.parse(str(TOKEN)) == TOKEN


def test_two_tokens_of_a_session_have_nothing_in_common_but_the_session() -> None:
    other = RefreshToken.new(SESSION)
    assert other.family != TOKEN.family
    assert other.secret != TOKEN.secret


def test_a_successor_is_made_from_the_token_and_its_salt_alone() -> None:
    successor = TOKEN.successor("ab" * 16)
    assert successor == RefreshToken.parse(str(TOKEN)).successor("ab" * 16)
    assert successor.secret not in (TOKEN.secret, TOKEN.successor("cd" * 16).secret)
    assert (successor.session_id, successor.family) == (TOKEN.session_id, TOKEN.family)


@pytest.mark.parametrize(
    "text",
    ["", "a", str(TOKEN)[:-1], str(TOKEN) + "A", str(TOKEN)[:-2] + "==", "!" * 86, "é" * 86, " " + str(TOKEN)[1:]],
    ids=["nothing", "short", "cut", "longer", "padded", "marks", "accents", "space"],  # the same in every process
)
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(UnknownToken):
        RefreshToken.parse(text)


@given(st.text(min_size=80, max_size=90))
def test_no_text_whatever_raises_anything_else(text: str) -> None:
    with contextlib.suppress(UnknownToken):
        RefreshToken.parse(text)


def test_a_token_does_not_show_in_a_log_line() -> None:
    assert str(TOKEN) not in repr(TOKEN)
    assert TOKEN.secret.hex() not in repr(TOKEN)
