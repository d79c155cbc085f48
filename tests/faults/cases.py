"""The cases: what may befall whom, and how each of it is done and undone."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from uuid import uuid4

import httpx
from confluent_kafka import admin
from sqlalchemy import text

from faults.proxy import Mode
from faults.servers import Target
from faults.system import START_SECONDS, FaultySystem
from support import kcat
from support.crowd import crowd
from support.system import Process
from tidings.events.topics import MESSAGES
from tidings.http.settings import HttpSettings

SERVERS = ("broker", "brokers", "mariadb", "redis")
SERVICES = ("auth", "messages", "log-consumer", "relay-leader")
SERVER_FAULTS = ("sigkill", "sigstop", "sigterm", "reset", "latency", "black-hole")
SERVICE_FAULTS = ("sigkill", "sigterm")
CROWDED = {"auth": "/api/login", "messages": "/api/messages"}
"""Services that a crowd of slow clients calls, and where its slow bodies go. The load calls them too, the log consumer
hardly."""
FLOODED = {"auth": "/api/me", "messages": "/api/messages"}
"""Services that many clients ask at once without pause, and what for; others ask for it during a crowd."""
OTHERS_SECONDS = 5.0
"""How long somebody waits for an answer during a crowd."""
FLOOD_CONNECTIONS = 500
PROBE_SECONDS = 1.0
"""How long Kubernetes waits for the answer to a probe."""
PROBES_IN_A_ROW = 3
"""How many of them may not be answered until Kubernetes starts the service anew."""

SECONDS = {
    "sigkill": 3.0,
    "sigterm": 3.0,
    "sigstop": 15.0,
    "reset": 4.0,
    "latency": 6.0,
    "black-hole": 12.0,
    "crowd": 15.0,
    "overload": 10.0,
}
"""How long a fault of a server lasts. A black hole outlasts the clients' own deadlines of ten seconds,
a crowd the time that a service gives a client for its header fields."""
END_SECONDS = 15.0
"""Within this time a process that is asked to end has to."""

UNREADABLE = b"unreadable"
"""The value of records that consumers cannot read, because of a header whose name is not UTF-8."""
UNREADABLE_COUNT, UNREADABLE_PAUSE = 5, 1.0
"""How many of them are written, and the seconds of good records between them."""

MODES = {"reset": Mode.RESET, "latency": Mode.LATENCY, "black-hole": Mode.BLACK_HOLE}


@dataclass(frozen=True)
class Case:
    """One fault of one target."""

    fault: str
    target: str
    seconds: float | None = None
    """How long it lasts; a time of the fault's kind when not given."""

    def __str__(self) -> str:
        return f"{self.fault}:{self.target}"


SLOW_DELETES = Case("slow-deletes", "outbox", seconds=15.0)
"""MariaDB takes so long for each row deleted from an outbox that no batch is deleted in time."""
SMALL_RECORDS = Case("small-records", "brokers", seconds=8.0)
"""The brokers take no record that is as large as an event."""
SLOW_DELETE_SECONDS = 0.1
SMALL_RECORD_BYTES, USUAL_RECORD_BYTES = 100, 2**20 + 12

MATRIX: Sequence[Case] = [
    *(Case(fault, target) for fault in SERVER_FAULTS for target in SERVERS),
    *(Case(fault, target) for fault in SERVICE_FAULTS for target in SERVICES),
    SLOW_DELETES,
    SMALL_RECORDS,
    *(Case("crowd", target) for target in CROWDED),
    *(Case("overload", target) for target in FLOODED),
]


def suffer(
    case: Case, system: FaultySystem, chance: random.Random, newcomers_token: Callable[[], str]
) -> Sequence[str]:
    """Let a fault happen, last, and be healed; return when the target is there again.

    Args:
        case: the fault and its target.
        system: suffers it.
        chance: chooses victims and times.
        newcomers_token: returns an access token, for a fault that consists of requests.

    Returns:
        What was answered worse than promised while the target was overloaded or crowded.
    """
    if case == SLOW_DELETES:
        _slow_deletes(system, SLOW_DELETES.seconds or 0)
    elif case == SMALL_RECORDS:
        _small_records(system, SMALL_RECORDS.seconds or 0)
    elif case.target in SERVERS:
        target = system.servers.target(case.target)
        _begin(case.fault, target)
        time.sleep(case.seconds or SECONDS[case.fault] * chance.uniform(1, 1.3))
        _heal(case.fault, target)
    elif case.fault == "crowd":
        seconds = case.seconds or SECONDS[case.fault] * chance.uniform(1, 1.3)
        return _crowd(_victim(case.target, system, chance), case.target, newcomers_token(), seconds)
    elif case.fault == "overload":
        seconds = case.seconds or SECONDS[case.fault] * chance.uniform(1, 1.3)
        return _overload(_victim(case.target, system, chance), FLOODED[case.target], newcomers_token(), seconds)
    elif case.fault == "unreadable":
        _write_unreadable(system)
    else:
        _end_process(case.fault, _victim(case.target, system, chance))
    return []


def _begin(fault: str, target: Target) -> None:
    if fault in MODES:
        target.become(MODES[fault])
    for server in target.servers:
        if fault == "sigstop":
            server.pause()
        elif fault == "sigkill":
            server.kill()
        elif fault == "sigterm":
            server.ask_to_stop()
    if fault == "sigterm":
        for server in target.servers:
            server.stop()


