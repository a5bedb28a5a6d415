"""Secrets: from the environment or a file that only its owner can read; never part of a message."""

import logging
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from nearedge.streaming.settings import profile
from nearedge.streaming.settings.exposure import key_exposure

logger = logging.getLogger(__name__)

OTHERS = stat.S_IRWXG | stat.S_IRWXO
MAX_BYTES = 10_000


class CredentialError(ValueError):
    """A secret that cannot be used; the text says where it should be, never what it is."""


def read_secret(path: str | Path) -> str:
    """Return what a private file holds, without the space around it.

    Raises
    ------
    CredentialError
        If the file is not there, is empty, or may be read or written by others than its owner.
    """
    path = Path(path).expanduser()
    try:
        with path.open("rb") as file:
            _refuse_shared(os.fstat(file.fileno()), path)  # of what was opened, not of its name
            text = file.read(MAX_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as e:
        raise CredentialError(f"cannot read the secret in {path}: {type(e).__name__}") from None
    if not text:
        raise CredentialError(f"found nothing in {path}, expected a secret")
    return text


def _refuse_shared(status: os.stat_result, path: Path) -> None:
    mode = stat.S_IMODE(status.st_mode)
    if not stat.S_ISREG(status.st_mode):
        raise CredentialError(f"{path} is no ordinary file, expected one that holds a secret")
    if mode & OTHERS:
        raise CredentialError(
            f"{path} has mode {mode:04o}: others than its owner may use the secret in it; "
            f"run: chmod 600 {path}"
        )
    if status.st_uid not in (os.geteuid(), 0):
        raise CredentialError(f"{path} belongs to user {status.st_uid}: whoever that is knows it")


def api_key(catalog: profile.CatalogSettings, *, environ: Mapping[str, str]) -> str | None:
    """Return the key of a profile's Tiled server; None when there is none to use.

    Parameters
    ----------
    catalog
        Names the file, else the environment variable.
    environ
        The environment.

    Raises
    ------
    CredentialError
        If the file cannot be used, or the address itself holds a key.
    """
    refuse_secret_in(catalog.uri)
    file = catalog.api_key_file
    key = read_secret(file) if file is not None else environ.get(catalog.api_key_env)
    if key and catalog.uri and (problem := key_exposure(catalog.uri)):
        logger.warning("%s", problem)
    return key


def renewed_key(catalog: profile.CatalogSettings) -> str | None:
    """Return what the key's file holds now; None where there is none, or none that can be used."""
    if catalog.api_key_file is None:
        return None
    try:
        return read_secret(catalog.api_key_file)
    except CredentialError as e:  # it may be written anew at this moment
        logger.warning("%s", e)
        return None


def refuse_secret_in(uri: str | None) -> None:
    """Raise `CredentialError` for an address with a key or password in it: it would be logged."""
    parts = urlsplit(uri or "")
    if parts.password is not None or "api_key" in parse_qs(parts.query):
        raise CredentialError(
            f"catalog.uri has a secret in it (host {parts.hostname}): put it into the environment "
            "variable that catalog.api_key_env names, or into catalog.api_key_file"
        )
