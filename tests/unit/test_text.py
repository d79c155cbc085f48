"""Text: which characters show nothing, and a stranger's text as one line."""

import sys
import unicodedata
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import StringConstraints, TypeAdapter

from tidings.text import BLANK, IGNORABLE, NONCHARACTERS, is_invisible, one_line, shows_something

CODE_POINTS = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF]
FAMILY = "👩\u200d👩\u200d👧"
FLAG_OF_WALES = "🏴" + "".join(chr(0xE0000 + ord(letter)) for letter in "gbwls") + "\U000e007f"


def characters(ranges: tuple[tuple[int, int], ...]) -> str:
    return "".join(chr(code) for first, last in ranges for code in range(first, last + 1))


def matches(pattern: str, text: str) -> bool:
    """Return whether all of `text` matches, by the Unicode tables of pydantic's regular expressions."""
    adapter = TypeAdapter(Annotated[str, StringConstraints(pattern=pattern)])
    return adapter.validator.isinstance_python(text)


def test_the_ignorable_characters_are_those_of_unicode() -> None:
    listed = characters(IGNORABLE)
    others = "".join(CODE_POINTS).translate(dict.fromkeys(map(ord, listed)))
    assert matches(r"^\p{Default_Ignorable_Code_Point}+$", listed)
    assert matches(r"(?s)^\P{Default_Ignorable_Code_Point}+$", others)
    assert len(listed) + len(others) == len(CODE_POINTS)


def test_the_noncharacters_are_those_of_unicode() -> None:
    listed = characters(NONCHARACTERS)
    assert len(listed) == 66  # for ever: Unicode's stability policy
    assert matches(r"^\p{Noncharacter_Code_Point}+$", listed)


def test_every_format_character_is_invisible_or_an_arabic_number_sign() -> None:
    """A format character that Unicode adds must be looked at before it counts as visible."""
    formats = [character for character in CODE_POINTS if unicodedata.category(character) == "Cf"]
    visible = {character for character in formats if not is_invisible(character)}
    signs = ((0x600, 0x605), (0x6DD, 0x6DD), (0x70F, 0x70F), (0x890, 0x891), (0x8E2, 0x8E2))
    assert visible == set(characters((*signs, (0x110BD, 0x110BD), (0x110CD, 0x110CD))))


@pytest.mark.parametrize("character", [*characters(IGNORABLE[:-1] + BLANK + NONCHARACTERS), "\U000e0020"], ids=ascii)
def test_an_invisible_character_shows_nothing(character: str) -> None:
    assert is_invisible(character)
    assert not shows_something(character * 3)
    assert not shows_something(f" {character}\n\x07\u3000{character}")


@pytest.mark.parametrize(
    "text",
    ["", " ", "\n\t\r ", "\u3000\u2003\u1680\u2028\u2029\u0085", "\0\x1b\x7f\x9b", "\u200d\ufe0f", FLAG_OF_WALES[1:]],
    ids=ascii,
)
def test_spaces_controls_and_joiners_show_nothing(text: str) -> None:
    assert not shows_something(text)


@pytest.mark.parametrize(
    "text",
    [
        "a",
        ".",
        "ㅋ",
        "❤\ufe0f",
        FAMILY,
        FLAG_OF_WALES,
        "می\u200cخواهم",
        "\u0301",
        "\u20e3",
        "🏻",
        "\ue000",
        "\U0001fae9",
    ],
    ids=ascii,
)
def test_what_can_be_seen_shows_something(text: str) -> None:
    assert shows_something(text)
    assert shows_something(f"\u200b {text} \u3164")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Mozilla/5.0 (X11)", "Mozilla/5.0 (X11)"),
        ("내 전화기 📱", "내 전화기 📱"),
        (" a \t b\r\nc\u2028d\u0085e\x1b[2J ", "a b c d e [2J"),
        ("good\u202egnp.exe\u2066\u200b\ufeff", "goodgnp.exe"),
        ("a\u200b \u200bb", "a b"),
        ("\u3164", ""),
    ],
    ids=ascii,
)
def test_a_line_has_no_controls_and_nothing_invisible(text: str, line: str) -> None:
    assert one_line(text) == line


@given(st.text())
def test_a_line_shows_what_the_text_shows_and_nothing_else(text: str) -> None:
    line = one_line(text)
    assert one_line(line) == line
    assert bool(line) == shows_something(text)
    assert not any(
        is_invisible(character) or unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in line
    )
    assert len(line.splitlines()) <= 1
