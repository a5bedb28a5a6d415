"""The commands of the service: run, replay, check, config, status, retry."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nearedge.streaming.commands.options import Configs, Device, Samples, profile_of

if TYPE_CHECKING:  # a command imports what it needs when it runs
    from nearedge.streaming.commands.starting import Starting
    from nearedge.streaming.ledger.ledger import Ledger
    from nearedge.streaming.settings.profile import Profile


def run(config: Configs = None, device: Device = None, samples: Samples = None) -> None:
    """Invert spectra while you measure them, until Ctrl-C or SIGTERM."""
    from nearedge.streaming.commands.starting import starting
    from nearedge.streaming.settings.configuration import describe

    profile = profile_of(config, device=device, samples=samples)
    typer.echo(describe(profile), err=True)
    with starting(profile.service.page_port, lambda text: typer.echo(text, err=True)) as tell:
        _serve(profile, tell)


def _serve(profile: "Profile", tell: "Starting") -> None:
    """Run the service of a profile until it is stopped."""
    from rich.console import Console

    from nearedge.streaming.commands.opening import (
        archive_of,
        clusters_of,
        connected,
        ledger_for,
        maps_of,
        page_of,
        probing,
        results_of,
        serving,
    )
    from nearedge.streaming.commands.starting import await_ready
    from nearedge.streaming.commands.stopping import ending_within, stop_signals
    from nearedge.streaming.commands.table import showing
    from nearedge.streaming.page.feed import Feed
    from nearedge.streaming.service.bus import beating, opened_bus
    from nearedge.streaming.service.service import Audience
    from nearedge.streaming.settings.words import results_place
    from nearedge.streaming.sources.zmq_source import ZmqSource

    own = "" if profile.catalog.uri else "a Tiled server, "
    tell(f"starting {own}the service and its worker …")
    console, source, feed = Console(), ZmqSource(profile.source), Feed()
    with (
        stop_signals() as stopped,
        ending_within(stopped),
        opened_bus(profile.bus) as bus,
        connected(profile) as server,
        ledger_for(profile, server) as ledger,
        showing(console, counts=ledger.backlog.counts) as show,
        serving(
            profile,
            source=source,
            ledger=ledger,
            put=results_of(profile, server).put,
            maps=maps_of(profile, server),
            clusters=clusters_of(profile, server),
            archive=archive_of(profile, server),
            audience=Audience(
                rows=[show, feed, bus.row],
                answers=[feed],
                partials=[feed.show_partial, bus.partial],
                left_out=[bus.left_out],
                maps=[show.map, feed.show_map, bus.map],
            ),
        ) as service,
        beating(bus, service, every_s=profile.bus.heartbeat_s),
        page_of(
            profile, service=service, feed=feed, server=server, waiting=tell.waiting
        ) as address,
        probing(profile, server),
    ):
        service.metrics.watch_live(source, service.worker)
        if address is not None and console.is_terminal:  # its table pushes away what was printed
            show.note(f"the live page: {address}")
        show.note(f"results go to {results_place(profile.catalog)}")
        if bus.address is not None:
            show.note(f"answers are published at {bus.address}")
        if await_ready(service, stopped):
            show.note(f"ready: waiting for runs at {profile.source.address}")
        stopped.wait()


def replay(
    config: Configs = None,
    uid: Annotated[
        list[str] | None, typer.Option(help="Replay only this raw run; may be repeated.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(help="Replay only runs from then on: 2026-11-22 or 2026-11-22T10:30."),
    ] = None,
    file: Annotated[
        list[Path] | None,
        typer.Option(help="Replay the documents of a JSON-lines file instead of the catalog's."),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Write nothing. Invert again and compare with what is stored."
        ),
    ] = False,
    device: Device = None,
    samples: Samples = None,
) -> None:
    """Invert stored runs that have no result yet, with the same answers as live."""
    from rich.console import Console

    from nearedge.streaming.commands.replaying import Selection, moment
    from nearedge.streaming.commands.replaying import replay as replay_runs
    from nearedge.streaming.commands.replaying import verify as verify_runs

    profile = profile_of(config, device=device, samples=samples)
    selection = Selection(
        uids=tuple(uid or ()),
        since=None if since is None else moment(since),
        files=tuple(file or ()),
    )
    again = verify_runs if verify else replay_runs
    replayed = again(profile, selection, console=Console())
    typer.echo(replayed.text())
    raise typer.Exit(0 if replayed.good else 1)


def check(config: Configs = None) -> None:
    """Check a profile, its model and its catalog, and say what a service with it would do."""
    from nearedge.models.answering.cards import read_cards
    from nearedge.streaming.settings.configuration import describe

    profile = profile_of(config)
    typer.echo(describe(profile))
    card = read_cards(profile.worker.model)
    known = ", ".join(" ".join(pair) for pair in card.edges)
    typer.echo(f"the model has the digest {card.digest[:16]} and knows {known}")
    instrument = profile.instrument
    if not card.supports(instrument.absorber, instrument.edge):
        typer.echo(
            f"error: not {instrument.absorber} {instrument.edge}: every spectrum would be "
            "rejected as unsupported",
            err=True,
        )
        raise typer.Exit(2)
    _check_backend(profile)
    _check_catalog(profile)


def _check_backend(profile: "Profile") -> None:
    """Raise `ValueError` if the workers of the profile cannot be used here."""
    if profile.worker.backend == "dask":
        from nearedge.streaming.workers.dask_worker import unusable

        if problem := unusable(profile.worker):
            raise ValueError(problem)


def _check_catalog(profile: "Profile") -> None:
    """Say what the profile's Tiled server lets us do; end with 2 if results cannot be stored."""
    if profile.catalog.uri is None:
        return
    typer.echo("looking at the catalog …", err=True)
    from nearedge.streaming.catalog.probe import Weight, findings
    from nearedge.streaming.commands.opening import client_of, connected

    bad = False
    with connected(profile) as server:
        for finding in findings(profile.catalog, lambda: client_of(server)):
            good = finding.weight is Weight.GOOD
            typer.echo(finding.text if good else f"{finding.weight}: {finding.text}", err=not good)
            bad |= finding.weight is Weight.ERROR
    if bad:
        raise typer.Exit(2)


