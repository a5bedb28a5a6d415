"""The part of a Tiled server's configuration that lets it send documents, results and trends.

For a server of one's own, `python -m nearedge.streaming.catalog.server_config` prints it as YAML.
"""

from typing import Any

import yaml

from nearedge.streaming.answers.forms import EXPORTS
from nearedge.streaming.catalog.layout import ENSEMBLE_SPEC

MODULE = "nearedge.streaming.catalog.exporters"
DOCUMENTS = {"application/json-seq": "bluesky_tiled_plugins.exporters:json_seq_exporter"}
"""Without it a server refuses to give the documents of a run (406)."""
ROUTERS = ["nearedge.streaming.catalog.router:router"]


def media_types() -> dict[str, dict[str, str]]:
    """Return Tiled's ``media_types``, by spec: which function makes which media type."""
    results = {form.media_type: f"{MODULE}:{name}" for name, form in EXPORTS.items()}
    return {"BlueskyRun": DOCUMENTS, ENSEMBLE_SPEC: results}


def file_extensions() -> dict[str, str]:
    """Return Tiled's ``file_extensions``: the names that ``?format=`` takes."""
    return {name: form.media_type for name, form in EXPORTS.items()}


def config() -> dict[str, Any]:
    """Return all of it, as it stands in a configuration."""
    return {
        "media_types": media_types(),
        "file_extensions": file_extensions(),
        "routers": ROUTERS,
    }


if __name__ == "__main__":
    print(yaml.safe_dump(config(), sort_keys=False), end="")
