"""The command line: ``nearedge COMMAND``, the same as ``python -m nearedge.streaming``.

Nothing heavy is imported before a command runs, so that ``nearedge --help`` answers at once.
"""

import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points, version
from typing import Annotated

import typer

from nearedge.streaming.commands import compare_command, file_commands, service_commands
from nearedge.streaming.commands.logs import Form, start_logging
from nearedge.streaming.commands.stopping import INTERRUPTED

logger = logging.getLogger(__name__)

GROUP = "nearedge.commands"
LEVELS = (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nearedge {version('nearedge')}")
        raise typer.Exit


def common(
    verbose: Annotated[
        int,
        typer.Option("-v", "--verbose", count=True, help="Log what is done; -vv logs everything."),
    ] = 0,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Log errors only.")] = False,
    log: Annotated[
        Form,
        typer.Option(envvar="NEAREDGE_LOG", help="Write the log as text for people, or as JSON."),
    ] = Form.TEXT,
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Find the structure around the absorber from near-edge spectra, while you measure them."""
    start_logging(LEVELS[0] if quiet else LEVELS[min(1 + verbose, 3)], log)


def build() -> typer.Typer:
    """Return the command line with all commands, those of other parts of nearedge included."""
    app = typer.Typer(
        name="nearedge",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(common)
    rooms = (service_commands, file_commands, compare_command)
    for command in (one for room in rooms for one in room.COMMANDS):
        app.command(command.__name__.rstrip("_").replace("_", "-"))(command)
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        _add(app, point)
    return app


def _add(app: typer.Typer, point: EntryPoint) -> None:
    """Add a command of an entry point: a function, or a Typer with commands of its own."""
    try:
        command = point.load()
    except Exception as e:  # a broken part must not take the other commands with it
        logger.warning("the command %r cannot be loaded: %s: %s", point.name, type(e).__name__, e)
        return
    if isinstance(command, typer.Typer):
        app.add_typer(command, name=point.name)
    else:
        app.command(point.name)(command)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; exit with 0, 1 when work failed, or 2 when it was asked wrongly."""
    # Tiled's own 10 tries and 45 s hold a thread for a minute: the ledger waits better than that
    os.environ.setdefault("TILED_RETRY_ATTEMPTS", "2")
    os.environ.setdefault("TILED_RETRY_TIMEOUT", "5")
    start_logging(logging.WARNING)
    try:
        build()(args=args, prog_name="nearedge")
    except KeyboardInterrupt:  # before a command could take care of it, or a second time
        sys.exit(INTERRUPTED)
    except Exception as e:
        logger.info("what happened:", exc_info=e)
        typer.echo(f"error: {_in_words(e)}", err=True)
        sys.exit(2 if isinstance(e, ValueError | FileNotFoundError) else 1)


def _in_words(error: Exception) -> str:
    from nearedge.streaming.catalog.trouble import in_words

    return in_words(error)
