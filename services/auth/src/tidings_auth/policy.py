"""The policy of passwords, at the edge: what it refuses is a field of the body that is refused."""

from fastapi.exceptions import RequestValidationError
from pydantic import SecretStr

from tidings_auth.passwords import MAX_LENGTH, check_policy
from tidings_auth.settings import PasswordSettings


def length_limits(policy: PasswordSettings) -> dict[str, int]:
    """Return the lengths that `policy` allows, as JSON Schema says it."""
    return {"minLength": policy.min_length, "maxLength": MAX_LENGTH}


def allowed(password: SecretStr, username: str, policy: PasswordSettings, field: str) -> str:
    """Return a password that the policy allows; otherwise its field is refused."""
    text = password.get_secret_value()
    try:
        check_policy(text, username, policy.min_length)
    except ValueError as error:
        problem = {"type": "value_error", "loc": ("body", field), "msg": str(error)}
        raise RequestValidationError([problem]) from None
    return text
