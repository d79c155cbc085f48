"""Contracts: what other teams may rely on, generated from the catalogue of events and kept as files."""


class ContractError(Exception):
    """A contract cannot be read or made; the message says which and why."""
