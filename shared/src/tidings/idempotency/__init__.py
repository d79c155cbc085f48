"""Idempotency: a request that is sent again with its `Idempotency-Key` has one effect, and one answer."""
