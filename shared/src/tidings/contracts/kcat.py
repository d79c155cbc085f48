"""A command line by which anybody can write an event: kcat, which knows only Kafka and the headers of the envelope."""

import json
import shlex

from tidings.contracts.examples import example_of
from tidings.events import EventData

OWN = {
    "ce_id": "$(cat /proc/sys/kernel/random/uuid)",
    "ce_time": "$(date -u +%FT%TZ)",
    "ce_source": "/your/service",
}
"""What each event of a producer has for itself, as the shell makes it."""
LEFT_OUT = {"ce_partitionkey", "ce_sequence", "ce_subject", "traceparent"}


def command_of(kind: type[EventData]) -> str:
    """Return the shell command that writes an example of `kind` to the brokers in `$BROKERS`."""
    example = example_of(kind)
    value = shlex.quote(json.dumps(example["value"], ensure_ascii=False))
    headers = [
        f"-H {name}={OWN.get(name) or shlex.quote(text)}"
        for name, text in example["headers"].items()
        if name not in LEFT_OUT
    ]
    kcat = f"kcat -P -b $BROKERS -t {example['topic']} -k {shlex.quote(example['key'])}"
    options = " \\\n    ".join([kcat, "-X acks=all -X partitioner=murmur2_random", *headers])
    return f"printf '%s' {value} |\n  {options}"
