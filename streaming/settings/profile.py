"""The profile: one tree of settings for one instrument, read from layered YAML and environment."""

import hashlib
import json
from typing import Literal

from pydantic import Field

from nearedge.callbacks.instrument import Instrument, Settings
from nearedge.models import Quality


class CurveSettings(Settings):
    """Keys of an encrypted 0MQ connection (CURVE), as zmq.auth.create_certificates writes them."""

    server_key: str = Field(description="file with the public key of the proxy's out side (.key)")
    secret_key: str | None = Field(
        None,
        description="file with our own secret key (.key_secret), mode 0600; null: the environment "
        "variable NEAREDGE_CURVE_SECRET holds it",
    )


class ZmqSourceSettings(Settings):
    """Live documents from a Bluesky 0MQ proxy."""

    kind: Literal["zmq"] = "zmq"
    address: str = Field("127.0.0.1:5578", description="host:port of the proxy's out side")
    prefix: str = Field(
        "", description="only messages published with this prefix; empty: those without one"
    )
    serializer: Literal["auto", "msgpack", "json", "pickle"] = Field(
        "auto",
        description="how the publisher writes documents; auto tells them apart; pickle is read by "
        "a restricted unpickler",
    )
    max_message_mb: float = Field(
        64.0, gt=0, description="larger messages are refused and counted, MB"
    )
    queue_mb: float = Field(
        512.0,
        gt=0,
        description="bytes that may wait in memory, MB; beyond that, runs are marked for back-fill",
    )
    curve: CurveSettings | None = Field(
        None, description="keys of an encrypted connection; null: not encrypted"
    )
    trust_network: bool = Field(
        False,
        description="read from another machine without encryption: anybody on the network between "
        "can then make up documents",
    )


class CatalogSettings(Settings):
    """The Tiled server that holds raw runs and results."""

    uri: str | None = Field(
        None,
        description="address of the server, such as http://127.0.0.1:8000/api/v1; null: an "
        "embedded server",
    )
    api_key_env: str = Field(
        "TILED_API_KEY", description="name of the environment variable that holds the key"
    )
    api_key_file: str | None = Field(
        None,
        description="file with the key, mode 0600; null: the environment variable has it",
    )
    raw: str = Field("raw", description="container of the raw Bluesky runs")
    results: str = Field("inversions", description="container of the results")
    maps: str = Field("maps", description="container of what `nearedge map --store` puts there")
    directory: str | None = Field(
        None, description="folder of the embedded server's files; null: a temporary one"
    )
    readable: tuple[str, ...] = Field(
        (), description="folders that the embedded server may read file-backed data from"
    )
    files: str | None = Field(
        None,
        description="folder for the arrays of results, on a disk that the server reads "
        "(readable_storage of its configuration): a result takes one request instead of some 15; "
        "null: they are sent to the server. The embedded one has a folder of its own",
    )


class WorkerSettings(Settings):
    """The process that owns the device and the model, or the Dask workers that do."""

    backend: Literal["process", "dask"] = Field(
        "process", description="process: one on this machine; dask: the workers of a scheduler"
    )
    scheduler: str | None = Field(
        None, description="address of the Dask scheduler, such as tcp://127.0.0.1:8786"
    )
    trust_network: bool = Field(
        False,
        description="use a scheduler on another machine without tls://: anybody who reaches it can "
        "then run code on the workers and here",
    )
    device: str = Field(
        "auto",
        description="auto (cuda when present, else cpu), cpu, cuda or cuda:N; several, with commas "
        "between them, have a worker process each: cuda:0,cuda:1",
    )
    threads: int = Field(0, ge=0, description="CPU threads of the worker; 0: all cores")
    model: str = Field(
        "siox+any",
        description="name of shipped weights, or path of a .safetensors file with its card "
        "beside it; several joined by +: the first that knows the edge, and what else is in the "
        "sample, answers",
    )
    samples: int = Field(16, ge=1, le=1024, description="clusters drawn for each spectrum")
    quality: Quality = Field(Quality.DEFAULT, description="fast, default or thorough")
    batch: int = Field(8, ge=1, description="spectra inverted together at most")
    attempts: int = Field(5, ge=1, description="tries of one spectrum before it counts as failed")
    timeout_s: float = Field(
        120.0, gt=0, description="time for one batch before the worker counts as hung, s"
    )
    degrade_after_s: float | None = Field(
        60.0,
        gt=0,
        description="once a finished spectrum has waited so long, the waiting spectra get a fast "
        "answer of few samples, flagged degraded, and the full one later, s; null: never",
    )

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices, each by itself."""
        return tuple(device.strip() for device in self.device.split(","))


class ServiceSettings(Settings):
    """The service's own files, and its live page."""

    ledger: str | None = Field(
        None,
        description="SQLite file of the work to do; null: beside the embedded catalog or in the "
        "user's state folder",
    )
    page_port: int | None = Field(
        0,
        ge=0,
        le=65535,
        description="port of the live page, /metrics and /readyz on the loopback; 0: any that is "
        "free; null: none of them",
    )
    run_silent_s: float = Field(
        3600.0,
        ge=0,
        description="a run that was silent for so long and has no stop document counts as ended; "
        "its readings so far are inverted, flagged partial, s; 0: never",
    )
    backfill_wait_s: float = Field(
        60.0,
        ge=0,
        description="how long a spectrum with a gap waits for its run to come from the catalog "
        "before it is inverted as it is, flagged gap, s; 0: not at all",
    )
    catch_up_every_s: float = Field(
        30.0,
        ge=0,
        description="time between two looks for finished runs of the catalog that were missed, s; "
        "0: never",
    )
    catch_up_days: float = Field(
        1.0,
        ge=0,
        description="at its start, the service inverts runs that ended within so many days and are "
        "not in its ledger",
    )
    pixel_clusters: bool = Field(
        False,
        description="once a map is complete, draw clusters for each of its answered pixels, too, "
        "while nothing measured waits",
    )


