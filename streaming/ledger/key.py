"""The name of a result, and the seeds that go with names."""

import hashlib
import json
from collections.abc import Sequence


def result_key(
    raw_uid: str, stream: str, spectrum: str, *, model_digest: str, config_digest: str
) -> str:
    """Return the name of the result of one spectrum, the same for every service that inverts it.

    Parameters
    ----------
    raw_uid, stream, spectrum
        Which spectrum, as in `nearedge.callbacks.measurement.Measurement`.
    model_digest, config_digest
        Which weights and which settings.
    """
    parts = [raw_uid, stream, spectrum, model_digest, config_digest]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def seed_of(key: str) -> int:
    """Return the seed of the sampler, from 0 to 2⁵³ - 1: what JSON carries exactly."""
    return int(key[:16], 16) >> 11


def seed_at(key: str, first: Sequence[int], last: Sequence[int]) -> int:
    """Return the seed for a rectangle of a map: the same one draws the same clusters again.

    Parameters
    ----------
    key
        Names the map.
    first, last
        Two opposite corners; a pixel is both.
    """
    corners = sorted([tuple(first), tuple(last)])
    return seed_of(hashlib.sha256(f"{key} {corners}".encode()).hexdigest())
