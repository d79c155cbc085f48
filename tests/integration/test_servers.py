"""The launcher's tests: real servers come up, keep their data and never outlive their owner."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from tidings_local.servers import (
    Kafka,
    MariaDB,
    Redis,
    Security,
    ServerFailed,
    ServerMissing,
    cache_folder,
    install_missing,
    missing,
)

pytestmark = pytest.mark.real

QUICKLY = 10.0
"""Seconds: far less than the minute a server may take, far more than a failure needs."""


def need(*servers: str) -> None:
    """Skip the test without these servers, or fail it where the real ones are demanded."""
    lines = [line for server, line in missing().items() if server in servers]
    if lines and os.environ.get("TIDINGS_TEST_REAL") == "1":
        pytest.fail("; ".join(lines))
    if lines:
        pytest.skip("; ".join(lines))


def sql(server: MariaDB, statement: str) -> str:
    """What MariaDB answers to a client that comes over TCP, as the services do."""
    address = ["--protocol=tcp", "--host=127.0.0.1", f"--port={server.port}", "--user=root"]
    client = ["mariadb", "--no-defaults", *address, "--skip-column-names", "-e", statement]
    return subprocess.run(client, check=True, capture_output=True, text=True).stdout


def ask_redis(server: Redis, command: str) -> str:
    """What Redis answers to one command, in its own notation."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=1) as connection:
        connection.sendall(f"{command}\r\n".encode())
        return connection.recv(4096).decode()


def kcat(kafka: Kafka, *arguments: str, text: str = "") -> str:
    """What kcat prints, given a text on its standard input."""
    client = ["kcat", "-q", "-b", kafka.bootstrap, *arguments]
    done = subprocess.run(client, check=True, input=text, capture_output=True, text=True, timeout=60)
    return done.stdout


def produce(kafka: Kafka, *messages: str) -> None:
    """Write messages to the topic `letters` and have all in-sync replicas confirm them."""
    kcat(kafka, "-P", "-t", "letters", "-X", "acks=all", text="\n".join(messages))


def consumed(kafka: Kafka) -> list[str]:
    """All messages of the topic `letters`, sorted."""
    return sorted(kcat(kafka, "-C", "-t", "letters", "-o", "beginning", "-e").split())


def listens(port: int) -> bool:
    """Whether anything accepts connections on this port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, which must come quickly."""
    deadline = time.monotonic() + QUICKLY
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)


def test_mariadb_keeps_its_data_and_its_port(tmp_path: Path) -> None:
    """Would catch a second initialisation, a new port, or the wrong collation."""
    need("MariaDB")
    with MariaDB(tmp_path / "mariadb") as server:
        port = server.port
        server.create_database("letters")
        server.create_database("letters")
        sql(server, "CREATE TABLE letters.t (name VARCHAR(9)); INSERT INTO letters.t VALUES ('ä')")
        server.stop()
        assert not server.running
        server.start()
        assert server.running
        assert server.port == port
    with MariaDB(tmp_path / "mariadb", port) as again:
        assert sql(again, "SELECT name FROM letters.t") == "ä\n"
        assert again.url("letters") == (f"mysql+aiomysql://root@127.0.0.1:{port}/letters?charset=utf8mb4")
        collation = "SELECT default_collation_name FROM information_schema.schemata WHERE"
        assert sql(again, f"{collation} schema_name = 'letters'") == "utf8mb4_nopad_bin\n"
        again.drop_database("letters")
        again.drop_database("letters")
        assert "letters" not in sql(again, "SHOW DATABASES")


def test_mariadb_survives_a_kill(tmp_path: Path) -> None:
    """Would catch settings under which a confirmed commit is lost with the process."""
    need("MariaDB")
    with MariaDB(tmp_path) as server:
        server.create_database("letters")
        sql(server, "CREATE TABLE letters.t (n INT); INSERT INTO letters.t VALUES (7)")
        server.kill()
        assert not server.running
        assert not listens(server.port)
        server.start()
        assert sql(server, "SELECT n FROM letters.t") == "7\n"


def test_mariadb_works_in_a_deep_folder(tmp_path: Path) -> None:
    """Would catch a socket whose path is longer than the 107 bytes it may have."""
    need("MariaDB")
    with MariaDB(tmp_path / ("deep" * 30)) as server:
        server.create_database("letters")
        assert "letters" in sql(server, "SHOW DATABASES")


@pytest.mark.parametrize("name", ["", "a`b", "a b", "ä", "a" * 65])
def test_mariadb_takes_plain_names_only(tmp_path: Path, name: str) -> None:
    """Would catch a name that ends its quotes and becomes part of the statement."""
    with pytest.raises(ValueError, match="not a database name"):
        MariaDB(tmp_path).create_database(name)


