"""Load: people who register, sign in and post, each in a thread, writing down what they were told."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from uuid import uuid4

import httpx

from faults.checker import FACTS
from faults.history import History, Operation, Outcome, answered
from faults.system import FaultySystem

PASSWORD = "a password that nobody else has"
TIMEOUT = 5.0
TOO_LONG = "x" * 10_000
WRONG_SHARE = 0.1
"""How many calls are such that a service must refuse them."""
WRITERS, POST_SECONDS = 4, 0.06
NEWCOMER_SECONDS, SIGN_IN_SECONDS = 0.4, 0.3


class Load:
    """A few people at work: some post, one registers others, two sign in to an account at the same time.

    Args:
        system: takes the calls; each goes to a replica by chance.
        seed: of all chances.
    """

    def __init__(self, system: FaultySystem, seed: int) -> None:
        self.history = History()
        self._system = system
        self._working = threading.Event()
        self._ending = threading.Event()
        self._idle = threading.Semaphore(0)
        writers = [f"writer-{seed}-{number}" for number in range(WRITERS)]
        roles: list[tuple[Callable[[_Person], None], float, str]] = [
            *((_Person.post, POST_SECONDS, name) for name in writers),
            (_Person.bring_another, NEWCOMER_SECONDS, f"host-{seed}"),
            *((_Person.sign_in, SIGN_IN_SECONDS, writers[0]) for _ in range(2)),
        ]
        self._threads = []
        for number, (act, pause, name) in enumerate(roles):
            person = _Person(name, system, self.history, random.Random(f"{seed}-{number}"))
            thread = threading.Thread(target=self._work, args=[person, act, pause], name=name, daemon=True)
            self._threads.append(thread)

    def start(self) -> None:
        """Let everybody register, and then wait for `resume`."""
        for thread in self._threads:
            thread.start()
        self._wait_until_idle()

    def resume(self) -> None:
        """Let everybody work."""
        self._working.set()

    def pause(self) -> None:
        """Have everybody end the call in hand, and no more."""
        self._working.clear()
        self._wait_until_idle()

    def close(self) -> None:
        """End all threads."""
        self._ending.set()
        self._working.set()
        for thread in self._threads:
            thread.join()

    def _wait_until_idle(self) -> None:
        for _ in self._threads:
            assert self._idle.acquire(timeout=6 * TIMEOUT), "somebody's call does not end"

    def _work(self, person: "_Person", act: Callable[["_Person"], None], pause: float) -> None:
        with person.http:
            if act is not _Person.sign_in:  # those use an account that somebody else makes
                person.begin()
            while True:
                if not self._working.is_set():
                    self._idle.release()
                    self._working.wait()
                if self._ending.is_set():
                    return
                act(person)
                time.sleep(pause * person.chance.uniform(0.5, 1.5))


class _Person:
    """Somebody with an account."""

    def __init__(self, name: str, system: FaultySystem, history: History, chance: random.Random) -> None:
        self.name = name
        self.chance = chance
        self.http = httpx.Client(timeout=TIMEOUT, trust_env=False)
        self._system = system
        self._history = history
        self._token = ""
        self._numbers = count(1)

    def begin(self) -> None:
        """Make the account and sign in."""
        self._register(self.name)
        self.sign_in()

    def post(self) -> None:
        """Post a text that nobody posts a second time; sometimes one that must be refused."""
        text = f"{self.name} says {next(self._numbers)}"
        token = self._token
        if self.chance.random() < WRONG_SHARE:
            text, token = self.chance.choice([(f"{text} {TOO_LONG}", token), (text, "no-token")])
        headers = {"Authorization": f"Bearer {token}"}
        operation = self._call("post", text, "messages", "/api/messages", {"message": text}, headers)
        if operation.status == 401 and token == self._token:
            self.sign_in()

    def bring_another(self) -> None:
        """Register an account; sometimes with a password that must be refused."""
        password = "short" if self.chance.random() < WRONG_SHARE else PASSWORD
        self._register(f"{self.name}-{next(self._numbers)}", password)

    def sign_in(self) -> None:
        """Take a new access token."""
        body = {"username": self.name, "password": PASSWORD}
        operation = self._call("login", self.name, "auth", "/api/login", body)
        if operation.outcome is Outcome.OK:
            self._token = operation.made or ""

    def _register(self, name: str, password: str = PASSWORD) -> None:
        self._call("register", name, "auth", "/api/register", {"username": name, "password": password})

    def _call(
        self,
        kind: str,
        subject: str,
        service: str,
        path: str,
        body: dict[str, str],
        headers: dict[str, str] | None = None,
    ) -> Operation:
        """Make a call; one of which it is not known whether it took effect is made again, perhaps elsewhere."""
        headers = {"Idempotency-Key": str(uuid4())} | (headers or {})
        operation = self._attempt(kind, subject, service, path, body, headers)
        if operation.outcome is Outcome.UNKNOWN and kind in FACTS:
            operation = self._attempt(kind, subject, service, path, body, headers)
        return operation

    def _attempt(
        self, kind: str, subject: str, service: str, path: str, body: dict[str, str], headers: dict[str, str]
    ) -> Operation:
        url = self.chance.choice(self._system.replicas(service)).url + path
        with self._history.record(kind, subject) as operation:
            answer = self.http.post(url, json=body, headers=headers)
            answered(operation, answer)
            if answer.is_success:
                operation.made = answer.json()["access_token" if kind == "login" else "id"]
        return operation


@contextmanager
def running_load(system: FaultySystem, seed: int) -> Iterator[Load]:
    """Have people at work until the block ends; they pause at first."""
    load = Load(system, seed)
    load.start()
    try:
        yield load
    finally:
        load.close()
