"""A Tiled server at a fixed port, whose calls can be made to fail.

The share of calls that fail is read from the file ``failing`` in its folder, before each call.
"""

import os
import random
import sys
from pathlib import Path
from typing import Any

import uvicorn
from tiled.config import parse_configs
from tiled.server.app import build_app_from_config

from nearedge.streaming.embedded import KEY_VARIABLE, server_config
from nearedge.streaming.embedded_main import prepare


class Failing:
    """An ASGI application of which some calls fail: before or after they did their work."""

    def __init__(self, app: Any, switch: Path) -> None:
        self._app, self._switch = app, switch
        self._rng = random.Random(0)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer one call."""
        if scope["type"] != "http" or self._rng.random() >= self._share():
            await self._app(scope, receive, send)
            return
        if self._rng.random() < 0.5:  # done, and nobody is told
            await self._app(scope, receive, _swallow)
        status = self._rng.choice((500, 502, 503))
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"made to fail"})

    def _share(self) -> float:
        try:
            return float(self._switch.read_text() or 0)
        except (FileNotFoundError, ValueError):
            return 0.0


async def _swallow(message: dict[str, Any]) -> None:
    return None


def main() -> None:
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    prepare(folder / "catalog.db")
    (folder / "data").mkdir(exist_ok=True)
    config = server_config(folder)
    config["authentication"]["single_user_api_key"] = os.environ[KEY_VARIABLE]
    app = Failing(build_app_from_config(parse_configs_of(config, folder)), folder / "failing")
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", loop="asyncio")


def parse_configs_of(config: dict[str, Any], folder: Path) -> Any:
    import yaml

    path = folder / "tiled.yml"
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)
    return parse_configs(path)


if __name__ == "__main__":
    main()
