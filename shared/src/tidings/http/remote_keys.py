"""Auth's published keys (RFC 7517), as a service that verifies tokens knows them."""

import asyncio
import contextlib
import json
import logging
import random
import time
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tidings.http import compact
from tidings.kafka.loops import end

logger = logging.getLogger(__name__)

KEYS_MAX_AGE = 60
"""Seconds after which the published keys are asked for again; so long may a key be believed that auth dropped."""
REFETCH_SECONDS = 30.0
"""How often callers with an unknown `kid` can make us ask before that."""
RETRY_SECONDS = 1.0
"""How long a failed first fetch is remembered."""
FETCH_SECONDS = 1.0
"""Shorter than half of what a call may take: one with an unknown `kid` may wait for two."""
MAX_DOCUMENT = 64 * 1024
MAX_KEYS = 32


class KeysUnavailable(Exception):
    """Auth's keys could not be fetched, so no token can be checked."""


class RemoteKeys:
    """Auth's keys, asked for regularly; the last known ones hold while auth is away.

    A call with a known `kid` never waits. One with an unknown `kid` asks auth again, together with all others that do,
    at most once in 30 seconds.

    Args:
        url: of the key set.
        client: makes the call.
    """

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self._url = url
        self._client = client
        self._keys: dict[str, Ed25519PublicKey] = {}
        self._fetched = -RETRY_SECONDS
        self._failed = False
        self._asked_for_unknown = -REFETCH_SECONDS
        self._lock = asyncio.Lock()
        self._stopping = asyncio.Event()

    async def find(self, kid: str) -> Ed25519PublicKey | None:
        """Return the key named `kid`, or `None`.

        Raises:
            KeysUnavailable: it is not known, and auth does not answer: it may be new.
        """
        if kid not in self._keys:
            async with self._lock:
                await self._ask_for(kid)
        return self._keys.get(kid)

    async def check(self) -> None:
        """Raise when no key is known."""
        if not self._keys:
            async with self._lock:
                await self._have_any()

    async def run(self) -> None:
        """Keep the keys fresh until `stop`; a key that auth publishes no more is forgotten."""
        while not self._stopping.is_set():
            rest = KEYS_MAX_AGE * random.uniform(0.8, 1)
            try:
                async with self._lock:
                    await self._fetch()
            except KeysUnavailable as error:
                rest = RETRY_SECONDS
                if self._keys:
                    logger.warning("the known keys hold: %s", error)
                    rest = REFETCH_SECONDS
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), rest)

    async def stop(self, task: "asyncio.Task[None]", deadline: float) -> None:
        """End `task`, which runs this, at the latest after `deadline` seconds."""
        self._stopping.set()
        await end(task, deadline)

    async def _ask_for(self, kid: str) -> None:
        if not self._keys:
            await self._have_any()
        elif kid not in self._keys and time.monotonic() - self._asked_for_unknown >= REFETCH_SECONDS:
            self._asked_for_unknown = time.monotonic()
            await self._fetch()
        if kid not in self._keys and self._failed:
            raise KeysUnavailable(f"no new keys from {self._url}")

    async def _have_any(self) -> None:
        """Fetch the keys when none is known; right after that failed, say so at once."""
        if self._keys:
            return
        if time.monotonic() - self._fetched < RETRY_SECONDS:
            raise KeysUnavailable(f"no keys from {self._url}")
        await self._fetch()

    async def _fetch(self) -> None:
        self._fetched, self._failed = time.monotonic(), True
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                keys = parse_key_set(json.loads(await self._download()))
        except (httpx.HTTPError, ValueError, RecursionError, TimeoutError) as error:
            raise KeysUnavailable(f"no keys from {self._url}: {error or type(error).__name__}") from error
        if not keys:
            raise KeysUnavailable(f"no keys from {self._url}: it names none that can be used")
        self._keys, self._failed = keys, False

    async def _download(self) -> bytes:
        plain = {"Accept-Encoding": "identity"}  # what is not unpacked cannot grow
        async with self._client.stream("GET", self._url, headers=plain, timeout=FETCH_SECONDS) as answer:
            answer.raise_for_status()
            document = b""
            async for chunk in answer.aiter_raw():
                document += chunk
                if len(document) > MAX_DOCUMENT:
                    raise ValueError(f"its answer is longer than {MAX_DOCUMENT} bytes")
            return document


def parse_key_set(document: Any) -> dict[str, Ed25519PublicKey]:
    """Return the Ed25519 public keys of a JWK set (RFC 8037) by their `kid`; whatever else is in it is passed over.

    Of two keys with one `kid` the first counts, and of very many keys the first 32.
    """
    entries = document.get("keys") if isinstance(document, dict) else None
    keys: dict[str, Ed25519PublicKey] = {}
    for entry in entries[:MAX_KEYS] if isinstance(entries, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("kid"), str) and _verifies_ed25519(entry):
            with contextlib.suppress(ValueError):
                keys.setdefault(entry["kid"], Ed25519PublicKey.from_public_bytes(compact.decoded(entry["x"])))
    return keys


def _verifies_ed25519(entry: dict[str, Any]) -> bool:
    kind = (entry.get("kty"), entry.get("crv"), entry.get("use", "sig"), entry.get("alg", "EdDSA"))
    return kind == ("OKP", "Ed25519", "sig", "EdDSA") and "d" not in entry and isinstance(entry.get("x"), str)