def test_redis_keeps_its_data_and_its_port(tmp_path: Path) -> None:
    """Would catch a Redis that forgets at a stop or at a kill."""
    need("Redis")
    with Redis(tmp_path / "redis") as server:
        assert ask_redis(server, "SET a 1") == "+OK\r\n"
        server.stop()
        assert not listens(server.port)
        server.start()
        assert ask_redis(server, "SET b 2") == "+OK\r\n"
        server.kill()
        server.start()
    with Redis(tmp_path / "redis", server.port) as again:
        assert ask_redis(again, "MGET a b") == "*2\r\n$1\r\n1\r\n$1\r\n2\r\n"
        assert again.url == f"redis://127.0.0.1:{server.port}/0"


def test_a_paused_server_is_silent_until_it_goes_on(tmp_path: Path) -> None:
    """Would catch a pause that ends the server, and a stop that waits for a paused one."""
    need("Redis")
    with Redis(tmp_path) as server:
        server.pause()
        assert server.running
        with pytest.raises(TimeoutError):
            ask_redis(server, "PING")
        server.resume()
        assert ask_redis(server, "PING") == "+PONG\r\n"
        server.pause()
        begin = time.monotonic()
        server.stop()
        assert time.monotonic() - begin < QUICKLY


def test_start_and_stop_may_be_repeated(tmp_path: Path) -> None:
    """Would catch a second process on the same folder, and a stop of nothing that fails."""
    need("Redis")
    server = Redis(tmp_path)
    server.stop()
    server.kill()
    with pytest.raises(ServerFailed, match="Redis is not running"):
        server.pause()
    with server:
        server.start()
        assert ask_redis(server, "PING") == "+PONG\r\n"
    server.stop()


def test_a_server_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    """Would catch a death signal tied to a passing thread instead of the process."""
    need("Redis")
    server = Redis(tmp_path)
    thread = Thread(target=server.start)
    thread.start()
    thread.join()
    with server:
        time.sleep(0.2)
        assert ask_redis(server, "PING") == "+PONG\r\n"


def test_a_server_that_ends_at_once_says_why(tmp_path: Path) -> None:
    """Would catch a start that waits for its deadline, or hides the server's own words."""
    need("MariaDB")
    (tmp_path / "data").mkdir()
    server = MariaDB(tmp_path)
    begin = time.monotonic()
    with pytest.raises(ServerFailed, match=r"(?s)^MariaDB ended while starting.*\[ERROR\]"):
        server.start()
    assert time.monotonic() - begin < QUICKLY
    assert not server.running


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """Would catch a start that mistakes another server on the port for its own."""
    need("Redis")
    with Redis(tmp_path / "first") as first, pytest.raises(ServerFailed, match="in use"):
        Redis(tmp_path / "second", first.port).start()


def test_missing_programs_are_named_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch a message from which nobody learns what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "tidings"
    lines = missing()
    assert list(lines) == ["MariaDB", "Redis", "Kafka", "kcat", "Node.js", "faketime"]
    assert lines["Kafka"] == "Kafka is not installed: apt-get install default-jre-headless maven"
    for server in (MariaDB(tmp_path / "m"), Redis(tmp_path / "r"), Kafka(tmp_path / "k")):
        with pytest.raises(ServerMissing) as caught:
            server.start()
        assert str(caught.value) == lines[type(server).__name__]
    with pytest.raises(ServerMissing, match=r"^not installed: .* maven .*redis-server$"):
        install_missing()


def test_the_installer_leaves_no_service_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch an installation that asks questions, or whose servers run at every boot."""
    if os.geteuid() != 0:
        pytest.skip("only root installs")
    for name in ("apt-get", "service", "update-rc.d"):
        fake = tmp_path / name
        fake.write_text(f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/calls\n')
        fake.chmod(0o755)
    (tmp_path / "service").write_text("#!/bin/sh\nexit 1\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(ServerMissing, match="Kafka is not installed: apt-get install maven"):
        install_missing()
    update, install, *silenced = (tmp_path / "calls").read_text().splitlines()
    assert update.endswith(" update")
    assert " -y " in install
    assert " --no-install-recommends " in install
    assert silenced == ["update-rc.d mariadb disable", "update-rc.d redis-server disable"]


def test_a_broken_download_is_never_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch half of Kafka in the cache, taken for all of it ever after."""
    if shutil.which("java") is None:
        need("Kafka")
    maven = tmp_path / "mvn"
    maven.write_text("#!/bin/sh\nmkdir libs; echo half > libs/half.jar; echo no network; exit 1\n")
    maven.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(ServerFailed, match="no network"):
        Kafka(tmp_path / "kafka").start()
    assert list(cache_folder().iterdir()) == []


