"""Text files: UTF-8 with or without a mark is read, anything else is named, and nothing of it is repeated."""

import pytest

from tidings.text_file import decode

TEXT = "비밀 é ☂"


@pytest.mark.parametrize("octets", [TEXT.encode(), b"\xef\xbb\xbf" + TEXT.encode()], ids=["plain", "with a mark"])
def test_utf8_is_read_without_its_mark(octets: bytes) -> None:
    assert decode(octets) == TEXT


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (TEXT.encode("utf-16"), "it is UTF-16; save it as UTF-8"),
        (b"\xfe\xff" + TEXT.encode("utf-16-be"), "it is UTF-16; save it as UTF-8"),
        (TEXT.encode("utf-32"), "it is UTF-16; save it as UTF-8"),
        ("ascii".encode("utf-16-le"), "it has NUL bytes"),
        ("ascii".encode("utf-32-be"), "it has NUL bytes"),
        ("비밀".encode("euc-kr"), "it is not UTF-8; save it as UTF-8"),
        (b"secret\xff", "it is not UTF-8; save it as UTF-8"),
        (b"\xef\xbb\xbf" * 2 + b"secret", "it begins with two byte order marks; save it as UTF-8 without any"),
        (b"\xef\xbb\xbf" * 3, "it begins with two byte order marks"),
    ],
)
def test_another_encoding_is_named(octets: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as refused:
        decode(octets)
    assert "secret" not in str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
