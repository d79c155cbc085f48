"""Routes for admins."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from tidings.http.bearer import CurrentUser
from tidings.http.ids import Id
from tidings.http.json_bodies import JsonRoute
from tidings.http.pages import NEXT_PAGE, BadCursor, CursorText, Limit, Page, id_after, page_of
from tidings.http.problems import raises
from tidings.http.state import from_state
from tidings.principal import Principal
from tidings_auth.accounts import Account, NoSuchAccount
from tidings_auth.administration import Administration, LastAdmin, NotAdmin
from tidings_auth.schemas import USER_ID, AccountChange, ManagedUser
from tidings_auth.usernames import MAX_GIVEN

router = APIRouter(tags=["admin"], route_class=JsonRoute)


@raises(NotAdmin)
async def admin(caller: CurrentUser) -> Principal:
    """Return the caller, who is an admin.

    Raises:
        NotAdmin: the caller is none.
    """
    if not caller.is_admin:
        raise NotAdmin("Only an admin may do this.")
    return caller


Admin = Annotated[Principal, Depends(admin)]
Username = Annotated[
    str | None,
    Query(
        max_length=MAX_GIVEN, description="only the account of this username; case does not count", examples=["mina"]
    ),
]
UserId = Annotated[Id, Path(description="one of `GET /api/users`", examples=[USER_ID])]
AdministrationPart = Annotated[Administration, from_state("administration")]


@router.get("/api/users", summary="List accounts", responses=NEXT_PAGE)
@raises(BadCursor)
async def list_users(
    request: Request,
    response: Response,
    _: Admin,
    administration: AdministrationPart,
    username: Username = None,
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
    response_model=ManagedUser,
)
@raises(NoSuchAccount, LastAdmin)
async def change_user(
    user_id: UserId, change: AccountChange, caller: Admin, administration: AdministrationPart
) -> Account:
    """Change an account; for admins. Its sessions end when it is disabled or its role changes."""
    return await administration.change(user_id, caller.user_id, disabled=change.disabled, role=change.role)
