import pytest

from nearedge.streaming.settings.exposure import is_loopback


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:5578",
        "127.9.9.9:1",
        "localhost:5578",
        "tcp://127.0.0.1:5578",
        "[::1]:5578",
        "ipc:///run/proxy",
        "http://localhost:8000/api/v1",
        "http://127.0.0.1:8000/api/v1?x=1",
    ],
)
def test_this_machine(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0:5578",
        "10.0.0.1:5578",
        "tcp://*:5578",
        "localhost.example.org:5578",
        "127.0.0.1.example.org:5578",
        "http://user@example.org/127.0.0.1",
        "http://127.0.0.1@example.org/",
        "[::]:5578",
        "[broken:1",
        "5578",
        "",
    ],
)
def test_elsewhere(address: str) -> None:
    assert not is_loopback(address)
