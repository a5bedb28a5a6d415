"""From the columns of a file to spectra, reduced as those of a live run are."""

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from nearedge.callbacks.instrument import Instrument, Roles
from nearedge.callbacks.measurement import Measurement, Run
from nearedge.callbacks.reduce import reduce
from nearedge.callbacks.repeats import UNLIKE, of_steps
from nearedge.callbacks.signal import RefusedError
from nearedge.models import Array, Rejected, Spectrum
from nearedge.models.normalise.edges import edge_energy
from nearedge.streaming.sources.files.channels import Channels, channels_of
from nearedge.streaming.sources.files.chosen import Chosen
from nearedge.streaming.sources.files.table import Table, UnreadableFileError

_HC = 12398.419843320026  # eV Å, exact in the SI of 2019
_EV = {"ev": 1.0, "kev": 1e3}
LEAST_SWEEP = 10  # rows of a sweep of its own
LEAST_RANGE = 10.0  # eV that a sweep covers before it can turn back


def spectra_of(
    table: Table, instrument: Instrument, chosen: Chosen | None = None
) -> Iterator[tuple[str, Spectrum | Rejected, Channels]]:
    """Yield each sweep over the edge that a table holds, with its name and what it is made of.

    A table that goes over the energies again holds several scans: they may be of unlike things, so
    they are not averaged.

    Parameters
    ----------
    table
        Columns of a file.
    instrument
        Section of the profile: what the file does not state.
    chosen
        Columns that the user names.

    Raises
    ------
    UnreadableFileError
        If columns are missing, or energies have no known unit.
    """
    channels = channels_of(table, instrument, chosen)
    energy = _energy(table, channels, instrument)
    bounds = sweeps(energy)
    for number, (begin, end) in enumerate(bounds, start=1):
        name = f"{table.name} sweep {number}".strip() if len(bounds) > 1 else table.name
        spectrum = _spectrum(table, channels, instrument, energy, slice(begin, end))
        yield name, spectrum, channels


def sweeps(energy: Array) -> list[tuple[int, int]]:
    """Return where each sweep over the energies begins and ends.

    A sweep ends where the scan has gone back by half of what it covered; a point or two that are
    measured again are no new sweep.

    Parameters
    ----------
    energy
        (n,) eV in the order of measurement.
    """
    turns = [0, *_turns(energy), len(energy)]
    kept = [0]
    for begin, end in itertools.pairwise(turns[1:]):
        if begin - kept[-1] >= LEAST_SWEEP and end - begin >= LEAST_SWEEP:
            kept.append(begin)
    return list(zip(kept, [*kept[1:], len(energy)], strict=True))


def _turns(energy: Array) -> Iterator[int]:
    """Yield where the direction changes for good: the first row of each sweep but the first."""
    values = energy[np.isfinite(energy)].tolist()
    rows = np.flatnonzero(np.isfinite(energy)).tolist()
    start, extreme, sign = 0, 0, 0.0
    for at, value in enumerate(values):
        sign = sign or float(np.sign(value - values[start]))
        covered = abs(values[extreme] - values[start])
        # the next reading counts as well: one that is wrong turns nothing
        back = min(sign * (values[extreme] - later) for later in values[at : at + 2])
        if sign * (value - values[extreme]) >= 0:
            extreme = at
        elif covered >= LEAST_RANGE and back > covered / 2:
            # back at once, or point by point from the turning point on
            start = at if at - extreme == 1 else extreme + 1
            yield rows[start]
            extreme, sign = at, float(np.sign(value - values[start]))


def _spectrum(
    table: Table, channels: Channels, instrument: Instrument, energy: Array, rows: slice
) -> Spectrum | Rejected:
    measurement = Measurement(
        run=Run(uid="", scan_id=None, time=0.0, start={}),
        stream="",
        spectrum=table.name,
        columns={"energy": energy[rows], **_by_role(table, channels.roles, rows)},
        complete=table.complete,
        final=True,
        time=0.0,
        flags=table.flags,
        keys=tuple(table.columns),
    )
    own = _as_measured(table, channels, instrument)
    spectrum = reduce(_examined(measurement, own), own)
    if isinstance(spectrum, Rejected):
        return spectrum
    spectrum = replace(spectrum, formula=_formula(table.header))
    if channels.reference is None:
        return spectrum
    return replace(spectrum, reference=table.columns[channels.reference][rows])


