"""Where the map of ``nearedge map`` comes from: a file, recorded documents, or a stored run."""

import time
from hashlib import sha256
from pathlib import Path

from nearedge.callbacks.images import image_of
from nearedge.models.maps.image import SpectrumImage
from nearedge.streaming.ledger.key import result_key
from nearedge.streaming.settings.profile import Profile
from nearedge.streaming.sources.files.maps import read_map
from nearedge.streaming.sources.jsonl_source import JsonlSource

DOCUMENTS = (".jsonl", ".ndjson")


def key_of(image: SpectrumImage, profile: Profile, *, model: str, how: str) -> str:
    """Return the name of a map in the catalog: of its run, or of the numbers of its file.

    Parameters
    ----------
    image
        As it was measured.
    profile
        Its settings count.
    model
        Digest of the weights.
    how
        What was done with the pixels.
    """
    spectra = image.spectra
    raw = image.uid or sha256(spectra.energy.tobytes() + spectra.mu.tobytes()).hexdigest()
    return result_key(raw, "map", how, model_digest=model, config_digest=profile.digest())


def store(image: SpectrumImage, profile: Profile, path: Path, *, key: str) -> None:
    """Put the file of a map into the catalog, unless it is there.

    Raises
    ------
    httpx.HTTPError
        If the server refuses or is away.
    """
    from nearedge.streaming.catalog.maps import store_map  # Tiled takes a second
    from nearedge.streaming.commands.opening import connected, maps_box, result_files

    spectra = image.spectra
    about = {
        "raw": {"uid": image.uid},
        "technique": str(spectra.technique),
        "absorber": spectra.absorber,
        "edge": spectra.edge,
        "formula": profile.instrument.composition or spectra.formula,
        "config": profile.digest(),
        "written": time.time(),
    }
    with connected(profile) as server:
        box, files = maps_box(profile, server), result_files(profile.catalog, server)
        store_map(box, key, path, about=about, files=files)


def map_of(named: str, profile: Profile) -> SpectrumImage:
    """Return the map of a file, or else of the run of the catalog with that uid.

    Parameters
    ----------
    named
        A path, or a uid or its beginning.
    profile
        How to read it, and where the catalog is.

    Raises
    ------
    ValueError
        If there is no map in it.
    FileNotFoundError
        If it is a path, and nothing lies there.
    KeyError
        If the catalog has no such run.
    """
    path = Path(named)
    if path.suffix.lower() in DOCUMENTS:
        return image_of(JsonlSource([path]).documents(), profile.instrument)
    if path.is_file():
        return read_map(path, profile.instrument)
    if path.suffix or len(path.parts) > 1:
        raise FileNotFoundError(
            f"no file {named}: expected a file of a map, or the uid of a run in the catalog"
        )
    return _stored(named, profile)


def _stored(uid: str, profile: Profile) -> SpectrumImage:
    """Return the map of a run of the catalog."""
    from nearedge.streaming.catalog.connection import raw_container  # Tiled takes a second
    from nearedge.streaming.commands.opening import client_of, connected
    from nearedge.streaming.sources.run_documents import documents_of

    with connected(profile) as server:
        raw = raw_container(client_of(server), profile.catalog.raw)
        return image_of(documents_of(raw, uid), profile.instrument)
