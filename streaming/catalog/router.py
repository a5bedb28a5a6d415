"""A route of Tiled's own server: the figures of all results of a container as CSV.

``GET /custom/nearedge/trend/inversions``. Tiled decides who may read what, as everywhere.
`nearedge.streaming.catalog.server_config` is the part of its configuration that mounts this.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Security
from fastapi.responses import Response
from tiled.queries import In
from tiled.server.authentication import (
    check_scopes,
    get_current_access_tags,
    get_current_principal,
    get_current_scopes,
    get_session_state,
)
from tiled.server.dependencies import get_entry, get_root_tree
from tiled.structures.core import StructureFamily

MOST = 10_000
READ = ["read:metadata"]

router = APIRouter(prefix="/nearedge", tags=["nearedge"])


@router.get("/trend/{path:path}", response_class=Response)
async def get_trend(
    request: Request,
    path: str,
    principal: Annotated[Any, Depends(get_current_principal)],
    root_tree: Annotated[Any, Depends(get_root_tree)],
    session_state: Annotated[dict[str, Any], Depends(get_session_state)],
    tags: Annotated[Any, Depends(get_current_access_tags)],
    scopes: Annotated[Any, Depends(get_current_scopes)],
    _: Annotated[Any, Security(check_scopes, scopes=READ)],
) -> Response:
    """Return the figures of the results in the container at that path, the oldest first."""
    # imported by the first request: Tiled reads this module when it starts
    from nearedge.streaming.answers.summary import stored_summary
    from nearedge.streaming.answers.trend import trend_csv
    from nearedge.streaming.ledger.job import State

    entry = await get_entry(
        *(path, READ, principal, tags, scopes, root_tree, session_state, request.state.metrics),
        structure_families={StructureFamily.container},
        access_policy=getattr(request.app.state, "access_policy", None),
    )
    request.state.endpoint = "trend"
    found = entry.search(In("status", [State.COMPLETE.value, State.REJECTED.value])).sort(
        [("measured", -1)]
    )
    items = await found.items_range(offset=0, limit=MOST)
    told = [stored_summary(key, adapter.metadata()) for key, adapter in items]
    return Response(trend_csv(reversed(told)), media_type="text/csv")
