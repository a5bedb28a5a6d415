"""Errors of the catalog in words: what went wrong, and at which address."""

import httpx


def told(error: BaseException) -> str:
    """Return an error as text, with the address of the server that it is about."""
    text = f"{type(error).__name__}: {error}"
    address = address_of(error)
    return text if address is None or address in text else f"{text} ({address})"


def address_of(error: BaseException) -> str | None:
    """Return the address of the server that a request went to, such as ``http://host:8000``."""
    if not isinstance(error, httpx.HTTPError):
        return None
    try:
        url = error.request.url
    except RuntimeError:  # it was raised without its request
        return None
    return f"{url.scheme}://{url.netloc.decode()}"