def test_one_broker_keeps_its_messages(tmp_path: Path) -> None:
    """Would catch a second format, a new port, or a topic that does not appear by itself."""
    need("Kafka", "kcat")
    # One random id in 64 looks like an option of the program that formats the folder.
    (tmp_path / "cluster-id").write_text("-8Wf0cXsQ1G3mJ7pYkZt5A")
    with Kafka(tmp_path) as kafka:
        produce(kafka, "a", "b")
        kafka.stop()
        assert not kafka.running
        kafka.start()
        produce(kafka, "c")
        kafka.kill()
    with Kafka(tmp_path, ports=kafka.ports) as again:
        assert again.bootstrap == kafka.bootstrap
        assert consumed(again) == ["a", "b", "c"]
        assert "with 4 partitions" in kcat(again, "-L", "-t", "letters")


def test_three_brokers_survive_the_death_of_one(tmp_path: Path) -> None:
    """Would catch a topic with one replica, or a broker that cannot come back."""
    need("Kafka", "kcat")
    with Kafka(tmp_path, brokers=3) as kafka:
        produce(kafka, "a", "b", "c")
        kafka.brokers[0].kill()
        assert not kafka.running
        produce(kafka, "d")
        wait_until(lambda: " 2 brokers" in kcat(kafka, "-L"))
        wait_until(lambda: consumed(kafka) == ["a", "b", "c", "d"])  # once each partition has a new leader
        kafka.brokers[0].start()
        assert kafka.running
        wait_until(lambda: " 3 brokers" in kcat(kafka, "-L"))
        kafka.pause()
        kafka.resume()
        wait_until(lambda: consumed(kafka) == ["a", "b", "c", "d"])


def test_a_cluster_needs_ports_for_each_broker(tmp_path: Path) -> None:
    """Would catch a cluster that silently has fewer brokers than asked for."""
    ports = Kafka(tmp_path, brokers=2).ports
    with pytest.raises(ValueError, match="3 brokers"):
        Kafka(tmp_path, brokers=3, ports=ports)
    security = Security(listeners=(), users={}, identity=tmp_path, trusted=tmp_path)
    with pytest.raises(ValueError, match="one broker"):
        Kafka(tmp_path, brokers=2, security=security)


LAUNCHER = """
import signal, sys, time
from pathlib import Path
from tidings_local.servers import Kafka, MariaDB, Redis
# A shell's background job is started with interrupts ignored, and hands that on to its children.
signal.signal(signal.SIGINT, signal.default_int_handler)
folder = Path(sys.argv[1])
kafka = Kafka(folder / "kafka")
servers = [MariaDB(folder / "mariadb"), Redis(folder / "redis"), *kafka.brokers]
try:
    for server in servers:
        server.start()
    servers[1].pause()
    print(*(server.port for server in servers), flush=True)
    time.sleep(600)
except KeyboardInterrupt:
    servers[1].resume()
    time.sleep(1)
    print(*(server.running for server in servers), flush=True)
    for server in servers:
        server.stop()
"""


def launcher(folder: Path) -> "subprocess.Popen[str]":
    """Another process that starts all servers, pauses one, and prints their ports."""
    need("MariaDB", "Redis", "Kafka")
    return subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(folder)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def printed(process: "subprocess.Popen[str]") -> list[str]:
    """The words of the next line the process prints."""
    assert process.stdout is not None
    return process.stdout.readline().split()


def test_servers_end_with_a_killed_launcher(tmp_path: Path) -> None:
    """Would catch servers, running or paused, that stay behind when nobody could stop them."""
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed: apt-get install util-linux")
    with launcher(tmp_path) as process:
        ports = [int(port) for port in printed(process)]
        assert len(ports) == 3
        assert all(listens(port) for port in ports)
        process.kill()
    wait_until(lambda: not any(listens(port) for port in ports))


def test_an_interrupt_reaches_only_the_launcher(tmp_path: Path) -> None:
    """Would catch servers that end by Ctrl-C before their owner has finished with them."""
    with launcher(tmp_path) as process:
        ports = [int(port) for port in printed(process)]
        os.killpg(process.pid, signal.SIGINT)
        assert printed(process) == ["True", "True", "True"]
        assert process.wait() == 0
    assert not any(listens(port) for port in ports)
