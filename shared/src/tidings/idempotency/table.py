"""The table of idempotency keys: each service that writes has one beside its own rows, and its own migration for it."""

from sqlalchemy import Column, MetaData, Table, Text
from sqlalchemy.dialects import mysql

from tidings.database.columns import MARIADB, Digest, Moment


def idempotency_table(metadata: MetaData) -> Table:
    """Return the table `idempotency_keys` in `metadata`.

    A row is committed together with the effect that it remembers, so whoever sees one of another transaction sees its
    answer, too.
    """
    return Table(
        "idempotency_keys",
        metadata,
        Column("id", Digest, primary_key=True, comment="SHA-256 of caller, key and operation"),
        Column("fingerprint", Digest, nullable=False, comment="HMAC-SHA-256 of the request"),
        Column("answer", Text().with_variant(mysql.MEDIUMTEXT, "mysql", "mariadb"), comment="JSON: the first result"),
        Column("created_at", Moment, nullable=False, index=True),
        **MARIADB,
    )