def config(
    config: Configs = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of profiles.")
    ] = False,
) -> None:
    """Print the merged profile as YAML, or the schema of all profiles."""
    import json

    import yaml

    from nearedge.streaming.settings import configuration

    if schema:
        typer.echo(json.dumps(configuration.schema(), indent=2))
        return
    settings = profile_of(config).model_dump(mode="json")
    typer.echo(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True).rstrip())


def status(config: Configs = None) -> None:
    """Show how many spectra the ledger has in each state, and what failed."""
    with _existing_ledger(profile_of(config)) as ledger:
        for line in _standing(ledger):
            typer.echo(line)


def _standing(ledger: "Ledger") -> Iterator[str]:
    """Yield lines that say how many spectra and runs a ledger has, and what failed."""
    from nearedge.streaming.ledger.job import State

    for state, n in ledger.backlog.counts().items():
        yield f"{state:10} {n}"
    runs = ledger.runs.counts()
    if runs["gap"]:
        yield f"{runs['gap']} runs with gaps are asked of the catalog"
    if runs["failed"]:
        yield f"{runs['failed']} runs could not be read so far:"
        for uid, why in ledger.runs.failed()[:20]:
            yield f"run {uid}: {why}"
    age = ledger.backlog.oldest_age_s()
    if age is not None:
        yield f"the oldest open spectrum has waited {age:.0f} s"
    for state in (State.WRITING, State.RUNNING, State.QUEUED, State.FAILED):
        for job in ledger.backlog.rows(state, limit=20):
            if job.error:
                place = f"run {job.place.run_uid} spectrum {job.place.spectrum}"
                yield f"{state} after {job.attempts} tries: {place}: {job.error}"


def retry(
    key: Annotated[
        list[str] | None,
        typer.Argument(help="Keys of results. Without any, all that failed are queued."),
    ] = None,
    config: Configs = None,
) -> None:
    """Queue failed spectra and unreadable runs again. A running service takes them up."""
    with _existing_ledger(profile_of(config)) as ledger:
        typer.echo(f"{ledger.queue.retry(key or None)} spectra are queued again")
        if not key and (runs := ledger.runs.retry()):
            typer.echo(f"{runs} runs that could not be read are tried again: {RETRIED}")


@contextmanager
def _existing_ledger(profile: "Profile") -> "Iterator[Ledger]":
    """Yield the ledger of a profile, which must be there; it is closed at the end of the block."""
    from nearedge.streaming.commands.opening import ledger_path
    from nearedge.streaming.ledger.database import LedgerError
    from nearedge.streaming.ledger.ledger import Ledger

    path = ledger_path(profile)
    if path is None:
        raise LedgerError(
            "this profile names no place for a ledger: its service keeps it in a temporary folder; "
            "set catalog.directory or service.ledger"
        )
    if not path.is_file():
        raise LedgerError(
            f"found no ledger at {path}: nothing was run yet with this profile; set "
            "service.ledger, or give the -c of the service"
        )
    with closing(Ledger(path)) as ledger:
        yield ledger


RETRIED = "by a running service, at the next start, or by nearedge replay"
COMMANDS = (run, replay, check, config, status, retry)
