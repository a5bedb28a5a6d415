"""Whether an address may be used: it stays on this machine, or is encrypted, or is trusted.

Each function returns what is wrong with an address of a profile, and None when nothing is.
"""

import ipaddress
from urllib.parse import urlsplit

from nearedge.streaming.settings import profile

_LOCAL_SCHEMES = ("ipc", "inproc")


def is_loopback(address: str) -> bool:
    """Return whether only this machine can be at an address: ``host:port`` or a URL.

    A name other than ``localhost`` counts as another machine: what it stands for may change.
    """
    scheme, _, rest = address.rpartition("://")
    if scheme in _LOCAL_SCHEMES:
        return True
    try:
        host = urlsplit(f"//{rest}").hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, or no address at all
        return False


def source_exposure(source: profile.ZmqSourceSettings) -> str | None:
    """Return what is wrong with reading documents from an address: they could be made up."""
    address, encrypted = source.address, source.curve is not None
    if _is_safe(address, encrypted=encrypted, trusted=source.trust_network):
        return None
    if ":" not in address:
        return f"found source.address {address!r}, expected host:port"
    return (
        f"source.address {address} is on another machine, and whoever reaches the network "
        "between could make up documents: set source.curve to the keys of an encrypted proxy, or "
        "source.trust_network to true"
    )


def bus_exposure(bus: profile.BusSettings) -> str | None:
    """Return what is wrong with publishing at an address: others could read the answers."""
    if bus.address is None or _is_safe(bus.address, encrypted=bus.curve is not None):
        return None
    return (
        f"bus.address {bus.address} is not on the loopback, and whoever reaches it would read the "
        "answers: set bus.curve to the keys of those who may"
    )


def scheduler_exposure(worker: profile.WorkerSettings) -> str | None:
    """Return what is wrong with a scheduler of Dask: whoever reaches it may run code here."""
    address = worker.scheduler
    if address is None:
        return "worker.backend is dask and worker.scheduler is not set: give tcp://host:8786"
    encrypted = address.startswith("tls://")
    if _is_safe(address, encrypted=encrypted, trusted=worker.trust_network):
        return None
    return (
        f"worker.scheduler {address} is on another machine and not encrypted, and whoever reaches "
        "it could run code here: use tls:// with Dask's own certificates, or set "
        "worker.trust_network to true"
    )


def key_exposure(uri: str) -> str | None:
    """Return what is wrong with sending a key to a Tiled server: others could read it."""
    parts = urlsplit(uri)
    if _is_safe(uri, encrypted=parts.scheme != "http"):
        return None
    return f"the key of {parts.netloc} crosses the network in clear: use https"


def _is_safe(address: str, *, encrypted: bool, trusted: bool = False) -> bool:
    return encrypted or trusted or is_loopback(address)
