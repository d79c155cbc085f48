"""Events about accounts, made by auth."""

from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import ConfigDict, Field

from tidings.events.envelope import EventData
from tidings.events.fields import Id
from tidings.events.topics import AUTH


class AccountEvent(EventData):
    """What every event about an account carries; ordered per account."""

    topic: ClassVar[str] = AUTH

    user_id: Annotated[Id, Field(description="of the account")]
    username: Annotated[str, Field(max_length=64, description="as the person wrote it")]

    def key(self) -> str:
        return str(self.user_id)

    def user(self) -> UUID | None:
        return self.user_id


def example(**data: str) -> ConfigDict:
    """Return the configuration of an account's event whose example has `data` beside what every such event carries."""
    account = {"user_id": "01980d2a-7c3e-7b1d-9a51-6f0c8e2d4b17", "username": "mina"}
    return ConfigDict(json_schema_extra={"examples": [{**account, **data}]})


ADMIN = "01980d20-93b5-7e0a-8c77-0d4f1b6a52ce"
By = Annotated[Id | None, Field(description="the admin who did it; null when it was done at the command line")]


class UserRegistered(AccountEvent):
    """A person made an account."""

    model_config = example()
    name: ClassVar[str] = "user.registered"


class UserRenamed(AccountEvent):
    """An account's name is shown in another spelling that counts as the same name."""

    model_config = example()
    name: ClassVar[str] = "user.renamed"


class UserPasswordChanged(AccountEvent):
    """A person chose another password; the person's other sessions end with it."""

    model_config = example()
    name: ClassVar[str] = "user.password_changed"


class UserDisabled(AccountEvent):
    """An account may no longer sign in; its sessions end with it."""

    model_config = example(by=ADMIN)
    name: ClassVar[str] = "user.disabled"

    by: By = None


class UserEnabled(AccountEvent):
    """A disabled account may sign in again."""

    model_config = example(by=ADMIN)
    name: ClassVar[str] = "user.enabled"

    by: By = None


class UserRoleChanged(AccountEvent):
    """An account may do more or less than before; its sessions end with it, for their tokens name the old role."""

    model_config = example(role="admin", by=ADMIN)
    name: ClassVar[str] = "user.role_changed"

    role: Annotated[str, Field(max_length=32, description="the new role: `user` or `admin`")]
    by: By = None


class UserDeleted(AccountEvent):
    """An account is gone, and every session of it; what it wrote elsewhere is to be shown as by nobody."""

    model_config = example()
    name: ClassVar[str] = "user.deleted"
