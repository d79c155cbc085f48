"""Usernames: which are allowed, and which are the same (Unicode NFKC and case folding)."""

import unicodedata

MIN_LENGTH = 3
MAX_LENGTH = 64
MAX_GIVEN = 4 * MAX_LENGTH
"""Characters before NFKC, which makes one of up to four; of many thousand it would take seconds."""
PUNCTUATION = "._-"
INVISIBLE = (
    (0x034F, 0x034F),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFFA0, 0xFFA0),
    (0xE0100, 0xE01EF),
)
"""Letters and marks that nobody sees (Unicode's Default_Ignorable_Code_Point): two names must not look the same."""


def normalised(text: str) -> str:
    """Return the username in NFKC; raise `ValueError`, saying what to change, when it is not allowed."""
    name = unicodedata.normalize("NFKC", text[: MAX_GIVEN + 1])
    if len(text) > MAX_GIVEN or not MIN_LENGTH <= len(name) <= MAX_LENGTH:
        raise ValueError(f"a username has {MIN_LENGTH} to {MAX_LENGTH} characters")
    if not all(_allowed(character) for character in name):
        raise ValueError("a username has letters of any script, digits and . _ - only")
    if not any(unicodedata.category(character)[0] in "LN" for character in name):
        raise ValueError("a username has at least one letter or digit")
    return name


def folded(name: str) -> str:
    """Return what two usernames have in common when they count as the same."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _allowed(character: str) -> bool:
    """Tell whether a username may have this character; in many scripts marks belong to the letters."""
    if any(first <= ord(character) <= last for first, last in INVISIBLE):
        return False
    category = unicodedata.category(character)
    return category[0] == "L" or category in ("Mn", "Mc", "Nd") or character in PUNCTUATION
