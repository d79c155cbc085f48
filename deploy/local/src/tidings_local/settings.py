"""Settings of the local runner: `PORT`, `DATA`, `REAL` and `HOST`."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict

from tidings import addresses
from tidings.settings import Port, load
from tidings.standard_variables import StandardVariables

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # looked up, not listened on
"""Where a server that listens everywhere is found on its own machine."""


class LocalSettings(StandardVariables):
    """How Tidings runs on this machine."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, extra="ignore")

    host: Annotated[str, AfterValidator(addresses.host)] = Field(default="127.0.0.1", validation_alias="TIDINGS_HOST")
    port: Port = Field(default=8080, validation_alias="PORT")
    data: Path = Field(default=Path("var"), validation_alias="DATA")
    real: bool = Field(default=False, validation_alias="REAL")

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        return f"http://{addresses.in_url(EVERYWHERE.get(self.host, self.host))}:{self.port}"


def read_settings() -> LocalSettings:
    """Read the environment; raises `SettingsError` naming every variable that is wrong."""
    return load(LocalSettings)
