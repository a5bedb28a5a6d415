"""Whether an address stays on this machine."""

import ipaddress
from urllib.parse import urlsplit

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
