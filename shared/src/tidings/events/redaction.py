"""Redaction: the one policy that keeps secrets out of events, the store, log lines and spans.

Secret is what stands under a secret name (`is_secret`), and text that looks like a secret wherever it stands: bearer
tokens and basic credentials, JSON Web Tokens, private keys in PEM, payment card numbers, user and password in a URL,
and whatever follows a secret name and `=` or `:` (a query parameter, a header line, JSON within a string).
Every pattern takes time linear in the text; `docs/redaction.md` has the decided tables and the limits.
"""

import re
from collections.abc import Callable
from typing import Any

from pydantic_core import from_json, to_json

REDACTED = "[redacted]"

ENDINGS = (
    *("password", "passwd", "passphrase", "passcode", "secret", "token", "cookie", "authorization", "credential"),
    *("apikey", "privatekey", "secretkey", "accesskey", "signingkey", "encryptionkey"),
)
"""How a secret name ends, in the singular and without separators."""
WORDS = frozenset({"pass", "pwd", "cvv", "cvc", "jwt"})
"""Secret only as a word of their own: `db_pass`, but not `compass`."""
QUALIFIERS = frozenset(
    {
        "value",
        "text",
        "plain",
        "raw",
        "hash",
        "encoded",
        "encrypted",
        "header",
        "old",
        "new",
        "confirm",
        "confirmation",
        "repeat",
        "again",
    }
)
"""Last words that leave a name as secret as it was: `password_hash`, `cookie_header`."""
QUANTITIES = frozenset({"max", "min", "total", "num", "count"})
"""First words that make a name a number of things: `max_tokens`."""

