"""What auth takes and answers over HTTP."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from tidings.http.bodies import Body, Time
from tidings.principal import Role
from tidings_auth import usernames

Username = Annotated[
    str,
    AfterValidator(usernames.normalised),
    Field(description="3 to 64 letters of any script, digits, `.` `_` `-`; case does not count", examples=["mina"]),
]
Password = Annotated[
    SecretStr, Field(description="8 to 256 characters of any kind", examples=["correct horse battery"])
]


class NewAccount(Body):
    """An account to make."""

    username: Username
    password: Password


class Credentials(Body):
    """Who signs in."""

    username: str = Field(max_length=256, examples=["mina"])
    password: Annotated[SecretStr, Field(max_length=1024, examples=["correct horse battery"])]


class User(BaseModel):
    """An account."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    username: str = Field(examples=["mina"])
    role: Role
    created_at: Time


class AccessToken(BaseModel):
    """What a signed-in person gets."""

    access_token: str = Field(description="send it as `Authorization: Bearer <access_token>`", examples=["eyJhbGciOi…"])
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105  # a word of RFC 6750
    expires_in: int = Field(description="seconds", examples=[300])
    username: str = Field(examples=["mina"])
    status: Literal["success"] = "success"


class KeySet(BaseModel):
    """Public keys that verify access tokens (RFC 7517)."""

    keys: list[dict[str, str]]