def _heal(fault: str, target: Target) -> None:
    if fault in MODES:
        target.become(Mode.FORWARD)
    elif fault == "sigstop":
        for server in target.servers:
            server.resume()
    else:
        target.start()


def _crowd(process: Process, target: str, token: str, seconds: float) -> Sequence[str]:
    port = int(process.url.rpartition(":")[2])
    answers: list[bool] = []
    probes: list[bool] = []
    with crowd(port, path=CROWDED[target], heads=500, bodies=500, silent=3000) as slow:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            answers.append(_is_answered(process.url + FLOODED[target], token))
            probes.append(process.answers_probe(PROBE_SECONDS))
            time.sleep(PROBE_SECONDS / 4)
        bodies = slow.bodies_under_way()
    worse = {
        **_unanswered(probes),
        f"{answers.count(False)} of {len(answers)} requests of others were not answered 2xx": not all(answers),
        f"the crowd was too small: {bodies} slow bodies lasted": bodies <= HttpSettings().max_requests,
    }
    return [reason for reason, holds in worse.items() if holds]


def _is_answered(url: str, token: str) -> bool:
    """Return whether a request on a connection of its own has a success."""
    headers = {"Authorization": f"Bearer {token}"}
    try:
        return httpx.get(url, headers=headers, timeout=OTHERS_SECONDS, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _unanswered(probes: Sequence[bool]) -> dict[str, bool]:
    """Return the reason why Kubernetes would start the service anew, and whether it would."""
    row = max((len(list(group)) for answered, group in groupby(probes) if not answered), default=0)
    return {f"{row} probes in a row were not answered within {PROBE_SECONDS:g} s": row >= PROBES_IN_A_ROW}


def _overload(process: Process, path: str, token: str, seconds: float) -> Sequence[str]:
    arguments = ["GET", process.url + path, token, str(FLOOD_CONNECTIONS), str(seconds)]
    with subprocess.Popen([sys.executable, "-m", "benchmarks.flood", *arguments], stdout=subprocess.PIPE) as flood:
        end = time.monotonic() + seconds
        probes: list[bool] = []
        while time.monotonic() < end:
            probes.append(process.answers_probe(PROBE_SECONDS))
            time.sleep(PROBE_SECONDS / 4)
        output, _ = flood.communicate(timeout=END_SECONDS)
    assert flood.returncode == 0
    answers = json.loads(output)
    worse = {
        **_unanswered(probes),
        f"requests got no answer, or a wrong one: {answers['failed']}": bool(answers["failed"]),
        "no request was answered as it should be": answers["made"] == 0,
    }
    return [reason for reason, holds in worse.items() if holds]


def _slow_deletes(system: FaultySystem, seconds: float) -> None:
    slow = f"CREATE TRIGGER slow BEFORE DELETE ON outbox FOR EACH ROW SET @slow = SLEEP({SLOW_DELETE_SECONDS})"
    with system.database("messages").begin() as connection:
        connection.execute(text(slow))
    time.sleep(seconds)
    with system.database("messages").begin() as connection:
        connection.execute(text("DROP TRIGGER slow"))


def _small_records(system: FaultySystem, seconds: float) -> None:
    client = admin.AdminClient({"bootstrap.servers": system.servers.bootstrap})
    for size in (SMALL_RECORD_BYTES, USUAL_RECORD_BYTES):
        entry = admin.ConfigEntry("max.message.bytes", str(size), incremental_operation=admin.AlterConfigOpType.SET)
        resource = admin.ConfigResource(admin.ResourceType.TOPIC, MESSAGES, incremental_configs=[entry])
        for done in client.incremental_alter_configs([resource]).values():
            done.result(10)
        if size == SMALL_RECORD_BYTES:
            time.sleep(seconds)


def _write_unreadable(system: FaultySystem) -> None:
    """Put records that cannot be read between good ones, so that consumers get them in one batch."""
    consumers = system.replicas("logs")
    for process in consumers:
        process.signal(signal.SIGSTOP)
    for _ in range(UNREADABLE_COUNT):
        time.sleep(UNREADABLE_PAUSE)
        kcat.produce(system.servers.bootstrap, MESSAGES, UNREADABLE, {}, key=str(uuid4()), header_key=b"\xff\xfe")
    time.sleep(UNREADABLE_PAUSE)
    for process in consumers:
        process.signal(signal.SIGCONT)


def _victim(target: str, system: FaultySystem, chance: random.Random) -> Process:
    leader = system.relay_leader()
    if target == "relay-leader":
        return leader
    if target == "messages":
        return next(one for one in system.replicas("messages") if one is not leader)
    return chance.choice(system.replicas("logs" if target == "log-consumer" else target))


def _end_process(fault: str, process: Process) -> None:
    """End a process and wait until the next one, which the supervisor starts, is alive."""
    victim = process.running
    assert victim
    victim.send_signal(signal.SIGKILL if fault == "sigkill" else signal.SIGTERM)
    victim.wait(END_SECONDS)
    while process.running is victim:
        time.sleep(0.02)
    process.wait_until_alive(START_SECONDS)
