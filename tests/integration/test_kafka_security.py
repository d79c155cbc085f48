"""Secured Kafka: everything works by each kind of listener; a wrong setting is named, and no secret shown."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from support.certificates import Authority
from support.client import Person, eventually
from support.collector import Collector
from support.consuming import POISON, Reader, publisher_of
from support.servers import RealServers, require
from support.system import Process, migrate, real_system
from support.topic import records_of
from tidings.kafka.diagnosis import explain
from tidings.kafka.ordered import RawRecord
from tidings.kafka.publisher import BrokerUnavailable
from tidings.kafka.settings import KafkaSettings
from tidings.kafka.topics import ReplicationSettings, Topics, TopicsSettings, TopicsUnavailable
from tidings.settings import variable
from tidings_local.servers import Kafka, Listener, Security
from tidings_local.servers.ports import LOOPBACK, free_port

pytestmark = pytest.mark.real

PASSWORD = "s3cret-of-mina"
LONGEST = 30.0
"""Seconds: processes start slowly on a busy machine."""
SCRAM = {"sasl_username": "mina", "sasl_password": PASSWORD}
PLAIN = SCRAM | {"sasl_mechanism": "PLAIN"}


@dataclass(frozen=True)
class Secured:
    """A broker with a listener of each kind, and files to connect to it with."""

    bootstraps: dict[str, str]
    """Addresses by listener."""
    files: dict[str, Path]

    def given(self, listener: str, protocol: str, **options: str) -> dict[str, str]:
        """Return the settings of a connection; a setting that ends in `_file` is given by its short name."""
        paths = {name: str(self.files.get(text, text)) for name, text in options.items() if name.endswith("_file")}
        return {"bootstrap_servers": self.bootstraps[listener], "security_protocol": protocol, **options, **paths}

    def settings(self, listener: str, protocol: str, **options: str) -> KafkaSettings:
        """Return the same as the services have it."""
        given: dict[str, Any] = self.given(listener, protocol, **options)
        return KafkaSettings(fetch_max_wait_ms=10, **given)

    def environment(self, listener: str, protocol: str, **options: str) -> dict[str, str]:
        """Return the same as environment variables."""
        given = self.given(listener, protocol, **options)
        return {variable(("kafka", name)): text for name, text in given.items()}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """One broker for all of this module."""
    require("Kafka")
    folder = tmp_path_factory.mktemp("secured")
    ours, strangers = Authority(folder / "ours"), Authority(folder / "strangers")
    security = Security(
        listeners=(
            Listener("SASL_PLAINTEXT", "SASL_PLAINTEXT", mechanisms=("SCRAM-SHA-512",)),
            Listener("SSL", "SSL"),
            Listener("SASL_SSL", "SASL_SSL"),
            Listener("MUTUAL", "SSL", asks_for_certificate=True),
        ),
        users={"mina": PASSWORD},
        identity=ours.issue("broker", LOOPBACK),
        trusted=ours.certificate,
    )
    files = {
        "ours": ours.certificate,
        "strangers": strangers.certificate,
        "mina": ours.issue("mina"),
        "stranger": strangers.issue("stranger"),
    }
    with Kafka(folder / "kafka", security=security) as kafka:
        bootstraps = {listener.name: listener.address for listener in security.listeners}
        port = bootstraps["SSL"].rpartition(":")[2]
        yield Secured(bootstraps | {"PLAINTEXT": kafka.bootstrap, "other name": f"localhost:{port}"}, files)


def of_topics(kafka: KafkaSettings) -> Topics:
    return Topics(TopicsSettings(kafka=kafka, topics=ReplicationSettings(replication=1, min_insync=1)))


MINA = {"ssl_certificate_file": "mina", "ssl_key_file": "mina"}
STRANGER = {"ssl_certificate_file": "stranger", "ssl_key_file": "stranger"}
OURS = {"ssl_ca_file": "ours"}

CONNECTIONS = [
    pytest.param("PLAINTEXT", "PLAINTEXT", {}, id="PLAINTEXT"),
    pytest.param("SASL_PLAINTEXT", "SASL_PLAINTEXT", SCRAM, id="SASL_PLAINTEXT, SCRAM-SHA-512"),
    pytest.param("SSL", "SSL", OURS, id="SSL"),
    pytest.param("MUTUAL", "SSL", OURS | MINA, id="SSL, mutual"),
    pytest.param("SASL_SSL", "SASL_SSL", OURS | SCRAM, id="SASL_SSL, SCRAM-SHA-512"),
    pytest.param("SASL_SSL", "SASL_SSL", OURS | SCRAM | {"sasl_mechanism": "SCRAM-SHA-256"}, id="SASL_SSL, SCRAM-256"),
    pytest.param("SASL_SSL", "SASL_SSL", OURS | PLAIN, id="SASL_SSL, PLAIN"),
]


@pytest.mark.parametrize(("listener", "protocol", "options"), CONNECTIONS)
async def test_records_are_published_consumed_and_parked(
    secured: Secured, listener: str, protocol: str, options: dict[str, str]
) -> None:
    settings = secured.settings(listener, protocol, **options)
    topic = f"secured.{uuid4().hex}"
    values = [b"one", POISON, b"two"]
    publisher = publisher_of(settings)
    assert await publisher.publish_raw([RawRecord(topic, b"k", value, ()) for value in values]) == [None] * 3
    await publisher.close()
    assert await Reader(settings, topic).read(2) == [b"one", b"two"]
    letters = await records_of(secured.bootstraps["PLAINTEXT"], f"{topic}.dlq", lambda _: True, 1)
    assert [letter.value for letter in letters] == [POISON]


@pytest.mark.parametrize(("listener", "protocol", "options"), CONNECTIONS)
async def test_topics_are_applied_and_checked(
    secured: Secured, listener: str, protocol: str, options: dict[str, str]
) -> None:
    async with of_topics(secured.settings(listener, protocol, **options)) as topics:
        await topics.apply()
        for _ in range(100):  # the broker tells of new topics a little later
            if not await topics.differences():
                break
            await asyncio.sleep(0.05)
        assert await topics.differences() == []
        assert await topics.apply() == []


REFUSALS = [
    pytest.param(
        *("SASL_SSL", "SASL_SSL", OURS | SCRAM | {"sasl_password": "s3cret-of-nobody"}),
        "refuses TIDINGS_KAFKA_SASL_USERNAME or TIDINGS_KAFKA_SASL_PASSWORD",
        id="wrong password",
    ),
    pytest.param(
        *("SASL_SSL", "SASL_SSL", OURS | PLAIN | {"sasl_username": "nobody"}),
        "refuses TIDINGS_KAFKA_SASL_USERNAME or TIDINGS_KAFKA_SASL_PASSWORD",
        id="unknown user",
    ),
    pytest.param(
        *("SASL_PLAINTEXT", "SASL_PLAINTEXT", SCRAM | {"sasl_mechanism": "SCRAM-SHA-256"}),
        "does not take TIDINGS_KAFKA_SASL_MECHANISM=SCRAM-SHA-256",
        id="unknown mechanism",
    ),
    pytest.param(
        *("SASL_SSL", "SASL_SSL", SCRAM | {"ssl_ca_file": "strangers"}),
        "its certificate is not trusted (TIDINGS_KAFKA_SSL_CA_FILE): unable to get local issuer certificate",
        id="another authority",
    ),
    pytest.param(
        *("SSL", "SSL", {}),
        "its certificate is not trusted (TIDINGS_KAFKA_SSL_CA_FILE): unable to get local issuer certificate",
        id="the system's authorities",
    ),
    pytest.param(
        *("other name", "SSL", OURS),
        "its certificate is for another name (TIDINGS_KAFKA_BOOTSTRAP_SERVERS): Hostname mismatch",
        id="another name",
    ),
    pytest.param(
        *("MUTUAL", "SSL", OURS),
        "refuses TIDINGS_KAFKA_SSL_CERTIFICATE_FILE, or misses it",
        id="no certificate",
    ),
    pytest.param(
        *("MUTUAL", "SSL", OURS | STRANGER),
        "refuses TIDINGS_KAFKA_SSL_CERTIFICATE_FILE, or misses it",
        id="a stranger's certificate",
    ),
    pytest.param(
        *("SSL", "PLAINTEXT", {}),
        "its port does not speak TIDINGS_KAFKA_SECURITY_PROTOCOL=PLAINTEXT",
        id="plaintext to TLS",
    ),
    pytest.param(
        *("PLAINTEXT", "SSL", OURS),
        "its port does not speak TIDINGS_KAFKA_SECURITY_PROTOCOL=SSL",
        id="TLS to plaintext",
    ),
    pytest.param(
        *("SASL_PLAINTEXT", "PLAINTEXT", {}),
        "its port does not speak TIDINGS_KAFKA_SECURITY_PROTOCOL=PLAINTEXT",
        id="no password where one is asked for",
    ),
    pytest.param(
        *("SSL", "SASL_SSL", OURS | SCRAM),
        "takes no password there, so TIDINGS_KAFKA_SECURITY_PROTOCOL=SASL_SSL is wrong",
        id="a password where none is taken",
    ),
]


async def consumers_reason(settings: KafkaSettings) -> str:
    """Return why the consumer is not ready, once it has tried."""
    consumer = Reader(settings, "secured").consumer
    running = asyncio.create_task(consumer.run())
    try:
        while True:
            with pytest.raises(ConnectionError) as caught:
                await consumer.check()
            if not str(caught.value).startswith("not connected"):
                return str(caught.value)
            await asyncio.sleep(0.02)
    finally:
        await consumer.stop(running, 3)


@pytest.mark.parametrize(("listener", "protocol", "options", "said"), REFUSALS)
async def test_a_refusal_is_told_in_time_by_everyone_and_names_the_setting(
    secured: Secured, listener: str, protocol: str, options: dict[str, str], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "tidings")
    settings = secured.settings(listener, protocol, **options)
    publisher = publisher_of(settings)
    async with asyncio.timeout(10):
        with pytest.raises(BrokerUnavailable) as published:
            await publisher.connect()
        with pytest.raises(TopicsUnavailable) as applied:
            async with of_topics(settings):
                pass
        consumed = await consumers_reason(settings)
    await publisher.close()
    for reason in (str(published.value), str(applied.value), consumed, caplog.text):
        assert f"Kafka at {settings.bootstrap_servers}: " in reason
        assert said in reason
        assert "s3cret" not in reason


async def test_of_several_brokers_each_reason_is_told_once_and_one_that_lets_us_in_clears_the_settings(
    secured: Secured,
) -> None:
    async def listen_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(listen_only, LOOPBACK, 0)
    port = silent.sockets[0].getsockname()[1]
    away, plain, tls = "127.0.0.1:9", secured.bootstraps["PLAINTEXT"], secured.bootstraps["SSL"]

    async def explained(*bootstraps: str) -> str:
        return await explain(KafkaSettings(bootstrap_servers=",".join(bootstraps)), TimeoutError("too slow"))

    reasons = await explained(f"{LOOPBACK}:{port}", tls, away, away)
    silent.close()
    await silent.wait_closed()
    assert reasons.count("does not answer within 2 s (TIDINGS_KAFKA_BOOTSTRAP_SERVERS)") == 1
    assert reasons.count("does not speak TIDINGS_KAFKA_SECURITY_PROTOCOL=PLAINTEXT") == 1
    assert reasons.count("does not answer (TIDINGS_KAFKA_BOOTSTRAP_SERVERS): ConnectionRefusedError") == 1
    assert (await explained(tls, plain)).endswith(": lets us in, then failed: TimeoutError('too slow')")


def test_the_topics_command_signs_in_by_its_settings(secured: Secured) -> None:
    environment = secured.environment("SASL_SSL", "SASL_SSL", **OURS, **SCRAM) | {"TIDINGS_TOPICS_REPLICATION": "1"}

    def topics(**changes: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "tidings", "topics", "apply"],
            env=os.environ | environment | changes,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert topics().returncode == 0
    refused = topics(TIDINGS_KAFKA_SASL_PASSWORD="s3cret-of-nobody")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert refused.stderr.endswith("refuses TIDINGS_KAFKA_SASL_USERNAME or TIDINGS_KAFKA_SASL_PASSWORD\n")


def test_the_whole_system_works_by_password_and_tls(
    secured: Secured, servers: RealServers, collector: Collector, tmp_path: Path
) -> None:
    environment = secured.environment("SASL_SSL", "SASL_SSL", **OURS, **SCRAM)
    with real_system(tmp_path, servers, environment) as system, system.client() as http:
        person = Person(http)
        posted = person.say("안녕하세요")
        found = eventually(lambda: person.log(trace_id=posted["trace_id"]), lambda entries: len(entries) >= 2, LONGEST)
        assert {entry["type"] for entry in found} == {"message.created", "api.request"}
        assert PASSWORD not in system.output()


def test_a_service_with_a_wrong_password_says_so_in_its_readiness_and_its_log(secured: Secured, tmp_path: Path) -> None:
    port, database = free_port(), f"sqlite+aiosqlite:///{tmp_path}/messages.db"
    asyncio.run(migrate("tidings_messages", database))
    process = Process(
        name="messages",
        command=[sys.executable, "-m", "tidings_messages", "serve"],
        environment={
            "TIDINGS_DATABASE_URL": database,
            "TIDINGS_REDIS_URL": "redis://127.0.0.1:9/0",
            "TIDINGS_TOKENS_JWKS_URL": "http://127.0.0.1:9/.well-known/jwks.json",
            "TIDINGS_ACTIVITY_ADDRESS_KEY": "0123456789abcdef",
            "TIDINGS_HTTP_PORT": str(port),
            "TIDINGS_HTTP_MANAGEMENT_PORT": str(free_port()),
            "TIDINGS_LOG_LEVEL": "DEBUG",
            **secured.environment("SASL_SSL", "SASL_SSL", **OURS, **SCRAM | {"sasl_password": "s3cret-of-nobody"}),
        },
        url=f"http://127.0.0.1:{port}",
        log=tmp_path / "log",
    )
    said = "refuses TIDINGS_KAFKA_SASL_USERNAME or TIDINGS_KAFKA_SASL_PASSWORD"
    process.start()
    try:
        readiness = eventually(
            lambda: process.readiness().json(),
            lambda found: said in found["dependencies"]["kafka"]["reason"],
            LONGEST,
        )
    finally:
        assert process.stop() == 0
    assert not readiness["ready"]
    assert said in process.output()
    assert "s3cret" not in process.output()
