"""The edge of nearedge: sources of documents, the service, the catalog and the command line.

Names are imported when they are first used, so that importing this package costs nothing.
"""

from importlib import import_module
from typing import Any

_MODULES = {
    "ConfigError": "settings.configuration",
    "load_profile": "settings.configuration",
    "Ledger": "ledger.ledger",
    "State": "ledger.job",
    "Profile": "settings.profile",
    "Results": "catalog.results",
    "Row": "ledger.row",
    "Service": "service.service",
    "Worker": "workers.worker",
    "connected": "commands.opening",
    "ledger_for": "commands.opening",
    "serving": "commands.opening",
}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
