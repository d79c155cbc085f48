"""Alembic's environment of the auth service."""

from tidings.database.migrations import run_environment
from tidings_auth.tables import metadata

run_environment(metadata)
