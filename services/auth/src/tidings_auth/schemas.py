"""What auth takes and answers over HTTP."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator
from typing_extensions import TypeAliasType

from tidings.http.bodies import Body, Time
from tidings.principal import Role
from tidings_auth import passwords, usernames

USER_ID = "01980d2a-7c3e-7b1d-9a51-6f0c8e2d4b17"
SESSION_ID = "01980d2b-1f6a-7c44-8e02-b3a9d5c7e610"

ALL_THERE = ConfigDict(json_schema_serialization_defaults_required=True)
"""Of an answer that has all its members, also those that are always the same."""

Username = Annotated[
    str,
    AfterValidator(usernames.normalised),
    Field(
        description=f"{usernames.MIN_LENGTH} to {usernames.MAX_LENGTH} letters of any script, digits, `.` `_` `-`, at "
        "least one of them a letter or digit. It is shown as typed, in NFC, which is what is counted. Names that "
        "differ only in case or in compatible letters, such as those of full width, are the same (NFKC).",
        examples=["mina"],
        json_schema_extra={"minLength": 1, "maxLength": usernames.MAX_GIVEN, "pattern": usernames.PATTERN},
    ),
]
GivenUsername = Annotated[str, Field(max_length=usernames.MAX_GIVEN, examples=["mina"])]
NewPassword = TypeAliasType(
    "NewPassword",
    Annotated[
        SecretStr,
        Field(
            description="characters of any kind; not one of the most common passwords, and without the username in it",
            examples=["a new staple for the horse"],
        ),
    ],
)
"""A password to set. The policy enforces its lengths, which are settings; `policy.length_limits` documents them."""
GivenPassword = Annotated[SecretStr, Field(max_length=passwords.MAX_GIVEN, examples=["correct horse battery"])]


class NewAccount(Body):
    """An account to make."""

    username: Username
    password: NewPassword


class Credentials(Body):
    """Who signs in."""

    username: GivenUsername
    password: GivenPassword


class PasswordChange(Body):
    """Another password."""

    current_password: GivenPassword
    new_password: NewPassword


class Confirmation(Body):
    """The password again, for what cannot be undone."""

    password: GivenPassword


class AccountChange(Body):
    """What an admin changes; what is not given stays."""

    disabled: bool | None = Field(default=None, description="whether it may not sign in", examples=[True])
    role: Role | None = Field(default=None, description="what it may do", examples=["admin"])

    # "Not both absent or null", in words that generators of clients need not understand.
    model_config = ConfigDict(
        json_schema_extra={"not": {"properties": {"disabled": {"type": "null"}, "role": {"type": "null"}}}}
    )

    @model_validator(mode="before")
    @classmethod
    def _something(cls, given: Any) -> Any:
        if isinstance(given, dict) and not {"disabled", "role"} & {name for name in given if given[name] is not None}:
            raise ValueError("give disabled, role, or both")
        return given


class User(BaseModel):
    """An account."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID = Field(examples=[USER_ID])
    username: str = Field(examples=["mina"])
    role: Role
    created_at: Time


class ManagedUser(User):
    """An account, as an admin sees it."""

    disabled: bool = Field(description="whether it may not sign in", examples=[False])


class Session(BaseModel):
    """A place where the caller is signed in."""

    id: UUID = Field(examples=[SESSION_ID])
    device: str | None = Field(
        description="the User-Agent that used it last", examples=["Mozilla/5.0 (X11; Linux x86_64) Firefox/152.0"]
    )
    address: str | None = Field(description="the address that used it last", examples=["192.0.2.7"])
    created_at: Time
    last_seen_at: Time = Field(description="when it was last refreshed")
    expires_at: Time = Field(description="when it ends, however much it is used")
    current: bool = Field(description="whether it is the one that asks", examples=[True])
    refreshable: bool | None = Field(
        description="whether it can be refreshed. False: its refresh token was lost, so it is over when its last "
        "access token expires. Null: this is not known at the moment",
        examples=[True],
    )


class AccessToken(BaseModel):
    """What a signed-in person gets."""

    model_config = ALL_THERE

    access_token: str = Field(description="send it as `Authorization: Bearer <access_token>`", examples=["eyJhbGciOi…"])
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105  # a word of RFC 6750
    expires_in: int = Field(description="seconds", examples=[300])
    username: str = Field(examples=["mina"])
    status: Literal["success"] = "success"


class SignedOut(BaseModel):
    """The answer to a logout that asks for JSON."""

    model_config = ALL_THERE

    status: Literal["success"] = "success"


class KeySet(BaseModel):
    """Public keys that verify access tokens (RFC 7517)."""

    keys: list[dict[str, str]] = Field(
        examples=[
            [
                {
                    "kty": "OKP",
                    "crv": "Ed25519",
                    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
                    "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
                    "use": "sig",
                    "alg": "EdDSA",
                }
            ]
        ]
    )
