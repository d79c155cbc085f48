"""Usernames: which are allowed, how they are shown, and which are the same."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.text import is_invisible
from tidings_auth.usernames import MAX_GIVEN, MAX_LENGTH, folded, normalised


@pytest.mark.parametrize(
    "name",
    [
        "mina",
        "Mina_1",
        "김미나",
        "홍길동.서울",
        "a-b",
        "x" * 64,
        "가" * 64,
        "123",
        "Ünal",
        "نور",
        "हिन्दी",
        "ミナさん",
        "a1_",
    ],
)
def test_letters_of_any_script_digits_and_three_signs_are_allowed(name: str) -> None:
    assert normalised(name) == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize("name", ["", "a", "미나", "x" * 65, "가" * 65, "e\u0301a"])
def test_a_name_has_3_to_64_characters(name: str) -> None:
    with pytest.raises(ValueError, match="3 to 64 characters"):
        normalised(name)


@pytest.mark.parametrize(
    "name",
    [
        "mi na",
        " mina",
        "mina\n",
        "mi\0na",
        "mina🌤",
        "👩‍👩‍👧",
        "mina@home",
        "mi/na",
        "<b>",
        "mina\u200b",
        "mina\u200d",
        "\u202emina",
        "mina\u00ad",
        "mina\ufeff",
        "mina\ud800",
        "mina\ue000",
        "mi—na",
        "ⅷ①½",
    ],
    ids=ascii,
)
def test_anything_else_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="letters of any script, digits"):
        normalised(name)


@pytest.mark.parametrize("filler", ["\u115f", "\u1160", "\u3164", "\uffa0"], ids=ascii)
def test_the_hangul_fillers_that_nobody_sees_are_refused(filler: str) -> None:
    with pytest.raises(ValueError, match="only"):
        normalised("mina" + filler)


@pytest.mark.parametrize("mark", ["\u034f", "\ufe0f", "\u17b4", "\u180b", "\U000e0100"], ids=ascii)
def test_marks_that_nobody_sees_make_no_new_name(mark: str) -> None:
    assert unicodedata.category(mark) == "Mn"
    with pytest.raises(ValueError, match="only"):
        normalised("mina" + mark)


def test_no_allowed_character_is_invisible() -> None:
    # Unicode 16's Default_Ignorable_Code_Point (DerivedCoreProperties.txt), but for unassigned ones
    ignorable = [0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), *range(0x200B, 0x2010)]
    ignorable += [*range(0x202A, 0x202F), *range(0x2060, 0x2070), 0x3164, *range(0xFE00, 0xFE10), 0xFEFF, 0xFFA0]
    ignorable += [*range(0x1BCA0, 0x1BCA4), *range(0x1D173, 0x1D17B), *range(0xE0000, 0xE1000)]
    for code in ignorable:
        with pytest.raises(ValueError, match="a username has"):
            normalised("mina" + chr(code))


@pytest.mark.parametrize("name", ["mina1\ufe0f\u20e3", "mina1\u20e3", "mina\u20dd"], ids=ascii)
def test_a_sign_drawn_around_a_character_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="only"):
        normalised(name)


@pytest.mark.parametrize("name", ["...", "_-_", "---", "._."])
def test_a_name_needs_a_letter_or_digit(name: str) -> None:
    with pytest.raises(ValueError, match="at least one letter or digit"):
        normalised(name)


@pytest.mark.parametrize("blank", ["\U00013441", "\U00016fe4", "\u2800"], ids=ascii)
def test_a_letter_with_an_empty_glyph_is_refused(blank: str) -> None:
    with pytest.raises(ValueError, match="only"):
        normalised(blank * 3)


@pytest.mark.parametrize(
    "name",
    ["ㅋㅋㅋ", "ㅠㅠㅠ", "ㄱㅏㄴ", "ＭＩＮＡ", "ﾐﾅｺ", "ﬁona", "１２３", "mina²", "김미나", "Mina", "ｍｉｎａ＿１"],
)
def test_a_name_is_shown_as_it_was_typed(name: str) -> None:
    assert normalised(name) == name


@pytest.mark.parametrize("name", ["김미나", "José", "Việt"])
def test_a_name_typed_in_parts_is_shown_composed(name: str) -> None:
    assert normalised(unicodedata.normalize("NFD", name)) == name


def test_a_shown_name_has_nothing_invisible() -> None:
    for code in range(sys.maxunicode + 1):
        try:
            shown = normalised(f"mina{chr(code)}")
        except ValueError:
            continue
        assert not is_invisible(shown[-1]), hex(code)
        assert unicodedata.category(shown[-1])[0] not in "CZ", hex(code)


@pytest.mark.parametrize("name", ["ﬃ" * 22, "㌖" * 11, "ﷲ" * 17])
def test_a_name_of_ligatures_is_short_enough_written_out(name: str) -> None:
    assert len(name) <= MAX_LENGTH < len(unicodedata.normalize("NFKC", name))
    with pytest.raises(ValueError, match="at most 64 characters, with every ligature written out"):
        normalised(name)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Mina", "mina"),
        ("ＭＩＮＡ", "mina"),
        ("Straße", "STRASSE"),
        ("İnan", "i\u0307nan"),
        ("ΣΟΦΟΣ", "σοφος"),
        ("Ǆoni", "ǆONI"),
        ("김미나", unicodedata.normalize("NFD", "김미나")),
        ("José", "JOSE\u0301"),
    ],
)
def test_names_that_differ_in_case_or_form_only_are_the_same(one: str, other: str) -> None:
    assert folded(one) == folded(other)


@pytest.mark.parametrize(
    ("one", "other"), [("mina", "mína"), ("mina", "mina1"), ("김미나", "김민아"), ("ınan", "inan")]
)
def test_names_that_differ_otherwise_are_not_the_same(one: str, other: str) -> None:
    assert folded(one) != folded(other)


LETTERS = st.characters(categories=["Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Nd"])
COMPATIBILITY = st.sampled_from("ㅋㅠㄳㄱㅏﾐﾅﾞＭｉ１²ﬁﬃſẞßİıΐǆǅ㎏ㇿ각칵\u0301\u0345._-")
NAMES = st.text(LETTERS | COMPATIBILITY, min_size=2, max_size=64)


@given(NAMES)
def test_an_allowed_name_stays_as_it_is_and_fits_its_columns(text: str) -> None:
    try:
        name = normalised(text)
    except ValueError:
        return
    assert normalised(name) == name == unicodedata.normalize("NFC", text)
    assert len(name) <= MAX_LENGTH
    assert len(folded(name)) <= 255


@given(NAMES)
def test_every_spelling_of_an_allowed_name_is_the_same(text: str) -> None:
    try:
        name = normalised(text)
    except ValueError:
        return
    spellings = [unicodedata.normalize(form, name) for form in ("NFC", "NFD", "NFKC", "NFKD")]
    spellings += [text, name.casefold(), folded(name), unicodedata.normalize("NFKC", name).casefold()]
    assert {folded(spelling) for spelling in spellings} == {folded(name)}
    assert all(len(spelling) <= MAX_GIVEN for spelling in spellings)
