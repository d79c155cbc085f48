"""Errors: what the services know of a Redis that fails."""


class RedisUnavailable(Exception):
    """Redis did not answer, or not in time. Whether a write took effect is not known."""
