"""Settings of the connection to Redis."""

import re
from urllib.parse import parse_qsl

from pydantic import Field, SecretStr, field_validator

from tidings import addresses
from tidings.settings import Group

SCHEMES = ("redis", "rediss", "memory")
IN_MEMORY = "memory://"
TLS_FILES = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}
"""The parameters that `rediss://` takes."""


class RedisSettings(Group):
    """Where Redis is."""

    url: SecretStr = Field(description="redis://[user:password@]host:6379/0, or memory://name within one process")

    @field_validator("url")
    @classmethod
    def _parses_as_it_is_meant(cls, url: SecretStr) -> SecretStr:
        text = url.get_secret_value()
        if text.startswith(IN_MEMORY):
            _require_name(text.removeprefix(IN_MEMORY))
            return url
        address = addresses.parse(text, SCHEMES)
        if address.username is not None and not address.password:
            raise ValueError("has a user name without a password; write redis://:password@host when there is no user")
        if not re.fullmatch(r"(/[0-9]{0,5})?", address.path):
            raise ValueError("must end with the number of a database, e.g. /0")
        if address.query is not None and not _names_tls_files(address):
            raise ValueError(f"takes no parameters; rediss:// takes {', '.join(sorted(TLS_FILES))}")
        return url


def _require_name(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name):
        raise ValueError("must name the store, e.g. memory://redis, in letters, digits, dots, dashes or underscores")


def _names_tls_files(address: addresses.Address) -> bool:
    names = [name for name, _ in parse_qsl(address.query, keep_blank_values=True)]
    return address.scheme == "rediss" and set(names) <= TLS_FILES and len(set(names)) == len(names) > 0