WORD = re.compile("[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

SHAPES = re.compile(
    r"""
      (?P<id> (?<![0-9A-Za-z]) [0-9A-Fa-f]{8} (?:-[0-9A-Fa-f]{4}){3} -[0-9A-Fa-f]{12} (?![0-9A-Za-z]) )
    | (?P<digits> (?<![0-9A-Za-z]) (?<![0-9]\.) (?: [0-9]++ (?![0-9A-Za-z]|\.[0-9]) (?:[ -](?=[0-9]))? )+ )
    | (?P<scheme> \b (?i:bearer|basic) \s++ [A-Za-z0-9._~+/-]{6,}+ =* )
    | (?P<jwt> (?<![0-9A-Za-z_-]) eyJ [0-9A-Za-z_-]++ (?: \. [0-9A-Za-z_-]*+ ){2,4} )
    | (?P<pem> -----BEGIN\ [A-Z0-9 ]{0,40}PRIVATE\ KEY (?s:.*?) (?: -----END\ [A-Z0-9 ]{0,60}----- | \Z ) )
    | (?P<url> :// [^\s/?\#]* @ )
    """,
    re.VERBOSE,
)
NAMED = re.compile(
    r"""(?<![\w.-]) ((?: [\w.-]++ \  )? ([\w.-]++)) (?: \\*["']\s*+, | \\*["']?\s*+[:=] ) \ *+""", re.VERBOSE
)
"""A name, with the word before it and without, and what says that its value follows."""

ISSUED = re.compile("[3-6]|2[2-7]")
"""How payment card numbers begin (ISO/IEC 7812); times in milliseconds or as 2026… do not."""
CARD_GROUPS = 5
"""A card number is written in at most so many groups of digits."""
DOUBLED = str.maketrans("0123456789", "0246813579")

# The sieve that ordinary text falls through. Only letters, all small, and digits, all 0, are left of it, and @ for what
# needs a closer look by itself: an @, or a backslash, which may hide anything. Each word of the policy is looked for by
# its rarest letters, because a search is as fast as its first letters are rare.
FOLDED = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ123456789\\", b"abcdefghijklmnopqrstuvwxyz000000000@")
DROPPED = bytes(byte for byte in range(256) if byte > 127 or not (chr(byte).isalnum() or chr(byte) in "@\\"))
HINT = re.compile("k(?:e[ny]|ie)|@|pass|wd|cre|riz|cv|jw|yj|bear|basi")
LONG_NUMBER = "0" * 13


def redact_json(raw: bytes, mask: Callable[[str], str] | None = None) -> tuple[bytes, int]:
    """Return JSON without its secrets, and how many there were; what stands under a secret name goes whole.

    Args:
        raw: JSON in UTF-8.
        mask: what becomes of a string; `redact_value` when not given.

    Raises:
        ValueError: it is not JSON.
    """
    if not _may_hide(raw):
        return raw, 0
    root = [from_json(raw)]
    found = _redact(root, mask or redact_value)
    return (to_json(root[0]), found) if found else (raw, 0)


def redact_value(text: str) -> str:
    """Return `[redacted]` when there is a secret anywhere in `text`, else `text`."""
    return text if redact_text(text) == text else REDACTED


def redact_text(text: str) -> str:
    """Return running text without its secrets: what follows a secret name goes to the end of its line."""
    if not _may_hide(text.encode("ascii", "ignore")):
        return text
    return "\n".join(map(_redact_line, SHAPES.sub(_redact_shape, text).split("\n")))


def is_secret(name: str) -> bool:
    """Tell whether a value under `name` is a secret: by the name's words, not its letters; case does not matter."""
    words = [word.lower() for word in WORD.findall(name)]
    while words and (words[-1] in QUALIFIERS or words[-1].isdigit()):
        words.pop()
    if not words or words[0] in QUANTITIES:
        return False
    return words[-1] in WORDS or "".join(words).removesuffix("s").endswith(ENDINGS)


def _may_hide(raw: bytes) -> bool:
    """Tell whether a closer look is needed; what the policy covers never slips through."""
    folded = raw.translate(FOLDED, DROPPED).decode("ascii")
    return HINT.search(folded) is not None or LONG_NUMBER in folded


def _redact(root: list[Any], mask: Callable[[str], str]) -> int:
    """Redact everything in `root`, however deep, in place; return how much there was."""
    found = 0
    waiting: list[Any] = [root]
    while waiting:
        node = waiting.pop()
        for name, value in list(node.items()) if isinstance(node, dict) else enumerate(node):
            if isinstance(name, str) and is_secret(name) and not _is_harmless(value):
                masked = REDACTED
            elif isinstance(value, str):
                masked = mask(value)
            else:
                masked = value
                if isinstance(value, (dict, list)):
                    waiting.append(value)
            if masked is not value:
                node[name] = masked
                found += 1
            if isinstance(name, str) and (masked_name := mask(name)) != name:
                node[masked_name] = node.pop(name)
                found += 1
    return found


def _is_harmless(value: Any) -> bool:
    return value is None or isinstance(value, bool) or value in ("", REDACTED)


def _redact_line(line: str) -> str:
    for named in NAMED.finditer(line):
        if any(map(is_secret, named.groups())) and line[named.end() :].strip():
            return f"{line[: named.end()]}{REDACTED}"
    return line


def _redact_shape(found: re.Match[str]) -> str:
    if found.lastgroup == "id" or (found.lastgroup == "digits" and not _has_card(found[0])):
        return found[0]
    return f"://{REDACTED}@" if found.lastgroup == "url" else REDACTED


def _has_card(run: str) -> bool:
    """Tell whether neighboring groups of digits make a card number of 13 to 19 digits."""
    groups = re.split("[ -]", run)
    for start in range(len(groups)):
        digits = ""
        for group in groups[start : start + CARD_GROUPS]:
            digits += group
            if len(digits) > 19:
                break
            if len(digits) >= 13 and ISSUED.match(digits) and _checks(digits):
                return True
    return False


def _checks(digits: str) -> bool:
    """Tell whether the last digit is the check digit of the others (Luhn, ISO/IEC 7812-1 annex B)."""
    return sum(map(int, digits[::-2] + digits[-2::-2].translate(DOUBLED))) % 10 == 0
