"""Framing of requests: the same answer however the bytes arrive, and one spelling for the parser."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.http.framing import Framing
from tidings.http.refusals import Refused

CHUNKED = (
    b"POST /a?b HTTP/1.1\r\nHost: tidings\r\nTransfer-Encoding: CHUNKED\r\n\r\n5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n"
)
LENGTH = b"PUT http://tidings/c HTTP/1.1\r\nHOST:tidings \r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello"
REQUESTS = [CHUNKED, LENGTH, b"GET / HTTP/1.0\r\n\r\n"]
SPELLINGS = [
    b"POST /a?b HTTP/1.1\r\nHost: tidings\r\nTransfer-Encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"PUT /c HTTP/1.1\r\nHost: tidings\r\nContent-Length: 5\r\n\r\nhello",
    b"GET / HTTP/1.0\r\n\r\n",
]


def taken(pieces: list[bytes]) -> tuple[list[bytes], str | None]:
    """Return the requests that are accepted from `pieces`, each as far as it got, and the refusal that ended them."""
    framing, requests = Framing(), [b""]
    for piece in pieces:
        framing.feed(piece)
        try:
            requests[-1] += framing.take()
            while framing.complete:
                framing.next_request()
                requests.append(framing.take())
        except Refused as refused:
            return [request for request in requests if request], refused.problem.detail
    return [request for request in requests if request], None


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Return `data` in pieces that end at `places`."""
    ends = sorted(place % (len(data) + 1) for place in places)
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


@given(st.lists(st.integers(0, 10_000), max_size=20))
def test_requests_are_the_same_in_whatever_pieces_they_arrive(places: list[int]) -> None:
    assert taken(cut(b"".join(REQUESTS), places)) == (SPELLINGS, None)


@pytest.mark.parametrize(
    ("sent", "begun"),
    [(b"", False), (b"\r", False), (b"\r\n", False), (b"\r\n\r", False), (b"\r\nG", True), (LENGTH[:-1], True)],
)
def test_request_begins_after_the_line_break_before_it(sent: bytes, begun: bool) -> None:
    framing = Framing()
    framing.feed(sent)
    framing.take()
    assert framing.begun is begun


ODDITIES = st.sampled_from(
    [b"\r", b"\n", b" ", b"\x00", b"\t", b";", b":", b"5", b"\r\n", b"\r\n\r\n", b"chunked", b"\xff"]
)


@given(st.integers(0, 10_000), ODDITIES, st.lists(st.integers(0, 10_000), max_size=5))
def test_oddity_has_one_outcome_in_whatever_pieces_it_arrives(place: int, oddity: bytes, places: list[int]) -> None:
    whole = b"".join(REQUESTS)
    place %= len(whole)
    sent = whole[:place] + oddity + whole[place:]
    at_once, refusal_at_once = taken([sent])
    in_pieces, refusal_in_pieces = taken(cut(sent, places))
    assert (refusal_in_pieces is None) == (refusal_at_once is None)
    # Of the refused request, what arrived before the fault may have been handed on already.
    assert in_pieces[: len(at_once)] == at_once
    assert len(in_pieces) <= len(at_once) + 1


def test_refused_request_hands_on_nothing_that_arrived_with_the_fault() -> None:
    assert taken([b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"])[0] == []
