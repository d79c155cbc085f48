"""Settings of the connection to Redis."""

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl

from pydantic import Field, SecretStr, field_validator

from tidings import addresses
from tidings.settings import DEVELOPMENT_ONLY, Group
from tidings.tls import require_certificates, require_key

SCHEMES = ("redis", "rediss", "memory")
IN_MEMORY = "memory://"
TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
"""The parameters that `rediss://` takes."""


class RedisSettings(Group):
    """Where Redis is."""

    url: SecretStr = Field(description="redis://[user:password@]host:6379/0, or rediss://… with TLS")

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
        if address.query is not None:
            _require_tls_files(_tls_files(address))
        return url

    def development_only(self) -> Mapping[str, str]:
        """Refuse the stand-in within one process: it never learns which sessions other processes end."""
        if self.url.get_secret_value().startswith(IN_MEMORY):
            return {"url": f"{IN_MEMORY} {DEVELOPMENT_ONLY}; give the address of a Redis server"}
        return {}


def _require_name(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name):
        raise ValueError("must name the store, e.g. memory://redis, in letters, digits, dots, dashes or underscores")


def _tls_files(address: addresses.Address) -> dict[str, Path]:
    """Return the TLS files that an address names, each once."""
    pairs = parse_qsl(address.query, keep_blank_values=True)
    files = {name: Path(file) for name, file in pairs}
    if address.scheme != "rediss" or not files.keys() <= set(TLS_FILES) or not len(files) == len(pairs) > 0:
        raise ValueError(f"takes no parameters; rediss:// takes {', '.join(TLS_FILES)}")
    return files


def _require_tls_files(files: Mapping[str, Path]) -> None:
    """Raise `ValueError`, naming the parameter, unless the client can use all these files."""
    for name in TLS_FILES:
        try:
            if name == "ssl_keyfile":
                require_key(files.get("ssl_certfile"), files.get(name))
            elif name in files:
                require_certificates(files[name])
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
