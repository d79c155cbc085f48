"""Payloads with secrets in them: made by chance from a seed, with every secret and its number known."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

NAMES = [
    "password",
    "accessToken",
    "client_secret",
    "Authorization",
    "Set-Cookie",
    "X-Api-Key",
    "db_pwd",
    "private_key",
]
PLAIN_NAMES = ["name", "items", "token_count", "secretary", "route", "메모", "a b", "id"]
PLAIN: list[Any] = ["mina", "안녕하세요 🌤", "/api/messages/{id}", "the bearer of news", 7, 1.5, True, None, "", [], {}]
DEPTH = 8


@dataclass
class Payloads:
    """Makes payloads, and remembers what must be found nowhere.

    Args:
        seed: the same payloads come from the same seed.
    """

    seed: int
    canaries: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)
        self._shapes: list[Callable[[], str]] = [
            lambda: f"Bearer {self._canary()}",
            lambda: f"Basic {self._encoded()}",
            lambda: f"it was eyJhbGciOiJIUzI1NiJ9.{self._encoded()}.{self._encoded()}",
            lambda: f"-----BEGIN PRIVATE KEY-----\n{self._encoded()}\n-----END PRIVATE KEY-----",
            lambda: f"mysql://tidings:{self._canary()}@127.0.0.1/db",
            lambda: f"/reset?page=2&token={self._canary()}",
            lambda: f"Cookie: theme=dark; session={self._canary()}",
            lambda: json.dumps({"user": {"password": self._canary()}}),
            self.card,
        ]

    def next(self) -> tuple[dict[str, Any], int]:
        """Return a payload and how many secrets it has: one to four, at any depth."""
        count = self._random.randint(1, 4)
        payload: dict[str, Any] = {}
        for number in range(count):
            node: Any = payload
            for level in range(self._random.randrange(DEPTH)):
                node = self._add(node, f"{self._random.choice(PLAIN_NAMES)}-{number}-{level}", self._inner())
            self._add(node, "plain", self._random.choice(PLAIN))
            self._plant(node, number)
        return payload, count

    def found_in(self, text: str) -> list[str]:
        """Return the secrets that are in `text`."""
        return [canary for canary in self.canaries if canary in text]

    def _plant(self, node: Any, number: int) -> None:
        """Put one secret into `node`: under a secret name, in a string, or in the name itself."""
        way = self._random.randrange(3) if isinstance(node, dict) else 1
        if way == 0:
            node[f"{self._random.choice(NAMES)}_{number}"] = self._value()
        elif way == 1:
            self._add(node, f"note-{number}", self._random.choice(self._shapes)())
        else:
            node[f"/x?access_token={self._canary()}"] = number

    @staticmethod
    def _add(node: Any, name: str, value: Any) -> Any:
        if isinstance(node, dict):
            node[name] = value
        else:
            node.append(value)
        return value

    def _inner(self) -> Any:
        return self._random.choice([dict, list])()

    def _canary(self) -> str:
        return self._known(f"canary{self._random.getrandbits(64):016x}")

    def _encoded(self) -> str:
        return self._known(base64.urlsafe_b64encode(self._random.randbytes(24)).decode())

    def _value(self) -> Any:
        """Return what may stand under a secret name: a text, a number, or something deep."""
        kind = self._random.randrange(3)
        if kind == 0:
            return int(self._known(str(self._random.randrange(10**17, 10**18))))
        return self._canary() if kind == 1 else {"deep": [self._canary()]}

    def _known(self, secret: str) -> str:
        self.canaries.append(secret)
        return secret

    def card(self) -> str:
        """Return a card number, which is a secret."""
        digits = f"4{self._random.randrange(10**14):014}"
        doubled = [sum(divmod(int(digit) * 2, 10)) for digit in digits[::2]]
        digits += str(-(sum(doubled) + sum(map(int, digits[1::2]))) % 10)
        return self._known(self._random.choice("- ").join(digits[at : at + 4] for at in range(0, 16, 4)))
