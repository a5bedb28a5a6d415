"""A profile in words: what a service with it would do, and which of its settings do not fit."""

from collections.abc import Iterator

from nearedge.callbacks.instrument import Instrument
from nearedge.streaming.settings.credential import CredentialError, refuse_secret_in
from nearedge.streaming.settings.exposure import bus_exposure, source_exposure
from nearedge.streaming.settings.profile import CatalogSettings, Profile


def sentences(profile: Profile) -> list[str]:
    """Return what a service with this profile would do."""
    instrument = profile.instrument
    edge = f"{instrument.absorber} {instrument.edge}"
    return [
        profile.title or "a profile without a title",
        f"reads documents from the 0MQ proxy at {profile.source.address} ({_prefix(profile)})",
        f"measures the {edge} edge by {instrument.technique.value.upper()}, {_signal(instrument)}",
        f"takes the energy from {_energy(instrument)}",
        f"takes {_finish(instrument)}",
        *_extras(instrument),
        f"inverts with the model {profile.worker.model} on device {profile.worker.device}, "
        f"{profile.worker.samples} samples each, {profile.worker.quality.value} quality",
        f"writes results to {results_place(profile.catalog)}; raw runs are in "
        f"{profile.catalog.raw!r}",
        _publication(profile),
        f"has the settings digest {profile.digest()}",
    ]


def results_place(catalog: CatalogSettings) -> str:
    """Return where results are kept, and whether they stay there."""
    if catalog.uri is not None:
        return f"{catalog.results!r} at {catalog.uri}"
    own = f"{catalog.results!r} of an embedded Tiled server"
    if catalog.directory is not None:
        return f"{own} in the folder {catalog.directory}"
    return (
        f"{own} in a temporary folder that is gone when it ends: set catalog.directory to a "
        "folder, or catalog.uri to a server, to keep them"
    )


def inconsistencies(profile: Profile) -> tuple[str, ...]:
    """Return a sentence on each pair of settings that do not fit each other."""
    instrument = profile.instrument
    return (
        *_missing_roles(instrument),
        *_missing_energy(instrument),
        *_unmatched_elements(instrument),
        *_unmatched_technique(instrument),
        *_exposed(profile),
    )


_NEEDED: dict[str, tuple[str, ...]] = {
    "transmission": ("i0", "it"),
    "fluorescence": ("i0", "if_"),
    "reference": ("it", "ir"),
    "mu": ("mu",),
    "spectrum": ("spectrum",),
}


def _missing_roles(instrument: Instrument) -> Iterator[str]:
    for role in _NEEDED[instrument.signal]:
        if not getattr(instrument.roles, role):
            yield (
                f"instrument.signal is {instrument.signal}, which needs the role {role}: set "
                f"instrument.roles.{role} to a data key"
            )


def _missing_energy(instrument: Instrument) -> Iterator[str]:
    roles = instrument.roles
    by_axis = roles.offset is not None and roles.dispersion is not None
    if roles.energy is None and not by_axis:
        yield (
            "no energy axis: set instrument.roles.energy, or both instrument.roles.offset and "
            "instrument.roles.dispersion"
        )
    if roles.energy is None and by_axis and instrument.signal != "spectrum":
        yield (
            "instrument.roles.offset and dispersion make an axis of whole spectra only: set "
            "instrument.roles.energy"
        )


def _unmatched_elements(instrument: Instrument) -> Iterator[str]:
    roles = instrument.roles
    sizes = {len(roles.if_), len(roles.icr), len(roles.ocr)}
    if (roles.icr or roles.ocr) and len(sizes) > 1:
        yield (
            f"found {len(roles.if_)} if_, {len(roles.icr)} icr and {len(roles.ocr)} ocr keys: the "
            "dead-time correction needs one of each per element"
        )
    if len(roles.if_) > 1 and set(instrument.omit_elements) >= set(range(len(roles.if_))):
        yield "instrument.omit_elements leaves out every element of instrument.roles.if_"


def _unmatched_technique(instrument: Instrument) -> Iterator[str]:
    normalise = instrument.normalise
    if normalise.technique != instrument.technique.value:
        yield (
            f"instrument.technique is {instrument.technique.value} but instrument.normalise is "
            f"for {normalise.technique}: set instrument.normalise.technique"
        )
    if normalise.technique == "xanes" and normalise.energy_shift == "reference":
        if instrument.roles.ir is None:
            yield "normalise.energy_shift is 'reference', which needs the role ir"
        if normalise.reference_edge is None:
            yield "normalise.energy_shift is 'reference': set normalise.reference_edge, as 'Si K'"
    if normalise.technique == "eels" and normalise.deconvolve and not instrument.roles.low_loss:
        yield "normalise.deconvolve needs a low-loss spectrum: set instrument.roles.low_loss"


def _exposed(profile: Profile) -> Iterator[str]:
    for problem in (source_exposure(profile.source), bus_exposure(profile.bus)):
        if problem:
            yield problem
    try:
        refuse_secret_in(profile.catalog.uri)
    except CredentialError as e:
        yield str(e)


def _prefix(profile: Profile) -> str:
    prefix = profile.source.prefix
    return f"only those with prefix {prefix!r}" if prefix else "those without a prefix"


def _publication(profile: Profile) -> str:
    bus = profile.bus
    if bus.address is None:
        return "publishes no answers: bus.address is null"
    readers = "those with a key" if bus.curve else "whoever is on this machine"
    return f"publishes answers at {bus.address}, prefix {bus.prefix!r}, for {readers}"


def _signal(instrument: Instrument) -> str:
    roles = instrument.roles
    elements = [key for k, key in enumerate(roles.if_) if k not in instrument.omit_elements]
    corrected = ", dead-time corrected," if roles.icr else ""
    return {
        "transmission": f"ln({roles.i0} / {roles.it})",
        "fluorescence": f"({' + '.join(elements)}){corrected} / {roles.i0}",
        "reference": f"ln({roles.it} / {roles.ir})",
        "mu": f"{roles.mu} as it is",
        "spectrum": f"{roles.spectrum} as it is",
    }[instrument.signal]


def _energy(instrument: Instrument) -> str:
    roles = instrument.roles
    if roles.energy is not None:
        return f"{roles.energy}, in {instrument.units}"
    return f"{roles.offset} + {roles.dispersion} × channel, in eV"


def _finish(instrument: Instrument) -> str:
    finish = instrument.finish
    streams = ", ".join(instrument.streams)
    each = {
        "stop": "one spectrum of each run, when it stops",
        "event": "every event as a spectrum",
        "events": f"every {finish.n} events as a spectrum",
        "stream": "one spectrum of each stream, when the run stops",
        "pixel": "one map of each run, whose pixels are answered as they come",
    }
    return f"{each[finish.when]}, from the stream {streams}"


def _extras(instrument: Instrument) -> Iterator[str]:
    roles = instrument.roles
    if roles.low_loss:
        axis = roles.low_loss_offset
        known = f"channel 0 at {axis}" if axis is not None else "left out: low_loss_offset is unset"
        yield f"takes the low-loss spectrum from {roles.low_loss}, {known}"
    if roles.context:
        yield f"carries along {', '.join(roles.context)}"
    if instrument.readable_roots:
        yield f"opens files below {', '.join(instrument.readable_roots)} and nowhere else"
    else:
        yield "opens no files: instrument.readable_roots is empty"
