"""The log consumer: stores every event once and serves them as a log."""
