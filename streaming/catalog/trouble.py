"""Errors of the catalog in words: what went wrong, and at which address."""

import httpx

REFUSED = (401, 403)
_KEY = (
    "set the environment variable TILED_API_KEY (or the one that catalog.api_key_env names, or the "
    "file catalog.api_key_file) to a valid key of that server"
)


def in_words(error: BaseException) -> str:
    """Return an error for a person: what was found, at which address, and what to do."""
    address = address_of(error)
    if isinstance(error, httpx.TransportError):
        return (
            f"no server answers at {address or 'its address'} ({error}): is it running, and is "
            "catalog.uri right?"
        )
    if isinstance(error, httpx.HTTPStatusError) and error.response.status_code in REFUSED:
        return f"{address} refuses the key or what it may do ({error}): {_KEY}"
    if _lacks_key(error):
        return f"the Tiled server wants a key and none was given: {_KEY}"
    return str(error) or type(error).__name__


def told(error: BaseException) -> str:
    """Return an error as text, with the address of the server that it is about."""
    if _lacks_key(error):
        return in_words(error)
    text = f"{type(error).__name__}: {error}"
    address = address_of(error)
    return text if address is None or address in text else f"{text} ({address})"


def _lacks_key(error: BaseException) -> bool:
    """Return whether a server wants a key and was given none, for which Tiled has many lines."""
    return isinstance(error, RuntimeError) and "requires API key" in str(error)


def address_of(error: BaseException) -> str | None:
    """Return the address of the server that a request went to, such as ``http://host:8000``."""
    if not isinstance(error, httpx.HTTPError):
        return None
    try:
        url = error.request.url
    except RuntimeError:  # it was raised without its request
        return None
    return f"{url.scheme}://{url.netloc.decode()}"
