"""Every token of the battery at every service's door: the right answer, and never an error of the server."""

from pathlib import Path
from uuid import UUID

import httpx
import jwt
import pytest

from support.instance import running_instance
from support.tokens import CASES, Forge, now
from tidings_auth import key_file
from tidings_local.backends import Backends

DOORS = {"auth": "/api/me", "messages": "/api/messages", "logs": "/api/logs"}


def header(token: str) -> bytes:
    return b"Bearer " + token.encode(errors="surrogatepass")


def can_be_sent(token: str) -> bool:
    """HTTP itself has no control characters in a header and no value that ends in white space."""
    return bool(token) and token.isprintable() and token == token.strip()


@pytest.mark.parametrize("backends", ["embedded"], indirect=True)
async def test_every_service_accepts_exactly_the_tokens_on_the_list(backends: Backends, tmp_path: Path) -> None:
    wrong: list[tuple[str, str, int]] = []
    sent = 0
    async with running_instance(backends, tmp_path) as instance:
        person = await instance.person()
        mine = jwt.decode(person["Authorization"].split()[1], options={"verify_signature": False})
        ring, _ = key_file.read(tmp_path / "secrets" / "signing-keys.json")
        signer = ring.current(now())
        forge = Forge(signer.private, signer.kid, mine["sub"], str(UUID(int=7)))
        for case in CASES:
            token = case.make(forge)
            if not can_be_sent(token):
                continue
            for service, path in DOORS.items():
                answer = await instance.http.get(path, headers={b"Authorization": header(token)})
                sent += 1
                if answer.status_code != (200 if case.accepted else 401):
                    wrong.append((case.name, service, answer.status_code))
                assert answer.status_code == 200 or is_a_problem(answer)
    assert wrong == []
    assert sent > 200 * len(DOORS)


def is_a_problem(answer: httpx.Response) -> bool:
    return bool(answer.json()["type"] == "urn:tidings:problem:not-authenticated")
