"""Compression: whatever a producer compresses its records with, the consumer reads them."""

import asyncio
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer

from support import kcat
from support.consuming import Reader
from support.servers import RealServers, require
from tidings.kafka.settings import KafkaSettings

pytestmark = pytest.mark.real

CODECS = (None, "gzip", "snappy", "lz4", "zstd")
ENOUGH = 50
"""Records in a batch: a batch of one is not made smaller, and so is not compressed by every library."""


async def produce(bootstrap: str, topic: str, codec: str | None, value: bytes) -> None:
    """Write one batch with the library that the services use."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, compression_type=codec, linger_ms=50)
    await producer.start()
    sends = [await producer.send(topic, value, partition=0) for _ in range(ENOUGH)]
    await asyncio.gather(*sends)
    await producer.stop()


async def test_every_codec_is_read_whoever_compressed_it(servers: RealServers) -> None:
    require("kcat")
    settings = KafkaSettings(bootstrap_servers=servers.kafka.bootstrap, fetch_max_wait_ms=10)
    topic = f"codecs.{uuid4().hex}"
    written = []
    for codec in CODECS:
        ours, theirs = f"aiokafka {codec} ".encode() * 20, f"librdkafka {codec} ".encode() * 200
        await produce(settings.bootstrap_servers, topic, codec, ours)
        await asyncio.to_thread(kcat.produce, settings.bootstrap_servers, topic, theirs, {}, codec=codec)
        written += [ours] * ENOUGH + [theirs]
    values = await Reader(settings, topic).read(len(written))
    assert sorted(value or b"" for value in values) == sorted(written)
