"""The names of spans, attributes, metrics and log fields, each once.

Names with a dot and no `tidings.` prefix are those of the OpenTelemetry semantic conventions 1.4x.
"""

SERVICE_NAME = "service.name"
USER_ID = "user.id"

MESSAGING_SYSTEM = "messaging.system"
MESSAGING_OPERATION_TYPE = "messaging.operation.type"
MESSAGING_OPERATION_NAME = "messaging.operation.name"
MESSAGING_DESTINATION = "messaging.destination.name"
MESSAGING_PARTITION = "messaging.destination.partition.id"
MESSAGING_MESSAGE_ID = "messaging.message.id"
MESSAGING_KEY = "messaging.kafka.message.key"
MESSAGING_OFFSET = "messaging.kafka.offset"
MESSAGING_GROUP = "messaging.consumer.group.name"
MESSAGING_BATCH_COUNT = "messaging.batch.message_count"

EVENT_TYPE = "cloudevents.event_type"
OUTBOX_WAIT = "tidings.outbox.wait_ms"
MESSAGE_LENGTH = "tidings.message.length"

SPAN_REGISTER = "register account"
SPAN_LOGIN = "log in"
SPAN_REFRESH = "refresh session"
SPAN_LOGOUT = "log out"
SPAN_CHANGE_PASSWORD = "change password"  # noqa: S105  # the name of a span
SPAN_DELETE_ACCOUNT = "delete account"
SPAN_CHANGE_ACCOUNT = "change account"
SPAN_POST_MESSAGE = "post message"
SPAN_LIST_MESSAGES = "list messages"
SPAN_LIST_LOG = "list log"
SPAN_INGEST = "ingest batch"
SPAN_STORE = "store entry"

METRIC_EVENTS_DROPPED = "tidings.events.dropped"
METRIC_EVENTS_REDACTED = "tidings.events.redacted"
"""Secrets that were in events, by their source, when they were to be stored."""
METRIC_EVENTS_REJECTED = "tidings.events.rejected"
"""Records that are no event Tidings knows."""
METRIC_OUTBOX_OLDEST_AGE = "tidings.outbox.oldest_age"
METRIC_OUTBOX_PARKED = "tidings.outbox.parked"
METRIC_OUTBOX_PUBLISHED = "tidings.outbox.published"
METRIC_OUTBOX_UNSENT = "tidings.outbox.unsent"
