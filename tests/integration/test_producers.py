"""Producers that are not ours: what the documents tell them to do works."""

import asyncio
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from support.servers import RealServers, require
from support.topic import records_of
from tidings.contracts.examples import ID, TIME, example_of
from tidings.contracts.kcat import command_of
from tidings.events import CATALOGUE, decode, uuid7
from tidings_local.backends import Backends

PAGE = (Path(__file__).parents[2] / "docs" / "events.md").read_text(encoding="utf-8")
KEYS = [f"key-{number}" for number in range(40)]


async def written_by(command: str, bootstrap: str, topic: str) -> Any:
    """Run a command that writes one record into `topic`, here into a topic of its own, and return the record."""
    require("kcat")
    own = f"test.{uuid7().hex}"
    assert f" -t {topic} " in command
    await run(command.replace(f" -t {topic} ", f" -t {own} "), bootstrap)
    (record,) = await records_of(bootstrap, own, lambda _: True, 1)
    return record


async def run(command: str, bootstrap: str, text: str = "") -> None:
    environment = os.environ | {"BROKERS": bootstrap}
    await asyncio.to_thread(
        subprocess.run, ["sh", "-ec", command], input=text.encode(), env=environment, check=True, timeout=30
    )


async def test_the_command_of_the_producers_page_writes_an_event(shared_backends: Backends) -> None:
    (command,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    record = await written_by(command, shared_backends.kafka, "tidings.activity.v1")
    event = decode(record.value, record.headers)
    assert (event.source, event.data.type()) == ("/your/service", "tidings.api.request.v1")
    assert record.key.decode() == event.data.key()


@pytest.mark.parametrize("name", CATALOGUE)
async def test_the_command_that_the_events_page_gives_writes_the_example(shared_backends: Backends, name: str) -> None:
    kind, example = CATALOGUE[name], example_of(CATALOGUE[name])
    record = await written_by(command_of(kind), shared_backends.kafka, kind.topic)
    event = decode(record.value, record.headers)
    assert event.data.type() == name
    assert {event.id, event.time}.isdisjoint({ID, TIME})  # the shell makes them
    assert event.data.model_dump(mode="json", exclude_unset=True) == example["value"]
    assert record.key.decode() == event.data.key() == example["key"]


def test_the_structured_event_of_the_producers_page_is_one() -> None:
    (value,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert decode(value.encode(), [("content-type", b"application/cloudevents+json")]).source == "/teams/search"


@pytest.mark.real
async def test_kcat_chooses_our_partition_only_when_it_is_told_to(servers: RealServers) -> None:
    require("kcat")
    bootstrap, topic = servers.kafka.bootstrap, f"test.{uuid7().hex}"
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    for key in KEYS:
        await producer.send_and_wait(topic, b"ours", key=key.encode())
    await producer.stop()
    for value, option in (("default", ""), ("told", "-X partitioner=murmur2_random")):
        lines = "".join(f"{key}:{value}\n" for key in KEYS)
        await run(f"kcat -P -b $BROKERS -t {topic} -K : {option}", bootstrap, lines)
    records = await records_of(bootstrap, topic, lambda _: True, 3 * len(KEYS))

    def places(value: bytes) -> dict[bytes, int]:
        return {record.key: record.partition for record in records if record.value == value}

    assert len(set(places(b"ours").values())) > 1
    assert places(b"told") == places(b"ours")
    assert places(b"default") != places(b"ours")
