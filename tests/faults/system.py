"""The system under test: every service as processes of its own, started again when they end, as Kubernetes does."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from sqlalchemy import Engine, create_engine, text

from faults.servers import Servers
from support.system import Process
from tidings_local.folder import kept_secret
from tidings_local.servers.child import death_signal
from tidings_local.servers.ports import LOOPBACK, free_port

GROUP = "tidings-log"
SERVICES = {
    "auth": ("tidings_auth", 1),
    "messages": ("tidings_messages", 2),
    "logs": ("tidings_log_consumer", 2),
}
"""Each service's package, and how many replicas run: two relays for one lease, two members of one group."""
LOOK_SECONDS = 0.05
START_SECONDS = 90.0


@dataclass
class FaultySystem:
    """Processes that together are Tidings, and the servers that they depend on."""

    servers: Servers
    processes: dict[str, Process]
    """By name; the replicas of a service are numbered."""
    exits: list[str] = field(default_factory=list)
    """Every end of a process, as `name: code`."""
    _ending: threading.Event = field(default_factory=threading.Event)
    _engines: dict[str, Engine] = field(default_factory=dict)

    def replicas(self, service: str) -> list[Process]:
        """Return a service's processes."""
        return [process for name, process in self.processes.items() if name.rpartition("-")[0] == service]

    def relay_leader(self) -> Process:
        """Return the replica of messages whose relay holds the lease."""
        with self.database("messages").connect() as connection:
            holder = str(connection.execute(text("SELECT holder FROM outbox_lease")).scalar_one())
        pid = int(holder.split(":")[1])
        return next(one for one in self.replicas("messages") if one.running and one.running.pid == pid)

    def database(self, service: str) -> Engine:
        """Return an engine for a service's database, past the proxy."""
        if service not in self._engines:
            url = self.servers.mariadb.url(f"tidings_{service}").replace("aiomysql", "pymysql")
            self._engines[service] = create_engine(url, pool_pre_ping=True)
        return self._engines[service]

    def ready(self) -> str | None:
        """Return `None` when every process is ready, else which is not and why."""
        for process in self.processes.values():
            try:
                answer = process.readiness()
            except httpx.HTTPError as error:
                return f"{process.name}: {error!r}"
            if answer.status_code != 200:
                return f"{process.name}: {answer.text}"
        return None

    def wait_until_ready(self, seconds: float) -> None:
        """Wait until every process is ready, or fail."""
        end = time.monotonic() + seconds
        while reason := self.ready():
            assert time.monotonic() < end, f"not ready after {seconds} s: {reason}"
            time.sleep(LOOK_SECONDS)

    def restart_by_hand(self) -> None:
        """Kill all processes, so that cases after one that did not recover have a chance."""
        for process in self.processes.values():
            process.kill()
        time.sleep(4 * LOOK_SECONDS)
        self.wait_until_ready(START_SECONDS)

    def supervise(self) -> None:
        """Start each process again when it has ended, until the system is closed."""
        while not self._ending.wait(LOOK_SECONDS):
            for process in self.processes.values():
                if process.running and (code := process.running.poll()) is not None:
                    self.exits.append(f"{process.name}: {code}")
                    process.launch()

    def close(self) -> None:
        """End everything."""
        self._ending.set()
        time.sleep(2 * LOOK_SECONDS)
        for process in self.processes.values():
            if process.running:
                process.running.terminate()
        for process in self.processes.values():
            if process.running:
                process.wait()
        for engine in self._engines.values():
            engine.dispose()


@contextmanager
def running_system(folder: Path, servers: Servers, without: Mapping[str, str], copies: int) -> Iterator[FaultySystem]:
    """Run all services on `servers` until the block ends.

    Args:
        folder: for secrets and logs.
        servers: which run.
        without: the safeguard that a service is started without, by the service's name.
        copies: how many brokers have each partition.
    """
    common = {
        "TIDINGS_ENVIRONMENT": "development",
        "TIDINGS_REDIS_URL": servers.redis_url,
        "TIDINGS_KAFKA_BOOTSTRAP_SERVERS": servers.bootstrap,
        "TIDINGS_ACTIVITY_ADDRESS_KEY": kept_secret(folder / "secrets" / "address-key"),
        "TIDINGS_SIGNING_KEYS_FILE": str(folder / "secrets" / "signing-keys.json"),
        "TIDINGS_SIGNING_GENERATE": "true",
        "TIDINGS_SESSION_INSECURE_COOKIE": "true",
        "TIDINGS_CONSUMER_GROUP": GROUP,
        "TIDINGS_TOPICS_REPLICATION": str(copies),
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    _run([sys.executable, "-m", "tidings", "topics", "apply"], common)
    system = FaultySystem(servers, {})
    for service, (package, count) in SERVICES.items():
        servers.mariadb.create_database(f"tidings_{service}")
        environment = common | {"TIDINGS_DATABASE_URL": servers.database_url(f"tidings_{service}")}
        command = _command(package, without.get(service))
        for number in range(1, count + 1):
            process = _process(f"{service}-{number}", command, environment, folder)
            system.processes[process.name] = process
        if service == "auth":
            common["TIDINGS_TOKENS_JWKS_URL"] = f"{process.url}/.well-known/jwks.json"
        _run([sys.executable, "-m", package, "migrate"], process.environment)
    supervisor = threading.Thread(target=system.supervise, name="supervisor", daemon=True)
    try:
        for process in system.processes.values():
            process.launch()
        for process in system.processes.values():
            process.wait_until_alive(START_SECONDS)
        system.wait_until_ready(START_SECONDS)
        supervisor.start()
        yield system
    finally:
        system.close()


def _command(package: str, without: str | None) -> list[str]:
    if without:
        return [sys.executable, "-m", "faults.without", without, package, "serve"]
    return [sys.executable, "-m", package, "serve"]


def _process(name: str, command: list[str], environment: Mapping[str, str], folder: Path) -> Process:
    port = free_port()
    return Process(
        name=name,
        command=[*death_signal(), *command],
        environment={
            **environment,
            "TIDINGS_HTTP_PORT": str(port),
            "TIDINGS_HTTP_MANAGEMENT_PORT": str(free_port()),
        },
        url=f"http://{LOOPBACK}:{port}",
        log=folder / f"{name}.log",
    )


def _run(command: Sequence[str], environment: Mapping[str, str]) -> None:
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(command[1:])}: {done.stdout}{done.stderr}"
