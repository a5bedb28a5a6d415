"""The name of a result, and the seed that goes with it."""

import hashlib
import json


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
