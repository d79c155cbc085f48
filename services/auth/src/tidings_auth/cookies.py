"""The refresh cookie: where a browser keeps its refresh token, out of reach of scripts and of other sites.

A cookie is sent by the browser whoever made it call. So what is done by cookie alone must be asked for by a page of our
own origin, or by a client that is no browser (OWASP, Cross-Site Request Forgery Prevention).
"""

import logging
from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import urlsplit

from fastapi import Request, Response
from starlette.requests import cookie_parser

from tidings.http.bearer import AmbiguousCredentials
from tidings_auth.rotation import RefreshToken

logger = logging.getLogger(__name__)

NAME = "tidings_refresh"
PATHS = ("/api/refresh", "/api/logout")
"""The calls that need it; no other is sent it."""
CLIENT_HEADER = "X-Tidings-Client"


class CrossSite(Exception):
    """The call may come from a page of another site; the message says what is missing."""


class RefreshCookie:
    """Sets, reads and clears the cookie.

    Args:
        secure: whether it travels by HTTPS only; its name then says so (RFC 6265bis, section 4.1.3.1).
        public_url: the public origin, when it is known; otherwise it is what the call says it called.
    """

    def __init__(self, secure: bool, public_url: str | None) -> None:
        self._secure = secure
        self._warned = False
        self.name = f"__Secure-{NAME}" if secure else NAME
        self._origin = _origin(public_url) if public_url else None

    def set(self, response: Response, token: RefreshToken, lifetime: timedelta) -> None:
        """Have the client keep `token` for `lifetime`."""
        self._write(response, str(token), max(0, int(lifetime.total_seconds())))

    def clear(self, response: Response) -> None:
        """Have the client forget its token."""
        self._write(response, "", 0)

    def cleared(self) -> Sequence[str]:
        """Return the values of `Set-Cookie` that have the client forget its token."""
        response = Response()
        self.clear(response)
        return response.headers.getlist("set-cookie")

    def read(self, request: Request) -> RefreshToken | None:
        """Return the token that the call carries, if it carries one.

        Raises:
            CrossSite: a page of another site may have sent it.
            AmbiguousCredentials: it carries two that differ.
            UnknownToken: what it carries is none.
        """
        texts = self._values(request)
        if not texts:
            return None
        self._check_sender(request)
        if len(texts) > 1:
            # A page at a sibling domain can plant one, and no order tells which is ours (RFC 6265 section 4.2.2).
            raise AmbiguousCredentials("The call has two different refresh cookies; remove the cookies of this site.")
        return RefreshToken.parse(texts[0])

    def _values(self, request: Request) -> Sequence[str]:
        """Return the different values of our cookies; `Request.cookies` keeps only one."""
        headers = request.headers.getlist("cookie")
        cookies = [cookie_parser(pair) for header in headers for pair in header.split(";")]
        return list({cookie[self.name] for cookie in cookies if self.name in cookie})

    def _write(self, response: Response, value: str, max_age: int) -> None:
        for path in PATHS:
            response.set_cookie(
                self.name,
                value,
                max_age=max_age,
                path=path,
                secure=self._secure,
                httponly=True,
                samesite="strict",
            )

    def _check_sender(self, request: Request) -> None:
        site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
        if site not in (None, "same-origin"):
            raise CrossSite("This call is for pages of the same origin only (Sec-Fetch-Site).")
        if origin is not None and not self._is_ours(origin, request):
            self._warn_once()
            raise CrossSite("This call is for pages of the same origin only (Origin).")
        if CLIENT_HEADER not in request.headers:
            raise CrossSite(f"Send the header {CLIENT_HEADER}, with any value: no other site's page can.")

    def _warn_once(self) -> None:
        """Tell the operators: with a wrong setting every browser is refused."""
        if not self._warned:
            ours = "://".join(self._origin) if self._origin else "the Host of each call"
            logger.warning("a refresh from another origin was refused; ours is %s (TIDINGS_HTTP_PUBLIC_URL)", ours)
        self._warned = True

    def _is_ours(self, origin: str, request: Request) -> bool:
        try:
            scheme, place = _origin(origin)
        except ValueError:
            return False  # it is no address at all
        if self._origin is not None:
            return (scheme, place) == self._origin
        return urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    default = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
    return parts.scheme, parts.netloc.lower().removesuffix(default) if default else parts.netloc.lower()
