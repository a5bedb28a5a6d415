"""Open everything that a service needs, as a profile says, and close it again."""

import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import chain
from pathlib import Path

from nearedge.callbacks.measurement import Measurement
from nearedge.models.answering.cards import Cards, read_cards
from nearedge.streaming.catalog.connection import Client, connect, raw_container, results_container
from nearedge.streaming.catalog.embedded import embedded_server, files_folder
from nearedge.streaming.catalog.growing_maps import GrowingMaps
from nearedge.streaming.catalog.maps import Maps
from nearedge.streaming.catalog.pixel_clusters import ClusterStore
from nearedge.streaming.catalog.probe import Weight, findings
from nearedge.streaming.catalog.result_files import ResultFiles
from nearedge.streaming.catalog.results import Results
from nearedge.streaming.catalog.storing import Storing
from nearedge.streaming.ledger.job import State
from nearedge.streaming.ledger.key import result_key
from nearedge.streaming.ledger.ledger import Ledger
from nearedge.streaming.page.doorstep import Doorstep
from nearedge.streaming.page.feed import Feed
from nearedge.streaming.service.map_work import MapStore, MapWork
from nearedge.streaming.service.method import MAP, Method
from nearedge.streaming.service.recovery import Archive
from nearedge.streaming.service.service import Audience, Service
from nearedge.streaming.service.writing import Put
from nearedge.streaming.settings.credential import api_key, renewed_key
from nearedge.streaming.settings.profile import CatalogSettings, Profile, WorkerSettings
from nearedge.streaming.sources.source import Source
from nearedge.streaming.workers.crew import Crew
from nearedge.streaming.workers.dask_worker import DaskWorker
from nearedge.streaming.workers.worker import Worker

logger = logging.getLogger(__name__)

LEDGER = "ledger.sqlite"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A Tiled server that can be reached.

    Attributes
    ----------
    uri, api_key
        Address and key; no key for a server that wants none.
    directory
        The folder of an embedded server's files; None for one that others run.
    renewed
        Returns the key as it is now: its file may have changed.
    """

    uri: str
    api_key: str | None = field(repr=False)
    directory: Path | None = None
    renewed: Callable[[], str | None] = field(default=lambda: None, repr=False)


@contextmanager
def connected(profile: Profile) -> Iterator[Server]:
    """Yield the profile's Tiled server; an embedded one runs until the end of the block.

    Raises
    ------
    RuntimeError
        If the embedded server does not start.
    """
    catalog = profile.catalog
    if catalog.uri is not None:
        key = api_key(catalog, environ=os.environ)
        yield Server(uri=catalog.uri, api_key=key, renewed=partial(renewed_key, catalog))
        return
    with embedded_server(catalog.directory, readable=catalog.readable) as own:
        yield Server(uri=own.uri, api_key=own.api_key, directory=own.directory)


def ledger_path(profile: Profile, *, directory: Path | None = None) -> Path | None:
    """Return where the ledger is: one for each catalog of results.

    Parameters
    ----------
    profile
        Names the file, or the catalog.
    directory
        The folder of an embedded server that the profile does not give one; without it the path is
        None then.
    """
    catalog = profile.catalog
    if profile.service.ledger is not None:
        return Path(profile.service.ledger).expanduser()
    if catalog.uri is not None:
        name = hashlib.sha256(f"{catalog.uri} {catalog.results}".encode()).hexdigest()[:16]
        return state_folder() / f"{name}.sqlite"
    folder = directory if catalog.directory is None else Path(catalog.directory).expanduser()
    return None if folder is None else folder / LEDGER


def state_folder() -> Path:
    """Return where programs of this user keep their state (XDG base directory specification)."""
    folder = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(folder) / "nearedge"


@contextmanager
def ledger_for(profile: Profile, server: Server) -> Iterator[Ledger]:
    """Yield the ledger of a profile's catalog; it is closed at the end of the block."""
    path = ledger_path(profile, directory=server.directory)
    with closing(Ledger(path if path is not None else ":memory:")) as ledger:
        yield ledger


