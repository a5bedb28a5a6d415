"""How the documents of runs become named spectra."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.measurement import Measurement
from nearedge.callbacks.prepare import Supports

MAP = "map"
"""What stands in the place of a spectrum's name for the map of a whole stream."""


def _none(run_uid: str) -> Sequence[str]:
    return ()


def _plain(run_uid: str, stream: str, name: str) -> str:
    return f"{run_uid}/{stream}/{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """What decides over a spectrum before it is inverted, the same from every source.

    Attributes
    ----------
    instrument
        How documents become spectra.
    key
        Names the result of a measurement.
    supports
        Whether the model knows an absorber and edge.
    part_key
        Names a block of pixels, or a map, of the uid of a run, its stream and a name.
    settings
        Digest of the settings that decide how a run is read.
    only_keys
        Returns the names that the only result of a run may have; none, when a run may have
        several results.
    """

    instrument: Instrument
    key: Callable[[Measurement], str]
    supports: Supports
    part_key: Callable[[str, str, str], str] = _plain
    settings: str = ""
    only_keys: Callable[[str], Sequence[str]] = _none
