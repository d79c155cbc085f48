"""Database: engine, transactions with retry and deadline, column types, migrations; for MariaDB and SQLite alike."""