def results_of(profile: Profile, server: Server) -> Storing:
    """Return what writes rows to a server; it connects when there is the first."""
    return Storing(
        partial(results_box, profile, server),
        config=profile.digest(),
        files=result_files(profile.catalog, server),
    )


def maps_of(profile: Profile, server: Server) -> GrowingMaps:
    """Return what writes maps to a server; it connects when there is the first block."""
    return GrowingMaps(partial(maps_box, profile, server), config=profile.digest())


def clusters_of(profile: Profile, server: Server) -> ClusterStore | None:
    """Return the maps whose pixels are to have clusters; None: the profile wants none."""
    if not profile.service.pixel_clusters or profile.instrument.finish.when != "pixel":
        return None
    return ClusterStore(
        partial(maps_box, profile, server),
        config=profile.digest(),
        models=[one.digest for one in read_cards(profile.worker.model).cards],
    )


def result_files(catalog: CatalogSettings, server: Server) -> ResultFiles | None:
    """Return where the arrays of results go; None: they are sent to the server."""
    if server.directory is not None:
        return ResultFiles(files_folder(server.directory), private=True)
    if catalog.files is not None:
        return ResultFiles(Path(catalog.files).expanduser())
    return None


def results_box(profile: Profile, server: Server) -> Client:
    """Return the container of a profile's results, made if it is not there."""
    return results_container(client_of(server), profile.catalog.results)


def maps_box(profile: Profile, server: Server) -> Client:
    """Return the container of a profile's maps, made if it is not there."""
    return results_container(client_of(server), profile.catalog.maps)


@contextmanager
def opened_box(profile: Profile) -> Iterator[Client]:
    """Yield the container of a profile's results; its connection ends with the block."""
    with connected(profile) as server:
        box = results_box(profile, server)
        try:
            yield box
        finally:
            box.context.http_client.close()


def archive_of(profile: Profile, server: Server) -> Archive:
    """Return the runs and results on a server; it connects when it is first asked."""
    return Archive(
        raw=cache(lambda: raw_container(client_of(server), profile.catalog.raw)),
        finished=lambda: chain(
            Results(results_box(profile, server)).finished(),
            _finished_maps(profile, server),
        ),
    )


def _finished_maps(profile: Profile, server: Server) -> Iterator[tuple[str, State]]:
    """Yield the key of every map that is complete, where the profile makes any."""
    if profile.instrument.finish.when == "pixel":
        yield from ((key, State.COMPLETE) for key in Maps(maps_box(profile, server)).finished())


def client_of(server: Server) -> Client:
    """Return a new client of a server; when the server refuses its key, the file is read again."""
    key = server.renewed() or server.api_key
    return connect(server.uri, api_key=key, renewed=server.renewed)


@contextmanager
def serving(
    profile: Profile,
    *,
    source: Source,
    ledger: Ledger,
    put: Put,
    maps: MapStore | None = None,
    clusters: ClusterStore | None = None,
    live: bool = True,
    archive: Archive | None = None,
    audience: Audience | None = None,
) -> Iterator[Service]:
    """Yield a running service; it stops at the end of the block.

    Parameters
    ----------
    profile
        The instrument, the worker and the model.
    source, ledger, put
        Where documents come from, where the work is kept, and what writes a row.
    maps
        Where maps are kept; None: there are none.
    clusters
        Maps whose pixels are to have clusters, too; None: no pixel is.
    live
        Whether the source tells of measurements as they end.
    archive
        The catalog's runs and results; None: there are none.
    audience
        Who is told of rows and answers.

    Raises
    ------
    nearedge.models.answering.card.CardError
        If the model's weights or card are missing.
    """
    card = read_cards(profile.worker.model)
    service = Service(
        profile=profile,
        source=source,
        ledger=ledger,
        worker=worker_of(profile.worker, card=card),
        method=method_of(profile, card=card),
        put=put,
        maps=None
        if maps is None
        else MapWork(maps, supports=card.supports, span=lambda: card.grid),
        clusters=clusters,
        live=live,
        archive=archive,
        audience=audience,
    )
    with service:
        yield service


