"""Usernames: which are allowed, and which are the same (Unicode NFKC and case folding)."""

import unicodedata

MIN_LENGTH = 3
MAX_LENGTH = 64
PUNCTUATION = "._-"


def normalised(text: str) -> str:
    """Return the username in NFKC; raise `ValueError`, saying what to change, when it is not allowed."""
    name = unicodedata.normalize("NFKC", text)
    if not MIN_LENGTH <= len(name) <= MAX_LENGTH:
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
    # Marks belong to letters in many scripts; the Hangul fillers are letters that nobody sees.
    category = unicodedata.category(character)
    return (
        category[0] in "LM" or category == "Nd" or character in PUNCTUATION
    ) and character not in "\u115f\u1160\u3164\uffa0"
