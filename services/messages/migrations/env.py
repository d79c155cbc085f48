"""Alembic's environment of the messages service."""

from tidings.database.migrations import run_environment
from tidings_messages.tables import metadata

run_environment(metadata)
