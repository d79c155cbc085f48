"""Pages: a cursor is what was given or is refused."""

import pytest
from fastapi import FastAPI, Request, Response
from hypothesis import given
from hypothesis import strategies as st

from tidings.http.pages import BadCursor, decode_cursor, encode_cursor, link_next
from unit.fakes import client


@given(st.binary(min_size=1, max_size=64))
def test_a_key_survives_its_cursor(key: bytes) -> None:
    text = encode_cursor(key)
    assert decode_cursor(text, len(key)) == key
    assert text.isascii()
    assert all(character.isalnum() or character in "-_" for character in text)


@given(st.binary(min_size=1, max_size=64), st.integers(min_value=0, max_value=70))
def test_a_cursor_of_a_list_with_other_keys_is_refused(key: bytes, length: int) -> None:
    if length != len(key):
        with pytest.raises(BadCursor):
            decode_cursor(encode_cursor(key), length)


@given(st.text(max_size=40))
def test_any_text_is_a_cursor_or_refused_and_no_two_texts_are_the_same_cursor(text: str) -> None:
    try:
        key = decode_cursor(text, 16)
    except BadCursor:
        return
    assert encode_cursor(key) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "AAAAAAAAAAAAAAAAAAAAAA==",
        "AAAAAAAAAAAAAAAAAAAAAB",  # unused bits set: decodes like …AA
        "AAAAAAAAAAA+AAAAAAAAAA",  # of the other alphabet
        "AAAAAAAAAAA/AAAAAAAAAA",
        "AAAAAAAAAAA AAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAA\n",
        "가" * 22,
        "A",
        "A" * 512,
    ],
)
def test_a_cursor_that_was_not_given_is_refused(text: str) -> None:
    with pytest.raises(BadCursor, match="next_cursor"):
        decode_cursor(text, 16)


async def test_the_next_page_is_linked_with_the_same_filters() -> None:
    app = FastAPI()

    @app.get("/things")
    async def things(request: Request, response: Response) -> None:
        link_next(request, response, "abc-_")

    async with client(app) as http:
        answer = await http.get("/things", params={"q": "한글 <b>", "cursor": "before", "limit": "2"})
    (link,) = answer.links.values()
    assert answer.headers["link"].startswith("</things?")
    assert link["rel"] == "next"
    query = dict(answer.request.url.copy_with(raw_path=link["url"].encode()).params)
    assert query == {"q": "한글 <b>", "cursor": "abc-_", "limit": "2"}


async def test_the_last_page_has_no_link() -> None:
    app = FastAPI()

    @app.get("/things")
    async def things(request: Request, response: Response) -> None:
        link_next(request, response, None)

    async with client(app) as http:
        assert "link" not in (await http.get("/things")).headers
