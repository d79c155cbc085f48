"""Text that people write and see: which characters show nothing, and how a stranger's text becomes one safe line."""

import json
import re

IGNORABLE = (
    (0x00AD, 0x00AD),  # soft hyphen
    (0x034F, 0x034F),  # combining grapheme joiner
    (0x061C, 0x061C),  # Arabic letter mark
    (0x115F, 0x1160),  # Hangul fillers
    (0x17B4, 0x17B5),  # Khmer inherent vowels
    (0x180B, 0x180F),  # Mongolian variation selectors and vowel separator
    (0x200B, 0x200F),  # zero width space, joiners, direction marks
    (0x202A, 0x202E),  # direction embeddings and overrides
    (0x2060, 0x206F),  # word joiner, invisible operators, direction isolates
    (0x3164, 0x3164),  # Hangul filler
    (0xFE00, 0xFE0F),  # variation selectors
    (0xFEFF, 0xFEFF),  # byte order mark
    (0xFFA0, 0xFFA0),  # halfwidth Hangul filler
    (0xFFF0, 0xFFF8),  # reserved
    (0x1BCA0, 0x1BCA3),  # shorthand format controls
    (0x1D173, 0x1D17A),  # musical beams and slurs
    (0xE0000, 0xE0FFF),  # tags and variation selectors
)
"""Unicode's property Default_Ignorable_Code_Point (DerivedCoreProperties.txt): drawn as nothing unless supported."""
BLANK = (
    (0x2800, 0x2800),  # braille pattern blank
    (0xFFF9, 0xFFFB),  # interlinear annotation
    (0x13430, 0x13442),  # Egyptian hieroglyph format controls and blanks
    (0x16FE4, 0x16FE4),  # Khitan small script filler
    (0x1D159, 0x1D159),  # musical null notehead
)
"""Characters without that property whose glyph is empty all the same. No property of Unicode lists them."""
NONCHARACTERS = (
    (0xFDD0, 0xFDEF),
    *((plane + 0xFFFE, plane + 0xFFFF) for plane in range(0, 0x110000, 0x10000)),
)
"""Code points that will never be characters (Unicode's property Noncharacter_Code_Point)."""
_NOTHING = IGNORABLE + BLANK + NONCHARACTERS

SHOWS_NOTHING = r"\x01-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000" + "".join(
    rf"\u{first:04x}-\u{last:04x}" for first, last in _NOTHING if last <= 0xFFFF
)
"""Spaces, controls but NUL, invisible characters and noncharacters: a class for patterns of the API documents.

Regular expressions of all languages understand it. Therefore `\\s` is not in it, nor is any character above U+FFFF.
"""

_INVISIBLE = "".join(f"{chr(first)}-{chr(last)}" for first, last in _NOTHING)
_GAP = r"\s\x00-\x1f\x7f-\x9f"
_INVISIBLES = re.compile(f"[{_INVISIBLE}]+")
_GAPS = re.compile(f"[{_GAP}]+")
_UNSAFE_IN_JSON = re.compile(f"[\x7f-\x9f\u2028\u2029{_INVISIBLE}]")
_VISIBLE = re.compile(f"[^{_GAP}{_INVISIBLE}]")


def is_invisible(character: str) -> bool:
    """Return whether a character that is not a space or a control draws nothing by itself."""
    return _INVISIBLES.match(character) is not None


def shows_something(text: str) -> bool:
    """Return whether anything of `text` can be seen.

    Spaces, controls, invisible characters and noncharacters show nothing. A combining mark by itself does, and so do
    private and unassigned code points: Python's Unicode tables may be older than an emoji that everybody else can see.
    """
    return _VISIBLE.search(text) is not None


def one_line(text: str) -> str:
    """Return a stranger's text as one line that is safe to list and to print.

    Spaces, line ends and controls become one space. Invisible characters are dropped: they could reorder or hide what
    stands beside them.
    """
    return _GAPS.sub(" ", _INVISIBLES.sub("", text)).strip()


def safe_json(document: str) -> str:
    """Return JSON in which what cannot be seen is written as an escape; it means the same.

    JSON itself asks for that only below U+0020. A terminal also obeys U+009B, and many readers of logs start a new line
    at U+0085 and U+2028.
    """
    return _UNSAFE_IN_JSON.sub(lambda found: json.dumps(found[0])[1:-1], document)
