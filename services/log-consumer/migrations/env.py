"""Alembic's environment of the log consumer."""

from tidings.database.migrations import run_environment
from tidings_log_consumer.tables import metadata

run_environment(metadata)
