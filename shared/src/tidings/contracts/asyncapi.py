"""The AsyncAPI 3.0 document of every topic and event, generated from the registry and the catalogue.

It names no servers: where the brokers are is a setting of each environment. Source: AsyncAPI 3.0.0 and its bindings of
Kafka 0.5.0.
"""

from typing import Any

from tidings.contracts.examples import example_of
from tidings.contracts.schemas import schema_of
from tidings.events import CATALOGUE, EventData
from tidings.events.envelope import SEQUENCE_DIGITS
from tidings.events.topics import READER, REGISTRY, Topic

BINDING = "0.5.0"
DAY_MS = 24 * 60 * 60 * 1000

REQUIRED_HEADERS = ("ce_specversion", "ce_type", "ce_id", "ce_source", "ce_time")
HEADERS = {
    "ce_id": {"type": "string", "format": "uuid", "description": "unique among the events of its source"},
    "ce_source": {"type": "string", "minLength": 1, "maxLength": 255, "description": "who made the event"},
    "ce_time": {
        "type": "string",
        "format": "date-time",
        "description": "when it happened, with its offset from UTC; in the years 1 to 9999",
    },
    "ce_subject": {"type": "string", "description": "what the event is about"},
    "ce_sequence": {
        "type": "string",
        "pattern": f"^[0-9]{{1,{SEQUENCE_DIGITS}}}$",
        "description": "its number within its key, from 1",
    },
    "ce_partitionkey": {"type": "string", "description": "the record's key again"},
    "traceparent": {"type": "string", "description": "W3C trace context of the span that published it"},
    "tracestate": {"type": "string", "description": "W3C trace context of the span that published it"},
}
"""The headers whose values differ from event to event."""


def asyncapi() -> dict[str, Any]:
    """Return the document."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tidings events",
            "version": "1.0.0",
            "description": "CloudEvents 1.0 over Kafka, in binary mode; structured mode is read too. Within a version "
            "an event gains optional fields only, so readers must ignore fields that they do not know.",
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in REGISTRY.values()},
        "operations": {
            name: operation for topic in REGISTRY.values() for name, operation in _operations(topic).items()
        },
        "components": {"messages": {name: _message(kind) for name, kind in CATALOGUE.items()}},
    }


def headers_of(kind: type[EventData]) -> dict[str, Any]:
    """Return the schema of the headers of an event of `kind`."""
    fixed = {
        "ce_specversion": {"const": "1.0", "description": "of CloudEvents"},
        "ce_type": {"const": kind.type(), "description": "what the event is, and its version"},
        "ce_dataschema": {"const": kind.dataschema(), "description": "the `$id` of the data's JSON Schema"},
        "content-type": {"const": "application/json", "description": "of the data"},
    }
    return {"type": "object", "required": [*REQUIRED_HEADERS], "properties": {**fixed, **HEADERS}}


def events_of(topic: Topic) -> dict[str, type[EventData]]:
    """Return the events that `topic` carries, by their `ce_type`."""
    return {name: kind for name, kind in CATALOGUE.items() if kind.topic == topic.name}


def _channel(topic: Topic) -> dict[str, Any]:
    return {
        "address": topic.name,
        "description": f"Keyed by {topic.key}; records of one key keep their order.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in events_of(topic)},
        "bindings": {
            "kafka": {
                "partitions": topic.partitions,
                "topicConfiguration": {"cleanup.policy": ["delete"], "retention.ms": topic.retention_days * DAY_MS},
                "bindingVersion": BINDING,
            }
        },
    }


def _operations(topic: Topic) -> dict[str, Any]:
    def operation(action: str, service: str) -> dict[str, Any]:
        return {
            "action": action,
            "channel": {"$ref": f"#/channels/{topic.name}"},
            "title": f"{service} {action}s",
            "tags": [{"name": service}],
        }

    sends = {f"{service}-sends-{topic.name}": operation("send", service) for service in topic.producers}
    return sends | {f"{READER}-receives-{topic.name}": operation("receive", READER)}


def _message(kind: type[EventData]) -> dict[str, Any]:
    schema, example = schema_of(kind), example_of(kind)
    # AsyncAPI's own schema dialect is draft 7 with additions; what is used here means the same in 2020-12.
    payload = {word: value for word, value in schema.items() if word != "$schema"}
    return {
        "name": kind.type(),
        "title": schema["title"],
        "summary": schema["description"],
        "contentType": "application/json",
        "headers": headers_of(kind),
        "payload": payload,
        "correlationId": {"location": "$message.header#/traceparent", "description": "one trace, one request"},
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": REGISTRY[kind.topic].key},
                "bindingVersion": BINDING,
            }
        },
        "examples": [{"name": "example-1", "headers": example["headers"], "payload": example["value"]}],
    }
