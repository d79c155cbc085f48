"""Settings: read once from the environment, every problem in one message, each with its variable's name.

A service declares one `Settings` class made of groups. The variable of a field is its path in
capitals: `database.url` is read from `TIDINGS_DATABASE_URL`.
"""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError
from pydantic_settings import SettingsConfigDict

from tidings import known_secrets
from tidings.standard_variables import StandardVariables

PREFIX = "TIDINGS_"
DEVELOPMENT_ONLY = "is for TIDINGS_ENVIRONMENT=development only"


class SettingsError(Exception):
    """One or more settings are missing or wrong; the message has one line for each variable."""


class Group(BaseModel):
    """A named part of a service's settings, such as `database`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def model_post_init(self, context: Any) -> None:
        """Remember the secrets among these settings."""
        known_secrets.remember(self)

    def development_only(self) -> Mapping[str, str]:
        """Return the names of the fields whose values production must not have, each with the reason."""
        return {}


def _plain(value: str) -> str:
    """Refuse what nobody means to write: white space round a text, or control characters in it."""
    if value != value.strip() or not value.isprintable():
        raise ValueError("begins or ends with white space, or has a control character in it")
    return value


def _secretly_plain(value: SecretStr) -> SecretStr:
    _plain(value.get_secret_value())
    return value


def _not_empty(value: Any) -> Any:
    if value == "":
        raise ValueError("is empty")
    return value


Line = Annotated[str, AfterValidator(_plain), Field(max_length=255)]
"""A text of one line, or none."""
Text = Annotated[Line, BeforeValidator(_not_empty)]
"""A text of one line, e.g. a name."""
Secret = Annotated[SecretStr, AfterValidator(_secretly_plain)]
"""A text that is shown to nobody."""
File = Annotated[Path, BeforeValidator(_not_empty)]
"""The path of a file."""
Port = Annotated[int, Field(ge=1, le=65535)]


def group() -> Any:
    """Return a field whose group is validated also when none of its variables is set."""
    return Field(default_factory=dict, validate_default=True)


class Settings(StandardVariables):
    """What every service is told: where it runs, and where its telemetry goes."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="_",
        env_nested_max_split=1,
        enable_decoding=False,  # one variable for a whole group, in JSON, is refused like any other text
        extra="ignore",
        frozen=True,
        populate_by_name=True,
    )

    environment: Literal["production", "development"] = Field(
        default="production",
        description="`development` allows defaults for secrets; anything else must be given them",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="the least severe log lines that are written"
    )

    @field_validator("*")
    @classmethod
    def _fits_the_environment(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse each setting of a group that is for development only, by its own name."""
        if not isinstance(value, Group) or info.data.get("environment") != "production":
            return value
        problems = [
            InitErrorDetails(type=PydanticCustomError("development_only", reason), loc=(name,), input=None)
            for name, reason in value.development_only().items()
        ]
        if problems:
            raise ValidationError.from_exception_data(type(value).__name__, problems)
        return value


S = TypeVar("S", bound=StandardVariables)


def load(kind: type[S], **given: Any) -> S:
    """Read settings of `kind` from the environment.

    Args:
        kind: the service's settings class.
        given: values that the caller decides, by group, e.g. `database={"url": ...}`.

    Raises:
        SettingsError: naming every variable that is missing or wrong, in one message.
    """
    try:
        return kind(**given)
    except ValidationError as error:
        problems = [_describe(kind, problem) for problem in error.errors(include_url=False)]
        raise SettingsError("wrong settings:\n" + "\n".join(problems)) from None


def variable(path: tuple[str | int, ...]) -> str:
    """Return the environment variable of the setting at `path`, e.g. `("database", "url")`."""
    return PREFIX + "_".join(str(part) for part in path).upper()


def _describe(kind: type[BaseModel], problem: ErrorDetails) -> str:
    message = "is not set" if problem["type"] == "missing" else problem["msg"].removeprefix("Value error, ")
    path = problem["loc"] if problem["type"] == "extra_forbidden" else _field_path(kind, problem["loc"])
    name = _name(kind, path)
    if problem["type"] == "model_type":
        message = f"is the name of a group of settings; set the variables of the group, {name}_…"
    return f"  {name}: {message}{_purpose(kind, path)}{_near_miss(name)}"


def _name(kind: type[BaseModel], path: tuple[str | int, ...]) -> str:
    """Return the environment variable of an error's place, where fields with a variable of their own are in both forms.

    Pydantic names such a field by the variable when it was set, and by the field when its default is wrong.
    """
    field = kind.model_fields.get(str(path[0]))
    alias = field.validation_alias if field else path[0]
    is_own = any(info.validation_alias == alias for info in kind.model_fields.values())
    return alias if isinstance(alias, str) and is_own else variable(path)


def _field_path(kind: type[BaseModel], loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Cut from an error's location what is no field of ours, such as a union's branch."""
    path: list[str | int] = []
    current: Any = kind
    for part in loc:
        fields = getattr(current, "model_fields", {})
        if part not in fields:
            return tuple(path) or loc
        path.append(part)
        current = fields[part].annotation
    return tuple(path)


def _purpose(kind: type[BaseModel], path: tuple[str | int, ...]) -> str:
    current: Any = kind
    description = None
    for part in path:
        field = getattr(current, "model_fields", {}).get(part)
        if field is None:
            return ""
        description, current = field.description, field.annotation
    return f" ({description})" if description else ""


def _near_miss(name: str) -> str:
    """Name a variable that is set and looks like a misspelt `name`."""
    others = [other for other in os.environ if other.startswith(PREFIX) and other != name]
    near = difflib.get_close_matches(name, others, n=1, cutoff=0.9)
    return f"; {near[0]} is set: is it a misspelling?" if near else ""
