"""A Tiled server at a fixed port, whose calls can be made to fail or to take long.

Before each call it reads from the file ``trouble.json`` in its folder which share of the calls
fails, with which statuses, and how long each takes.
"""

import asyncio
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import uvicorn
from tiled.config import parse_configs
from tiled.server.app import build_app_from_config

from nearedge.streaming.catalog.embedded import KEY_VARIABLE, server_config
from nearedge.streaming.catalog.embedded_main import prepare

STATUSES = (500, 502, 503)


class Troubled:
    """An ASGI application that is slow and whose calls fail: some before, some after their work."""

    def __init__(self, app: Any, switch: Path) -> None:
        self._app, self._switch = app, switch
        self._rng = random.Random(0)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer one call."""
        trouble = self._trouble() if scope["type"] == "http" else {}
        await asyncio.sleep(trouble.get("delay_s", 0.0))
        if self._rng.random() >= trouble.get("share", 0.0):
            await self._app(scope, receive, send)
            return
        if self._rng.random() < 0.5:  # done, and nobody is told
            await self._app(scope, receive, _swallow)
        status = self._rng.choice(trouble.get("statuses", STATUSES))
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"made to fail"})

    def _trouble(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._switch.read_text()))
        except (FileNotFoundError, ValueError):
            return {}


async def _swallow(message: dict[str, Any]) -> None:
    return None


def main() -> None:
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    prepare(folder / "catalog.db")
    (folder / "data").mkdir(exist_ok=True)
    config = server_config(folder)
    config["authentication"]["single_user_api_key"] = os.environ[KEY_VARIABLE]
    app = Troubled(build_app_from_config(parse_configs_of(config, folder)), folder / "trouble.json")
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", loop="asyncio")


def parse_configs_of(config: dict[str, Any], folder: Path) -> Any:
    import yaml

    path = folder / "tiled.yml"
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)
    return parse_configs(path)


if __name__ == "__main__":
    main()
