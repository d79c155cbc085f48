"""Settings of the local runner: `PORT`, `DATA`, `REAL` and `HOST`."""

from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from tidings.settings import SettingsError


class LocalSettings(BaseSettings):
    """How Tidings runs on this machine."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, extra="ignore")

    host: str = Field(default="127.0.0.1", validation_alias="TIDINGS_HOST")
    port: int = Field(default=8080, ge=1, le=65535, validation_alias="PORT")
    data: Path = Field(default=Path("var"), validation_alias="DATA")
    real: bool = Field(default=False, validation_alias="REAL")

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        return f"http://{'127.0.0.1' if self.host == '0.0.0.0' else self.host}:{self.port}"  # noqa: S104  # a comparison


def read_settings() -> LocalSettings:
    """Read the environment; raises `SettingsError` naming every variable that is wrong."""
    try:
        return LocalSettings()
    except ValidationError as error:
        problems = [f"  {problem['loc'][0]}: {problem['msg']}" for problem in error.errors()]
        raise SettingsError("wrong settings:\n" + "\n".join(problems)) from None