class BusKeySettings(Settings):
    """Keys of an encrypted bus (CURVE), as zmq.auth.create_certificates writes them."""

    secret_key: str = Field(description="file with our own secret key (.key_secret), mode 0600")
    clients: str = Field(
        description="folder with the public keys (.key) of those who may listen; nobody else may"
    )


class BusSettings(Settings):
    """Answers and heartbeats as Bluesky documents, for plans and agents to listen to."""

    address: str | None = Field(
        "127.0.0.1:5579",
        description="host:port to publish at; port 0: any that is free; null: nothing is "
        "published; beyond the loopback only with bus.curve",
    )
    prefix: str = Field("nearedge", pattern=r"^[^\s]*$", description="prefix of the messages")
    heartbeat_s: float = Field(2.0, gt=0, description="time between two heartbeats, s")
    curve: BusKeySettings | None = Field(
        None, description="keys of an encrypted bus; null: not encrypted"
    )


class SimulatorSettings(Settings):
    """The simulated beamline (nearedge simulate, nearedge demo)."""

    mode: Literal[
        "transmission", "fluorescence", "eels", "eels-files", "eels-map", "quick", "xanes-map"
    ] = Field("transmission", description="what is measured, and how")
    scans: int = Field(8, ge=1, description="scans along the pressure ramp")
    points: int = Field(120, ge=20, description="energies of a step scan")
    dwell_s: float = Field(0.01, ge=0, description="time per energy or per frame, s")
    frames: int = Field(4, ge=1, description="EELS frames per run")
    flux: float | None = Field(
        None,
        gt=0,
        description="incident photons or electrons per second; null: 1e8 photons or 1e11 electrons",
    )
    resolution_ev: float = Field(
        0.4, ge=0, description="Gaussian energy resolution, full width at half maximum, eV"
    )
    energy_offset_ev: float = Field(0.3, description="error of the energy scale, eV")
    pause_s: float = Field(0.5, ge=0, description="time between scans, s")
    seed: int = Field(0, description="seed of the noise")
    publish: str = Field("127.0.0.1:5577", description="host:port of the proxy's in side")
    prefix: str = Field("", description="prefix of the published messages")
    serializer: Literal["msgpack", "json", "pickle"] = Field(
        "msgpack", description="how documents are written"
    )


class Profile(Settings):
    """Everything that a nearedge command needs to know of an instrument and its surroundings."""

    title: str = Field("", description="what this profile is for")
    instrument: Instrument = Instrument()
    source: ZmqSourceSettings = ZmqSourceSettings()
    catalog: CatalogSettings = CatalogSettings()
    worker: WorkerSettings = WorkerSettings()
    service: ServiceSettings = ServiceSettings()
    bus: BusSettings = BusSettings()
    simulator: SimulatorSettings = SimulatorSettings()

    def digest(self) -> str:
        """Hash of the settings that change an answer: the instrument and the sampling."""
        return self._digest(exclude={"partial_every_s", "readable_roots", "streams", "recognise"})

    def reading_digest(self) -> str:
        """Hash of the settings that change an answer, or which spectra of a run can be read."""
        return self._digest(exclude={"partial_every_s"})

    def _digest(self, *, exclude: set[str]) -> str:
        settings = {
            "instrument": self.instrument.model_dump(mode="json", exclude=exclude),
            "samples": self.worker.samples,
            "quality": self.worker.quality,
        }
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
