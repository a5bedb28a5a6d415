"""All that a notebook needs: results out of a catalog, as figures, tables and structures.

>>> from nearedge.streaming.client import Results, plot, plot_trend, trend
>>> results = Results.open("http://127.0.0.1:8000/api/v1", api_key="…")  # doctest: +SKIP
>>> plot(results.latest())  # doctest: +SKIP
>>> trend(results.search(absorber="Si"))  # doctest: +SKIP
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nearedge.streaming.answers.plots import plot, plot_cn, plot_rdf, plot_spectrum, plot_trend
from nearedge.streaming.answers.trend import trend
from nearedge.streaming.catalog.maps import Maps, StoredMap
from nearedge.streaming.catalog.results import Result, Results
from nearedge.streaming.commands.opening import connected, maps_box, opened_box
from nearedge.streaming.settings.configuration import load_profile

__all__ = [
    "Maps",
    "Result",
    "Results",
    "StoredMap",
    "opened",
    "opened_maps",
    "plot",
    "plot_cn",
    "plot_rdf",
    "plot_spectrum",
    "plot_trend",
    "trend",
]


@contextmanager
def opened(*config: str | Path) -> Iterator[Results]:
    """Yield the results in the catalog that a profile names.

    Parameters
    ----------
    config
        Names of shipped profiles or paths of YAML files, the later over the earlier, as after
        `nearedge run -c`. Where they name no server, the catalog's files are served until the end
        of the block: no service may have them open meanwhile.

    Raises
    ------
    ConfigError
        If a profile is not there or not valid.
    """
    profile = load_profile(tuple(map(str, config)), environ=os.environ)
    with opened_box(profile) as box:
        yield Results(box)


@contextmanager
def opened_maps(*config: str | Path) -> Iterator[Maps]:
    """Yield the maps in the catalog that a profile names; parameters as of `opened`."""
    profile = load_profile(tuple(map(str, config)), environ=os.environ)
    with connected(profile) as server:
        box = maps_box(profile, server)
        try:
            yield Maps(box)
        finally:
            box.context.http_client.close()
