"""Spelling: the letters of a Korean keyboard come back, and the name stays the same name."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.database.spelling import TYPED, as_typed


@pytest.mark.parametrize("letter", sorted(TYPED.values()))
def test_a_letter_of_a_korean_keyboard_comes_back(letter: str) -> None:
    assert as_typed(unicodedata.normalize("NFKC", letter * 3)) == letter * 3


@pytest.mark.parametrize("name", ["mina", "김미나", "ミナ", "\u1112\u119e\u11ab", "\u1113\u1161mina"], ids=ascii)
def test_other_letters_stay_as_they_are(name: str) -> None:
    assert as_typed(name) == name


@given(st.text(st.sampled_from([*TYPED, *TYPED.values(), "\u119e", "\u1113", "가", "각", "a", "\u0301"])))
def test_a_restored_name_is_still_the_same_name(text: str) -> None:
    stored = unicodedata.normalize("NFKC", text)
    assert unicodedata.normalize("NFKC", as_typed(stored)) == stored
