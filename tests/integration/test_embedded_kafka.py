"""The embedded Kafka: it lives in this process, and no signal to the process may end it."""

import os
import signal
import sys
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tidings_local.backends import embedded_backends

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def unblocked(number: signal.Signals) -> list[str]:
    """Return the names of the threads of librdkafka that the kernel may interrupt with a signal."""
    names = []
    for thread in Path(f"/proc/{os.getpid()}/task").iterdir():
        try:
            lines = (thread / "status").read_text().splitlines()
        except FileNotFoundError:  # the thread has ended
            continue
        status = dict(line.split(":", 1) for line in lines)
        name = status["Name"].strip()
        if name.startswith("rdk:") and not int(status["SigBlk"], 16) >> (number - 1) & 1:
            names.append(name)
    return names


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGWINCH])
def test_no_signal_interrupts_a_thread_of_the_embedded_kafka(number: signal.Signals, tmp_path: Path) -> None:
    """Its cluster ends when a signal interrupts its poll, and all that is unread goes with it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with embedded_backends(tmp_path) as backends:
        assert unblocked(number) == []
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before  # this thread goes on to take signals
        assert Producer({"bootstrap.servers": backends.kafka}).list_topics(timeout=10).brokers
