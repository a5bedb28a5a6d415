"""The answer as a device of an acquisition session; needs Bluesky and pyzmq alone.

>>> from nearedge.streaming.acquisition import NearEdge
>>> nearedge = NearEdge(name="nearedge")  # doctest: +SKIP
>>> RE.subscribe(nearedge.follow)  # doctest: +SKIP

Names are imported when they are first used: a session without ophyd-async has `NearEdge`.
"""

from importlib import import_module
from typing import Any

_MODULES = {
    "LiveAnswer": "answer",
    "Answers": "answers",
    "AsyncNearEdge": "async_device",
    "NearEdge": "device",
    "NoAnswerError": "answers",
}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
