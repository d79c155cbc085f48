"""A running system: the embedded one in one process, or each service as its own process on real servers."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import httpx
from pydantic import SecretStr

from support.servers import RealServers
from tidings.database.engine import create_engine
from tidings.database.migrations import upgrade
from tidings.database.settings import DatabaseSettings
from tidings_local.folder import kept_secret
from tidings_local.gateway import owner
from tidings_local.servers.ports import free_port

START_SECONDS = 120
STOP_SECONDS = 20


@dataclass
class Process:
    """One process of the system, and what it wrote."""

    name: str
    command: list[str]
    environment: dict[str, str]
    url: str
    log: Path
    running: "subprocess.Popen[bytes] | None" = None

    def launch(self) -> None:
        """Start it."""
        with self.log.open("ab") as output:
            self.running = subprocess.Popen(
                self.command, env=os.environ | self.environment, stdout=output, stderr=subprocess.STDOUT
            )

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.launch()
        self.wait_until_alive()

    def wait_until_alive(self, seconds: float = START_SECONDS) -> None:
        """Wait until it answers; fail with its output when it ends instead."""
        assert self.running
        end = time.monotonic() + seconds
        while not self._alive():
            assert self.running.poll() is None, f"{self.name} ended:\n{self.output()[-3000:]}"
            assert time.monotonic() < end, f"{self.name} does not answer:\n{self.output()[-3000:]}"
            time.sleep(0.05)

    def signal(self, number: int) -> None:
        """Send a signal."""
        assert self.running
        self.running.send_signal(number)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self.signal(signal.SIGKILL)
        self.wait()

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Return the exit code once it has ended."""
        assert self.running
        try:
            return self.running.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.running.kill()
            raise AssertionError(f"{self.name} did not end:\n{self.output()[-3000:]}") from None

    def readiness(self) -> httpx.Response:
        """Ask whether it is ready; at its management port, if it has one, so that the answer says why not."""
        return self._ask_health("ready", 10)

    def _alive(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health/live", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def _ask_health(self, page: str, seconds: float) -> httpx.Response:
        port = self.environment.get("TIDINGS_HTTP_MANAGEMENT_PORT")
        url = httpx.URL(self.url).copy_with(port=int(port)) if port else self.url
        return httpx.get(f"{url}/health/{page}", timeout=seconds)

    def answers_probe(self, seconds: float) -> bool:
        """Return whether it says within so many seconds that it lives; asked as Kubernetes does, see `readiness`."""
        try:
            return self._ask_health("live", seconds).status_code == 200
        except httpx.HTTPError:
            return False

    def output(self) -> str:
        """Return everything it wrote."""
        return self.log.read_text(encoding="utf-8", errors="replace")


@dataclass
class System:
    """Processes that together are Tidings."""

    kind: str
    processes: dict[str, Process] = field(default_factory=dict)

    @contextmanager
    def client(self) -> Iterator[httpx.Client]:
        """Return a client that reaches each service by its paths, as a gateway does."""
        with httpx.Client(base_url="http://tidings", transport=_ByPrefix(self), timeout=15) as client:
            yield client

    @asynccontextmanager
    async def browser(self) -> AsyncIterator[httpx.AsyncClient]:
        """Return another one with a cookie jar."""
        async with httpx.AsyncClient(base_url="http://tidings", transport=_AsyncByPrefix(self), timeout=15) as client:
            yield client

    def url_of(self, path: str) -> str:
        """Return the base URL of whichever process answers `path`."""
        name = owner(path)
        name = name if name in self.processes else ("all" if "all" in self.processes else "auth")
        return self.processes[name].url

    def wait_until_ready(self, seconds: float = START_SECONDS) -> None:
        """Wait until every process says that it is ready."""
        for process in self.processes.values():
            end = time.monotonic() + seconds
            while (answer := process.readiness()).status_code != 200:
                assert time.monotonic() < end, f"{process.name} is not ready: {answer.text}"
                time.sleep(0.05)

    def output(self) -> str:
        """Return everything that all processes wrote."""
        return "".join(process.output() for process in self.processes.values())

    def stop(self) -> None:
        """End what still runs; one that does not end must not keep the others running."""
        with ExitStack() as stack:
            for process in self.processes.values():
                if process.running and process.running.poll() is None:
                    stack.callback(process.stop)


class _ByPrefix(httpx.BaseTransport):
    def __init__(self, system: System) -> None:
        self._system = system
        self._transport = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._transport.handle_request(_routed(self._system, request))

    def close(self) -> None:
        self._transport.close()


class _AsyncByPrefix(httpx.AsyncBaseTransport):
    def __init__(self, system: System) -> None:
        self._system = system
        self._transport = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._transport.handle_async_request(_routed(self._system, request))

    async def aclose(self) -> None:
        await self._transport.aclose()


def _routed(system: System, request: httpx.Request) -> httpx.Request:
    """Return the request as the service gets it; the client goes on to see one origin, and so does its cookie jar."""
    base = httpx.URL(system.url_of(request.url.path))
    url = request.url.copy_with(scheme=base.scheme, host=base.host, port=base.port)
    headers = request.headers.copy()
    headers["host"] = base.netloc.decode()
    return httpx.Request(request.method, url, headers=headers, stream=request.stream, extensions=request.extensions)


@contextmanager
def embedded_system(folder: Path, environment: Mapping[str, str]) -> Iterator[System]:
    """Run everything in one process on the embedded backends."""
    port = free_port()
    process = Process(
        name="all",
        command=[sys.executable, "-m", "tidings_local", "run"],
        environment={"PORT": str(port), "DATA": str(folder / "var"), **environment},
        url=f"http://127.0.0.1:{port}",
        log=folder / "all.log",
    )
    system = System("embedded", {"all": process})
    try:
        process.start()
        system.wait_until_ready()
        yield system
    finally:
        system.stop()


@contextmanager
def real_system(folder: Path, servers: RealServers, environment: Mapping[str, str]) -> Iterator[System]:
    """Run each service as a process of its own, on databases of its own, as it is deployed."""
    system = System("real", _real_processes(folder, servers, environment))
    try:
        for process in system.processes.values():
            asyncio.run(migrate(process.command[2], process.environment["TIDINGS_DATABASE_URL"]))
            process.launch()
        for process in system.processes.values():
            process.wait_until_alive()
        system.wait_until_ready()
        yield system
    finally:
        system.stop()


async def migrate(package: str, url: str) -> str:
    """Bring the database at `url` to the newest schema of `package`, and return what that says."""
    engine = create_engine(DatabaseSettings(url=SecretStr(url)))
    try:
        return await upgrade(engine, package)
    finally:
        await engine.dispose()


def _real_processes(folder: Path, servers: RealServers, environment: Mapping[str, str]) -> dict[str, Process]:
    unique = uuid4().hex[:8]
    ports = {name: free_port() for name in ("auth", "messages", "logs")}
    common = {
        "TIDINGS_ENVIRONMENT": "development",
        "TIDINGS_REDIS_URL": servers.redis.url,
        "TIDINGS_KAFKA_BOOTSTRAP_SERVERS": servers.kafka.bootstrap,
        "TIDINGS_ACTIVITY_ADDRESS_KEY": kept_secret(folder / "secrets" / "address-key"),
        "TIDINGS_SIGNING_KEYS_FILE": str(folder / "secrets" / "signing-keys.json"),
        "TIDINGS_SIGNING_GENERATE": "true",
        "TIDINGS_SESSION_INSECURE_COOKIE": "true",
        "TIDINGS_HTTP_DRAIN_SECONDS": "0",  # no balancer is in front
        "TIDINGS_TOKENS_JWKS_URL": f"http://127.0.0.1:{ports['auth']}/.well-known/jwks.json",
        "TIDINGS_CONSUMER_GROUP": f"tidings-log-{unique}",
        **environment,
    }
    packages = {"auth": "tidings_auth", "logs": "tidings_log_consumer", "messages": "tidings_messages"}
    processes = {}
    for name, package in packages.items():
        database = f"tidings_{name}_{unique}"
        servers.mariadb.create_database(database)
        own = {
            "TIDINGS_DATABASE_URL": servers.mariadb.url(database),
            "TIDINGS_HTTP_PORT": str(ports[name]),
            "TIDINGS_HTTP_MANAGEMENT_PORT": str(free_port()),
        }
        processes[name] = Process(
            name=name,
            command=[sys.executable, "-m", package, "serve"],
            environment=common | own,
            url=f"http://127.0.0.1:{ports[name]}",
            log=folder / f"{name}.log",
        )
    return processes
