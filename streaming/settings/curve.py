"""CURVE: 0MQ connections that are encrypted, and on which each side knows the other's key.

Keys are files as `zmq.auth.create_certificates` makes them, which Bluesky's proxy and publisher
read as well.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import zmq
import zmq.auth

from nearedge.streaming.settings import profile
from nearedge.streaming.settings.credential import CredentialError, read_secret

SECRET_VARIABLE = "NEAREDGE_CURVE_SECRET"  # noqa: S105 - the name of the variable, not its value


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientKeys:
    """What a client of a CURVE server needs, as text in Z85.

    Attributes
    ----------
    server
        The server's public key: nobody else can answer in its place.
    public, secret
        Our own pair, by which the server may know us.
    """

    server: bytes
    public: bytes
    secret: bytes = field(repr=False)

    def apply(self, socket: zmq.Socket) -> None:
        """Encrypt what a socket will connect to."""
        socket.curve_serverkey = self.server
        socket.curve_publickey = self.public
        socket.curve_secretkey = self.secret


def client_keys(
    curve: profile.CurveSettings, *, environ: Mapping[str, str] | None = None
) -> ClientKeys:
    """Return the keys that a profile names.

    Parameters
    ----------
    curve
        The files.
    environ
        The environment, which may hold our secret key instead of a file.

    Raises
    ------
    CredentialError
        If a key is missing, damaged, or may be read by others.
    """
    secret = _secret(curve, os.environ if environ is None else environ)
    try:
        public = zmq.curve_public(secret)
    except (ValueError, zmq.ZMQError):
        raise CredentialError("our secret key is no CURVE key: 40 characters of Z85") from None
    return ClientKeys(server=_public(curve.server_key), public=public, secret=secret)


def server_secret(keys: profile.BusKeySettings) -> bytes:
    """Return our own secret key, as text in Z85; errors as for `client_keys`."""
    return _certificate(keys.secret_key, read_secret(keys.secret_key), "secret-key")


def _secret(curve: profile.CurveSettings, environ: Mapping[str, str]) -> bytes:
    if curve.secret_key is not None:
        return _certificate(curve.secret_key, read_secret(curve.secret_key), "secret-key")
    if SECRET_VARIABLE not in environ:
        raise CredentialError(
            "found no secret key: set source.curve.secret_key to its file, or the environment "
            f"variable {SECRET_VARIABLE} to the key"
        )
    return environ[SECRET_VARIABLE].encode()


def _public(path: str) -> bytes:
    try:
        text = Path(path).expanduser().read_text()
    except (OSError, UnicodeDecodeError) as e:
        raise CredentialError(f"cannot read the server's public key {path}: {e}") from e
    return _certificate(path, text, "public-key")


def _certificate(path: str, text: str, name: str) -> bytes:
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if key.strip() == name and len(value.strip().strip('"')) == 40:
            return value.strip().strip('"').encode()
    raise CredentialError(f"found no {name} in {path}, expected a certificate of 0MQ")
