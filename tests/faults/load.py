"""Load: people who register, sign in and post, each in a thread, writing down what they were told."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from uuid import uuid4

import httpx
import jwt

from faults.checker import FACTS
from faults.history import History, Operation, Outcome, answered
from faults.system import FaultySystem

PASSWORD = "a password that nobody else has"
OURS = {"X-Tidings-Client": "tests"}
TIMEOUT = 5.0
TOO_LONG = "x" * 10_000
WRONG_SHARE = 0.1
"""How many calls are such that a service must refuse them."""
WRITERS, POST_SECONDS = 4, 0.06
NEWCOMER_SECONDS, SIGN_IN_SECONDS = 0.4, 0.3
VISITORS, VISIT_SECONDS, LEAVING_SHARE = 2, 0.3, 0.2
REFUSED_SECONDS = 5.0
"""Within this time after a logout every service has to refuse the access token."""


class Load:
    """A few people at work: some post, one registers others, two sign in to one account, some come and go.

    Args:
        system: takes the calls; each goes to a replica by chance.
        seed: of all chances.
    """

    def __init__(self, system: FaultySystem, seed: int) -> None:
        self.history = History()
        self._system = system
        self._seed = seed
        self._newcomers = count(1)
        self._working = threading.Event()
        self._ending = threading.Event()
        self._idle = threading.Semaphore(0)
        writers = [f"writer-{seed}-{number}" for number in range(WRITERS)]
        roles: list[tuple[Callable[[_Person], None], float, str]] = [
            *((_Person.post, POST_SECONDS, name) for name in writers),
            (_Person.bring_another, NEWCOMER_SECONDS, f"host-{seed}"),
            *((_Person.sign_in, SIGN_IN_SECONDS, writers[0]) for _ in range(2)),
            *((_Person.visit, VISIT_SECONDS, f"visitor-{seed}-{number}") for number in range(VISITORS)),
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

    def newcomers_token(self) -> str:
        """Return the access token of somebody who registers now."""
        name = f"newcomer-{self._seed}-{next(self._newcomers)}"
        newcomer = _Person(name, self._system, self.history, random.Random(name))
        with newcomer.http:
            newcomer.begin()
        return newcomer.token

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
        self.token = ""
        """The access token, empty when there is none."""
        self._numbers = count(1)

    def begin(self) -> None:
        """Make the account and sign in."""
        self._register(self.name)
        self.sign_in()

    def post(self) -> None:
        """Post a text that nobody posts a second time; sometimes one that must be refused."""
        text = f"{self.name} says {next(self._numbers)}"
        token = self.token
        allowed = self.chance.random() >= WRONG_SHARE
        if not allowed:
            text, token = self.chance.choice([(f"{text} {TOO_LONG}", token), (text, "no-token")])
        headers = {"Authorization": f"Bearer {token}"}
        operation = self._call("post", text, "messages", "/api/messages", {"message": text}, headers, allowed)
        if operation.status == 401 and token == self.token:
            self.sign_in()

    def bring_another(self) -> None:
        """Register an account; sometimes with a password that must be refused."""
        allowed = self.chance.random() >= WRONG_SHARE
        self._register(f"{self.name}-{next(self._numbers)}", allowed)

    def sign_in(self) -> None:
        """Take a new access token."""
        self._call("login", self.name, "auth", "/api/login", {"username": self.name, "password": PASSWORD})

    def visit(self) -> None:
        """Go on with the session by its refresh cookie, or leave; then come again."""
        if not self.token:
            self.sign_in()
            return
        session = _session_of(self.token)
        if self.chance.random() > LEAVING_SHARE:
            operation = self._call("refresh", session, "auth", "/api/refresh", {}, OURS)
        else:
            operation = self._call("logout", session, "auth", "/api/logout", {}, OURS)
            if operation.outcome is Outcome.OK:
                self._watch_refusal(session)
                self.token = ""
        if operation.status == 401:
            self.token = ""

    def _watch_refusal(self, session: str) -> None:
        """Look whether every replica refuses the token in time; the outcome is `FAIL` when one still takes it.

        What counts is when a replica was asked: its answer may come much later when a crowd keeps it busy.
        """
        with self._history.record("refusal", session) as operation:
            end = time.monotonic() + REFUSED_SECONDS
            late = False
            while not late:
                late = time.monotonic() > end
                if (answers := self._answers()) == {401}:
                    break
                time.sleep(0.05)
            operation.outcome = Outcome.FAIL if 200 in answers else Outcome.OK

    def _answers(self) -> set[int]:
        """What the replicas of messages that answer say to the token."""
        found = set()
        for process in self._system.replicas("messages"):
            try:
                headers = {"Authorization": f"Bearer {self.token}"}
                found.add(self.http.get(f"{process.url}/api/messages", headers=headers).status_code)
            except httpx.HTTPError:
                found.add(0)
        return found

    def _register(self, name: str, allowed: bool = True) -> None:
        body = {"username": name, "password": PASSWORD if allowed else "short"}
        self._call("register", name, "auth", "/api/register", body, allowed=allowed)

    def _call(
        self,
        kind: str,
        subject: str,
        service: str,
        path: str,
        body: dict[str, str],
        headers: dict[str, str] | None = None,
        allowed: bool = True,
    ) -> Operation:
        """Make a call; one of which it is not known whether it took effect is made again, perhaps elsewhere."""
        headers = {"Idempotency-Key": str(uuid4())} | (headers or {})
        operation = self._attempt(kind, subject, service, path, body, headers, allowed)
        if operation.outcome is Outcome.UNKNOWN and kind in FACTS:
            operation = self._attempt(kind, subject, service, path, body, headers, allowed)
        return operation

    def _attempt(
        self,
        kind: str,
        subject: str,
        service: str,
        path: str,
        body: dict[str, str],
        headers: dict[str, str],
        allowed: bool,
    ) -> Operation:
        url = self.chance.choice(self._system.replicas(service)).url + path
        with self._history.record(kind, subject, allowed) as operation:
            answer = self.http.post(url, json=body, headers=headers)
            answered(operation, answer)
            if answer.is_success and answer.content:
                made = answer.json()
                self.token = made.get("access_token", self.token)
                operation.made = made["id"] if kind in FACTS else _session_of(self.token)
        return operation


def _session_of(token: str) -> str:
    return str(jwt.decode(token, options={"verify_signature": False})["sid"])


@contextmanager
def running_load(system: FaultySystem, seed: int) -> Iterator[Load]:
    """Have people at work until the block ends; they pause at first."""
    load = Load(system, seed)
    load.start()
    try:
        yield load
    finally:
        load.close()
