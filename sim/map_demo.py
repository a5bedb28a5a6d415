"""A simulated map from the file to the comparison with its truth."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from nearedge.sim.maps import KINDS, MapComparison, SimulatedMap, compare_map, write_map
from nearedge.streaming.commands.mapping import MapOptions, Mapping, in_words
from nearedge.streaming.settings.profile import Profile
from nearedge.streaming.sources.files.maps import read_map
from nearedge.streaming.workers.worker import load_inverter

if TYPE_CHECKING:
    from nearedge.models.answering.several import Several


def run_map_demo(
    kind: str, profile: Profile, folder: Path, tell: Callable[[str], None]
) -> MapComparison:
    """Simulate a map, write it, answer it as `nearedge map` does, and compare it with the truth.

    Parameters
    ----------
    kind
        One of `nearedge.sim.maps.KINDS`.
    profile
        The profile of the worker; the instrument is that of the map.
    folder
        Where raw.h5 and map.h5 are written.
    tell
        Takes each line for people.
    """
    simulated = KINDS[kind](seed=profile.simulator.seed)
    raw, out = folder / "raw.h5", folder / "map.h5"
    write_map(simulated, raw)
    profile = _profile_of(simulated, profile)
    worker = profile.worker
    model = load_inverter(worker.model_copy(update={"device": worker.devices[0]}))
    mapping = Mapping(profile, cast("Several", model), MapOptions())
    report = mapping.run(read_map(raw, profile.instrument), out, source=str(raw))
    for line in in_words(report):
        tell(line)
    comparison = compare_map(simulated, out)
    for line in comparison.lines():
        tell(line)
    return comparison


def _profile_of(simulated: SimulatedMap, profile: Profile) -> Profile:
    """Return the profile with an instrument for the map."""
    told = {"technique": simulated.technique, "composition": "SiO2", "signal": "mu"}
    instrument = {"absorber": "Si", "edge": "K", **told}
    return profile.model_copy(
        update={"instrument": type(profile.instrument).model_validate(instrument)}
    )
