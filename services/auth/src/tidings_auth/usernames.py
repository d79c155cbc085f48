"""Usernames: which are allowed, how they are shown (Unicode NFC), and which are the same (NFKC and case folding)."""

import unicodedata

from tidings.text import is_invisible

MIN_LENGTH = 3
MAX_LENGTH = 64
MAX_GIVEN = 4 * MAX_LENGTH
"""Code points before NFC, which joins up to four into one. Normalising many thousand would take seconds."""
PUNCTUATION = "._-"
PATTERN = r"^[^\x00-,/:-@\[-^`{-\x7f]+$"
"""Has no ASCII character but letters, digits and `PUNCTUATION`; what else is allowed no regular expression can say."""


def normalised(text: str) -> str:
    """Return the username in NFC, as it is shown; raise `ValueError`, with the remedy, when it is not allowed.

    NFC keeps the letters that were typed. NFKC would show `ㅋㅋㅋ` as three conjoining jamo and `ﾐﾅ` as `ミナ`.
    """
    name = unicodedata.normalize("NFC", text[: MAX_GIVEN + 1])
    compared = unicodedata.normalize("NFKC", name)
    if len(text) > MAX_GIVEN or not MIN_LENGTH <= len(name) <= MAX_LENGTH:
        raise ValueError(f"a username has {MIN_LENGTH} to {MAX_LENGTH} characters")
    if not all(_allowed(character) for character in compared):
        raise ValueError("a username has letters of any script, digits and . _ - only")
    if not any(unicodedata.category(character)[0] in "LN" for character in compared):
        raise ValueError("a username has at least one letter or digit")
    if len(compared) > MAX_LENGTH:  # one ligature can stand for many letters; the folded form must fit its column
        raise ValueError(f"a username has at most {MAX_LENGTH} characters, with every ligature written out")
    return name


def folded(name: str) -> str:
    """Return what two usernames have in common when they count as the same."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _allowed(character: str) -> bool:
    """Return whether a username may have this character; in many scripts marks belong to the letters."""
    if is_invisible(character):
        return False
    category = unicodedata.category(character)
    return category[0] == "L" or category in ("Mn", "Mc", "Nd") or character in PUNCTUATION
