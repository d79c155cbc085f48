"""A foreign producer: kcat, which knows only Kafka and the headers of the contract."""

import subprocess
from collections.abc import Mapping


def produce(
    bootstrap: str, topic: str, value: bytes, headers: Mapping[str, str], key: str = "k", tombstone: bool = False
) -> None:
    """Write one record and wait for its acknowledgement."""
    command = ["kcat", "-P", "-b", bootstrap, "-t", topic, "-k", key, "-X", "acks=all", "-q"]
    for name, text in headers.items():
        command += ["-H", f"{name}={text}"]
    if tombstone:
        command += ["-Z"]
    subprocess.run([*command, "-D", "\x1e"], input=value or b"\x1e", check=True, timeout=30)
