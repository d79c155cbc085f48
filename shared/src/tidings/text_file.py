"""Text files that people write: UTF-8, from whatever editor or shell."""

import codecs


def decode(octets: bytes) -> str:
    """Return the text of a file in UTF-8, without the byte order mark that some editors put first.

    Raises:
        ValueError: it has two such marks, or is something else than text in UTF-8; the message repeats nothing of it.
    """
    if octets.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError("it is UTF-16; save it as UTF-8")
    if b"\0" in octets:
        raise ValueError("it has NUL bytes, as UTF-16 and files that are not text have; save it as text in UTF-8")
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8; save it as UTF-8") from None
    if text.startswith("\ufeff"):
        raise ValueError("it begins with two byte order marks; save it as UTF-8 without any")
    return text
