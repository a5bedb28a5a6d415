"""What the child process of the embedded Tiled server runs."""

import os
import socket
import sys
import threading
from pathlib import Path

import tiled.adapters.zarr  # noqa: F401 - else it would be loaded within the first write
import uvicorn
from tiled.commandline._catalog import init  # `tiled catalog init`, without a second interpreter
from tiled.config import parse_configs
from tiled.server.app import build_app_from_config


def prepare(catalog: Path) -> None:
    """Make an empty catalog, unless there is one."""
    if not catalog.exists():
        fresh = catalog.with_suffix(".new")
        for rest in catalog.parent.glob(f"{fresh.name}*"):
            rest.unlink()
        init(f"sqlite:///{fresh}", if_not_exists=True)
        fresh.rename(catalog)  # so that a start that was killed leaves no half of one


def end_with_parent(server: uvicorn.Server) -> None:
    """Stop the server as soon as the parent closes our standard input, or is gone."""

    def watch() -> None:
        os.read(sys.stdin.fileno(), 1)
        server.should_exit = True

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Serve the folder named on the command line, and write the port into its ``port`` file."""
    folder = Path(sys.argv[1])
    os.umask(0o077)  # catalog, tables and arrays are their owner's alone
    prepare(folder / "catalog.db")
    app = build_app_from_config(parse_configs(folder / "tiled.yml"))
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=3, loop="asyncio")
    )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        end_with_parent(server)
        waiting = folder / "port.new"
        waiting.write_text(str(listener.getsockname()[1]))
        waiting.rename(folder / "port")
        server.run(sockets=[listener])
    os._exit(0)  # threads of the database pools would hold the process


if __name__ == "__main__":
    main()
