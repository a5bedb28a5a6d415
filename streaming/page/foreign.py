"""Keep what makes work for the service to the page itself."""

from starlette.exceptions import HTTPException
from starlette.requests import Request


def refuse_foreign(request: Request) -> None:
    """Refuse what a web page elsewhere asks for.

    Raises
    ------
    HTTPException
        403, if the browser says that another page asks.
    """
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    here = origin is None or origin == str(request.base_url).rstrip("/")
    if site not in ("same-origin", "none") or not here:
        raise HTTPException(403, "only the page itself may ask for this")