def worker_of(settings: WorkerSettings, *, card: Cards) -> Worker | DaskWorker | Crew:
    """Return what inverts spectra: a process for each device of this machine, or Dask's workers.

    Raises
    ------
    ValueError
        If Dask is not installed, or its scheduler must not be trusted.
    """
    if settings.backend == "dask":
        return DaskWorker(settings, models=[one.digest for one in card.cards])
    members = [Worker(settings.model_copy(update={"device": one})) for one in settings.devices]
    return members[0] if len(members) == 1 else Crew(members)


def method_of(profile: Profile, *, card: Cards) -> Method:
    """Return how documents become spectra, named by this model and these settings."""
    name = partial(result_key, model_digest=card.digest, config_digest=profile.digest())
    settings = hashlib.sha256(f"{card.digest} {profile.reading_digest()}".encode()).hexdigest()
    instrument = profile.instrument

    def key(measurement: Measurement) -> str:
        return name(measurement.run.uid, measurement.stream, measurement.spectrum)

    def only_keys(run_uid: str) -> list[str]:
        if instrument.finish.when not in ("stop", "pixel"):  # as many results as spectra
            return []
        only = ("0",) if instrument.finish.when == "stop" else (MAP, "0")
        return [name(run_uid, stream, one) for stream in instrument.streams for one in only]

    return Method(
        instrument=instrument,
        key=key,
        supports=card.supports,
        part_key=name,
        settings=settings[:16],
        only_keys=only_keys,
    )


@contextmanager
def probing(profile: Profile, server: Server) -> Iterator[None]:
    """Log in the background what is wrong with the profile's Tiled server, if anything is."""
    if profile.catalog.uri is None:
        yield
        return
    thread = threading.Thread(target=_probe, args=(profile, server), daemon=True)
    thread.start()
    yield


def _probe(profile: Profile, server: Server) -> None:
    levels = {
        Weight.ERROR: logging.ERROR,
        Weight.WARNING: logging.WARNING,
        Weight.GOOD: logging.DEBUG,
    }
    for finding in findings(profile.catalog, lambda: client_of(server)):
        logger.log(levels.get(finding.weight, logging.INFO), "%s", finding.text)


@contextmanager
def page_of(
    profile: Profile,
    *,
    service: Service,
    feed: Feed,
    server: Server,
    waiting: Doorstep | None = None,
) -> Iterator[str | None]:
    """Serve the live page of a service until the end of the block; yield its address.

    Parameters
    ----------
    profile
        Says on which port, or that no page is wanted: then the address is None.
    service, feed
        What is shown; the feed listens to the service's rows and partial answers.
    server
        The server whose stored results are shown as well.
    waiting
        What has answered until now where the page will be; None: nothing has.

    Raises
    ------
    nearedge.streaming.page.doorstep.PageError
        If the port is taken.
    """
    from nearedge.streaming.catalog.history import History
    from nearedge.streaming.catalog.map_shelf import MapShelf
    from nearedge.streaming.page.web import serving_page
    from nearedge.streaming.service.merging import Merger

    card = read_cards(profile.worker.model)
    with serving_page(
        service,
        feed,
        port=profile.service.page_port,
        waiting=waiting,
        history=History(partial(results_box, profile, server)),
        shelf=MapShelf(partial(maps_box, profile, server)),
        title=profile.title,
        context=profile.instrument.roles.context,
        config=profile.digest(),
        instrument=profile.instrument,
        merger=Merger(service, model=card.digest, config=profile.digest(), supports=card.supports),
    ) as address:
        yield address
