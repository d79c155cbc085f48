"""Routes for admins."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from tidings.http.bearer import CurrentUser
from tidings.http.pages import CursorText, Limit, Page, id_after, page_of
from tidings.http.problems import documented
from tidings.http.state import from_state
from tidings.principal import Principal
from tidings_auth.accounts import Account
from tidings_auth.administration import Administration, NotAdmin
from tidings_auth.schemas import AccountChange, ManagedUser

router = APIRouter(tags=["admin"])


async def admin(caller: CurrentUser) -> Principal:
    """Return the caller, who is an admin.

    Raises:
        NotAdmin: the caller is none.
    """
    if not caller.is_admin:
        raise NotAdmin("Only an admin may do this.")
    return caller


Admin = Annotated[Principal, Depends(admin)]
AdministrationPart = Annotated[Administration, from_state("administration")]


@router.get("/api/users", summary="List accounts", responses=documented(400, 403))
async def list_users(
    request: Request,
    response: Response,
    _: Admin,
    administration: AdministrationPart,
    username: str | None = None,
    limit: Limit = 20,
    cursor: CursorText = None,
) -> Page[ManagedUser]:
    """Return all accounts, newest first, or the one of a username; for admins."""
    accounts, next_id = await administration.accounts(limit, id_after(cursor), username)
    items = [ManagedUser.model_validate(account) for account in accounts]
    return page_of(items, next_id, request, response)


@router.patch(
    "/api/users/{user_id}",
    summary="Disable or enable an account, or change its role",
    responses=documented(400, 403, 404, 409, 413, 415),
    response_model=ManagedUser,
)
async def change_user(
    user_id: UUID, change: AccountChange, caller: Admin, administration: AdministrationPart
) -> Account:
    """Change an account; for admins. Its sessions end when it is disabled or its role changes."""
    return await administration.change(user_id, caller.user_id, disabled=change.disabled, role=change.role)
