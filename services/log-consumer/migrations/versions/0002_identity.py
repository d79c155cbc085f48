"""Identity: an event is known by its topic, source and id; entries are numbered in the order of storing.

Going back keeps one entry of each event id, the one that was stored first.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager

import sqlalchemy as sa
from alembic import op
from alembic.operations import BatchOperations

from tidings.database.columns import NAMING

revision = "0002"
down_revision = "0001"

IDENTITY = "uq_entries_event_id_service_topic"
BY_NUMBER = {
    "ix_entries_occurred_at_number": ["occurred_at", "number"],
    "ix_entries_trace_id_occurred_at_number": ["trace_id", "occurred_at", "number"],
    "ix_entries_type_occurred_at_number": ["type", "occurred_at", "number"],
    "ix_entries_user_id_occurred_at_number": ["user_id", "occurred_at", "number"],
}
BY_ID = {
    "ix_entries_occurred_at_event_id": ["occurred_at", "event_id"],
    "ix_entries_trace_id_occurred_at_event_id": ["trace_id", "occurred_at", "event_id"],
    "ix_entries_type_occurred_at_event_id": ["type", "occurred_at", "event_id"],
    "ix_entries_user_id_occurred_at_event_id": ["user_id", "occurred_at", "event_id"],
}
OLD_COMMENT = "the event''s own id: each event is stored once"
NUMBER_COMMENT = "in the order of storing; tells entries of one moment apart"


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        number = sa.Column("number", sa.Integer, nullable=False, autoincrement=True)
        with _rebuilt(sqlite_autoincrement=True) as batch:
            batch.drop_constraint("pk_entries", type_="primary")
            batch.add_column(number, insert_before="event_id")
            batch.create_primary_key("pk_entries", ["number"])
            batch.create_unique_constraint(IDENTITY, ["event_id", "service", "topic"])
            _replace_indexes(batch, BY_ID, BY_NUMBER)
    else:
        # One statement: an AUTO_INCREMENT column must be a key at once, and a large table is rebuilt once.
        op.execute(
            "ALTER TABLE entries DROP PRIMARY KEY, "
            f"ADD COLUMN number BIGINT NOT NULL AUTO_INCREMENT COMMENT '{NUMBER_COMMENT}' FIRST, "
            "ADD PRIMARY KEY (number), "
            "MODIFY event_id BINARY(16) NOT NULL COMMENT 'ce_id', "
            f"ADD CONSTRAINT {IDENTITY} UNIQUE (event_id, service, topic), {_changed_indexes(BY_ID, BY_NUMBER)}"
        )


def downgrade() -> None:
    op.execute(
        "DELETE FROM entries WHERE number NOT IN (SELECT first FROM "
        "(SELECT MIN(number) AS first FROM entries GROUP BY event_id) AS kept)"
    )
    if op.get_bind().dialect.name == "sqlite":
        with _rebuilt() as batch:
            _replace_indexes(batch, BY_NUMBER, BY_ID)
            batch.drop_constraint(IDENTITY, type_="unique")
            batch.drop_column("number")
            batch.create_primary_key("pk_entries", ["event_id"])
    else:
        op.execute(
            f"ALTER TABLE entries DROP PRIMARY KEY, DROP COLUMN number, DROP INDEX {IDENTITY}, "
            f"MODIFY event_id BINARY(16) NOT NULL COMMENT '{OLD_COMMENT}', "
            f"ADD PRIMARY KEY (event_id), {_changed_indexes(BY_NUMBER, BY_ID)}"
        )


def _rebuilt(**options: bool) -> AbstractContextManager[BatchOperations]:
    """Return operations on SQLite's table, which is built anew; reflection needs NAMING to know its primary key."""
    return op.batch_alter_table("entries", recreate="always", table_kwargs=options, naming_convention=NAMING)


def _replace_indexes(batch: BatchOperations, old: Mapping[str, list[str]], new: Mapping[str, list[str]]) -> None:
    for name in old:
        batch.drop_index(name)
    for name, columns in new.items():
        batch.create_index(name, columns)


def _changed_indexes(old: Mapping[str, list[str]], new: Mapping[str, list[str]]) -> str:
    """Return the part of MariaDB's ALTER TABLE that replaces indexes."""
    dropped = [f"DROP INDEX {name}" for name in old]
    return ", ".join([*dropped, *(f"ADD INDEX {name} ({', '.join(columns)})" for name, columns in new.items())])
