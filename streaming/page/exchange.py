"""What browsers send and get: bodies of a bounded size, and JSON."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from nearedge.streaming.answers.plain import dump

JSON = "application/json"


def as_json(data: object, *, status: int = 200) -> Response:
    """Return an answer of JSON: bytes as they are, anything else dumped."""
    content = data if isinstance(data, bytes) else dump(data)
    return Response(content, status_code=status, media_type=JSON)


async def body_of(request: Request, *, most: int, otherwise: str) -> bytes:
    """Return what was sent.

    Parameters
    ----------
    most
        Bytes, at most; what is beyond them is not read.
    otherwise
        What is said where there are more.

    Raises
    ------
    HTTPException
        413, if there are more.
    """
    parts, size = [], 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > most:
            raise HTTPException(413, otherwise)
    return b"".join(parts)
