"""All that a notebook needs: results out of a catalog, as figures, tables and structures.

>>> from nearedge.streaming.client import Results, plot, plot_trend, trend
>>> results = Results.open("http://127.0.0.1:8000/api/v1", api_key="…")  # doctest: +SKIP
>>> plot(results.latest())  # doctest: +SKIP
>>> trend(results.search(absorber="Si"))  # doctest: +SKIP
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nearedge.streaming.answers.merging import MergeError
from nearedge.streaming.answers.plots import plot, plot_cn, plot_rdf, plot_spectrum, plot_trend
from nearedge.streaming.answers.trend import trend
from nearedge.streaming.catalog.maps import Maps, StoredMap
from nearedge.streaming.catalog.results import Result, Results
from nearedge.streaming.catalog.storing import Storing
from nearedge.streaming.commands.merging import MergeOptions, merge_stored
from nearedge.streaming.commands.opening import connected, maps_box, opened_box
from nearedge.streaming.settings.configuration import load_profile

__all__ = [
    "Maps",
    "MergeError",
    "Result",
    "Results",
    "StoredMap",
    "merge",
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


def merge(
    results: Results,
    spectra: Sequence[str | Result],
    *config: str | Path,
    most_shift: float | None = None,
    anyway: bool = False,
) -> Result:
    """Average stored repeats of one spectrum, invert the mean, and store that as a result.

    Each is aligned with the least noisy one and counts by the inverse square of its noise. What
    became of each stands in ``metadata["merged_from"]`` of the result. The same spectra give the
    same result again, which is inverted once.

    Parameters
    ----------
    results
        Where they are stored, and the merge will be.
    spectra
        Two or more: results, their keys, scan ids as text, or uids of runs.
    config
        As for `opened`: the model to invert with.
    most_shift
        How far a spectrum may be moved in energy, eV; 0: not at all; None: 0.5 eV (EELS: 3 eV).
    anyway
        Whether to merge spectra that do not agree, too; the result is flagged ``unlike-averaged``.

    Raises
    ------
    MergeError
        If one is not there or has no answer, or if they are no repeats of one spectrum.
    """
    profile = load_profile(tuple(map(str, config)), environ=os.environ)
    names = [one.key if isinstance(one, Result) else one for one in spectra]
    put = Storing(lambda: results.container, config=profile.digest()).put
    options = MergeOptions(most=most_shift, anyway=anyway)
    return merge_stored(profile, names, results, put=put, options=options).result


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