def _examined(measurement: Measurement, instrument: Instrument) -> Measurement:
    """Return a measurement with what readings of the same energies tell of each other."""
    try:
        unlike = of_steps(measurement, instrument).unlike
    except RefusedError:  # of which the reduction tells
        return measurement
    flags = {*measurement.flags, *([UNLIKE] if unlike else [])}
    return replace(measurement, unlike=unlike, flags=tuple(sorted(flags)))


def _formula(header: dict[str, str]) -> str:
    """Return the sample's formula, or what else names its elements, where the file says so."""
    names = ("sample.formula", "sample.stoichiometry", "sample.elements")
    return next((header[name].strip() for name in names if header.get(name, "").strip()), "")


def _as_measured(table: Table, channels: Channels, instrument: Instrument) -> Instrument:
    """Return the instrument as the file shows it."""
    header = table.header
    return instrument.model_copy(
        update={
            "roles": channels.roles.model_copy(update={"energy": channels.energy}),
            "signal": channels.signal,
            "units": "eV",
            "technique": table.technique or instrument.technique,
            "absorber": header.get("element.symbol") or instrument.absorber,
            "edge": header.get("element.edge") or instrument.edge,
        }
    )


def _by_role(table: Table, roles: Roles, rows: slice) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for role in ("i0", "it", "ir", "mu", "spectrum"):
        if name := getattr(roles, role):
            found[role] = table.columns[name][rows]
    for role in ("if_", "icr", "ocr"):
        if names := getattr(roles, role):
            found[role] = np.column_stack([table.columns[name][rows] for name in names])
    return found


def _energy(table: Table, channels: Channels, instrument: Instrument) -> Array:
    """Return energies in eV, from the monochromator's angle where there are none."""
    if channels.energy is None:
        return _from_angle(table, channels.angle or "")
    values = table.columns[channels.energy]
    unit = table.units.get(channels.energy, "").lower()
    if not unit:
        return values * _scale(values, table, instrument)
    if unit not in _EV:
        raise UnreadableFileError(f"energies are in {unit!r}; expected eV or keV")
    return values * _EV[unit]


def _scale(values: Array, table: Table, instrument: Instrument) -> float:
    """Return what makes eV of energies without a unit: the profile's, unless only the other fits.

    With the edge inside the scan in keV and far outside it in eV, nobody has to be asked.
    """
    told = _EV[instrument.units.lower()]
    other = 1e3 if told == 1.0 else 1.0
    absorber = table.header.get("element.symbol") or instrument.absorber
    try:
        edge = edge_energy(absorber, table.header.get("element.edge") or instrument.edge)
    except KeyError:
        return told
    return other if _covers(values * other, edge) and not _covers(values * told, edge) else told


def _covers(energy: Array, edge: float) -> bool:
    lo, hi = np.nanmin(energy, initial=np.inf), np.nanmax(energy, initial=-np.inf)
    return bool(0 < lo < edge < hi)  # what goes below 0 is relative to the edge


def _from_angle(table: Table, name: str) -> Array:
    try:
        spacing = float(table.header.get("mono.d_spacing", "").split()[0])
    except (ValueError, IndexError):
        raise UnreadableFileError(
            f"angles in column {name} without a numeric Mono.d_spacing in the header; expected "
            "that, or a column of energies"
        ) from None
    radians = table.units.get(name, "degrees").lower().startswith("rad")
    angle = table.columns[name] if radians else np.radians(table.columns[name])
    with np.errstate(divide="ignore"):
        return np.asarray(_HC / (2 * spacing * np.sin(angle)))
