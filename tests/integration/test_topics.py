"""Topics: made as the registry says, grown but never shrunk, differences named. Embedded Kafka has no admin API."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from support.servers import require
from tidings_local.servers import Kafka

pytestmark = pytest.mark.real


@pytest.fixture
def kafka(tmp_path: Path) -> Kafka:
    """A cluster of its own: three brokers, no topics."""
    require("Kafka")
    return Kafka(tmp_path / "kafka", brokers=3)


def topics(kafka: Kafka, command: str) -> tuple[int, str]:
    ended = subprocess.run(
        [sys.executable, "-m", "tidings", "topics", command],
        env=os.environ | {"TIDINGS_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in ended.stderr
    return ended.returncode, ended.stdout + ended.stderr


async def test_check_names_what_differs_and_apply_mends_it_without_shrinking(kafka: Kafka) -> None:
    with kafka:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        await admin.create_topics(
            [
                NewTopic("tidings.auth.v1", 2, 3, topic_configs={"retention.ms": "1000", "segment.bytes": "1048576"}),
                NewTopic("tidings.messages.v1", 9, 3),
            ]
        )
        await admin.close()
        code, said = topics(kafka, "check")
        assert code == 1
        assert "tidings.activity.v1: is missing" in said
        assert "tidings.auth.v1: has 2 partitions, the registry says 4" in said
        assert "tidings.auth.v1: retention.ms is 1000, should be 2592000000" in said
        assert "tidings.messages.v1: has 9 partitions, the registry says 4" in said

        code, said = topics(kafka, "apply")
        assert code == 0
        assert "tidings.activity.v1.dlq: made with 4 partitions" in said
        assert "tidings.auth.v1: 2 partitions grew to 4" in said

        code, said = topics(kafka, "check")
        assert (code, said) == (1, "tidings.messages.v1: has 9 partitions, the registry says 4\n")
        assert topics(kafka, "apply") == (0, "nothing to do\n")
        code, said = topics(kafka, "list")
        assert "segment.bytes=1048576" in said  # what somebody else set is still there
        assert said.count("partitions=4 replicas=3 min.insync.replicas=2") == 5


def test_a_cluster_that_does_not_answer_is_one_clear_line() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tidings", "topics", "check"],
        env=os.environ | {"TIDINGS_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert "Kafka at 127.0.0.1:9: does not answer (TIDINGS_KAFKA_BOOTSTRAP_SERVERS)" in ended.stderr
    assert "Traceback" not in ended.stderr
