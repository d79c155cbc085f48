"""A foreign producer: kcat, which knows only Kafka and the headers of the contract."""

import subprocess
from collections.abc import Mapping


def produce(
    bootstrap: str,
    topic: str,
    value: bytes,
    headers: Mapping[str, str],
    key: str = "k",
    tombstone: bool = False,
    header_key: bytes | None = None,
    partition: int | None = None,
    codec: str | None = None,
) -> None:
    """Write one record and wait for its acknowledgement."""
    command: list[str | bytes] = ["kcat", "-P", "-b", bootstrap, "-t", topic, "-X", "acks=all", "-q"]
    for name, text in headers.items():
        command += ["-H", f"{name}={text}"]
    if partition is not None:
        command += ["-p", str(partition)]
    if codec:
        command += ["-z", codec]
    if header_key:
        command += ["-H", header_key + b"=x"]
    if tombstone:  # kcat makes a null value only of a line that has a key of its own
        command, value = [*command, "-Z", "-K", "\x1f"], f"{key}\x1f\n".encode()
    else:
        command += ["-k", key, "-D", "\x1e"]
    subprocess.run(command, input=value, check=True, timeout=30)
