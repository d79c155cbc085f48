"""Posting: what is a message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tidings_messages.posting import MAX_LENGTH, normalised
from tidings_messages.schemas import NewMessage


@pytest.mark.parametrize(
    ("text", "kept"),
    [("안녕", "안녕"), ("  a \n", "a"), ("\u3000a\u00a0", "a"), ("a\n\nb", "a\n\nb"), ("🌤", "🌤"), ("<b>", "<b>")],
)
def test_a_message_is_trimmed_and_otherwise_as_it_was_written(text: str, kept: str) -> None:
    assert normalised(text) == kept


@pytest.mark.parametrize("text", ["", " ", "\n\t\r ", "\u3000\u2003"])
def test_a_message_of_spaces_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="at least one character that can be seen"):
        normalised(text)


@pytest.mark.parametrize(
    "text", ["\u3164", " \u3164\n\u3164 ", "\u200b\ufeff", "\u2800", "\x07\x1b", "\ufe0f", "\u200d"]
)
def test_a_message_that_shows_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="at least one character that can be seen"):
        normalised(text)


@pytest.mark.parametrize(
    "text",
    [
        "👩\u200d👩\u200d👧",
        "❤\ufe0f",
        "🏴\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f",
        "می\u200cخواهم",
        "क\u094d\u200dष",
        "\u200fשלום\u200f",
        "\ufefftext\u200b",
        "ㅋㅋㅋ",
        "\U0001fae9",
    ],
    ids=ascii,
)
def test_invisible_characters_beside_visible_ones_stay(text: str) -> None:
    assert normalised(text) == text


@pytest.mark.parametrize("character", ["a", "가", "🌤"])
def test_a_message_has_at_most_10_000_code_points_after_trimming(character: str) -> None:
    assert MAX_LENGTH == 10_000
    assert len(normalised(" " + character * 10_000 + " ")) == 10_000
    with pytest.raises(ValueError, match="at most 10,000 characters; this one has 10,001"):
        normalised(character * 10_001)


@pytest.mark.parametrize("text", ["a\0b", "\0", "a\0"])
def test_a_message_has_no_nul(text: str) -> None:
    with pytest.raises(ValueError, match="NUL"):
        normalised(text)


@given(st.text())
def test_a_message_that_was_taken_would_be_taken_again(text: str) -> None:
    try:
        kept = normalised(text)
    except ValueError:
        return
    assert normalised(kept) == kept == text.strip()


@pytest.mark.parametrize("value", [1, None, True, ["a"], b"a", "\ud800", "a\udfffb"])
def test_what_is_no_text_is_refused_where_it_comes_in(value: object) -> None:
    with pytest.raises(ValidationError):
        NewMessage.model_validate({"message": value})
