"""A Bluesky 0MQ proxy in a process of its own, on free ports of the loopback."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection

START_TIMEOUT_S = 60.0  # a spawned interpreter on a busy machine


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyAddress:
    """Where publishers connect (``inward``) and where subscribers do (``outward``): host:port."""

    inward: str
    outward: str


def serve(connection: Connection) -> None:
    """Bind a stock proxy to two free ports, tell them, and forward until killed."""
    from bluesky.callbacks.zmq import Proxy

    proxy = Proxy("127.0.0.1", "127.0.0.1")  # without a port each: any free one
    connection.send((proxy.in_port, proxy.out_port))
    proxy.start()  # type: ignore[no-untyped-call]


def loopback(bound: str | int) -> str:
    """Return host:port of what the proxy calls its port: a number or a whole address."""
    return f"127.0.0.1:{str(bound).rpartition(':')[2]}"


@contextmanager
def running_proxy() -> Iterator[ProxyAddress]:
    """Run a stock proxy in a child process and yield its addresses.

    Raises
    ------
    RuntimeError
        When the child does not tell its ports in time.
    """
    here, there = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    process.start()
    there.close()  # so that a child that dies ends the wait
    try:
        if not here.poll(START_TIMEOUT_S):
            raise RuntimeError(f"the 0MQ proxy told no address within {START_TIMEOUT_S:g} s")
        inward, outward = here.recv()
        yield ProxyAddress(inward=loopback(inward), outward=loopback(outward))
    except EOFError as e:
        raise RuntimeError(f"the 0MQ proxy ended early, exit code {process.exitcode}") from e
    finally:
        process.kill()  # its forwarding loop ends no other way
        process.join()
        here.close()
