"""What a profile says of an instrument: which data key plays which role, and how to read it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from nearedge.models import Technique


class Settings(BaseModel):
    """A part of a profile, whose unknown keys are errors and whose values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Roles(Settings):
    """Data keys of the instrument, by the role that they play."""

    energy: str | None = Field(
        None, description="photon energy, or the energy axis (n,) of a whole spectrum"
    )
    i0: str | None = Field(None, description="incident intensity before the sample")
    it: str | None = Field(None, description="transmitted intensity after the sample")
    ir: str | None = Field(None, description="intensity after the reference foil")
    if_: tuple[str, ...] = Field(
        (),
        description="fluorescence counts, one key per detector element (or one key with an array)",
    )
    roi: tuple[int, int] | None = Field(
        None,
        description="region of interest: the first channel of the line, and the one past its last, "
        "where if_ names whole fluorescence spectra (channels,) or (elements, channels)",
    )
    icr: tuple[str, ...] = Field(
        (), description="input count rate per element, for the dead-time correction"
    )
    ocr: tuple[str, ...] = Field(
        (), description="output count rate per element, for the dead-time correction"
    )
    mu: str | None = Field(None, description="absorption already calculated by the instrument")
    spectrum: str | None = Field(
        None, description="whole core-loss spectrum (n,) per event, counts"
    )
    low_loss: str | None = Field(None, description="whole low-loss spectrum (m,) per event, counts")
    dispersion: float | str | None = Field(
        None, description="eV per channel: a data key, a configuration key or a number"
    )
    offset: float | str | None = Field(
        None, description="eV of channel 0: a data key, a configuration key or a number"
    )
    low_loss_offset: float | str | None = Field(
        None,
        description="eV of channel 0 of the low-loss spectrum: a data key, a configuration key "
        "or a number",
    )
    context: tuple[str, ...] = Field(
        (),
        description="scalars that come first in the result, for trends: pressure, temperature …; "
        "those of the baseline and the start document are carried along without being named",
    )

    @field_validator("roi")
    @classmethod
    def _holds_channels(cls, roi: tuple[int, int] | None) -> tuple[int, int] | None:
        if roi is not None and not 0 <= roi[0] < roi[1]:
            raise ValueError("expected two channels, counted from 0, the first below the second")
        return roi


class FinishSettings(Settings):
    """When a spectrum is finished."""

    when: Literal["stop", "event", "events", "stream", "pixel"] = Field(
        "stop",
        description="stop: one spectrum per run, of all its streams; event: every event is one; "
        "events: every n events (averaged for whole spectra, one per energy sweep for step "
        "scans); stream: one per stream; pixel: the run is a map, its pixels are answered many at "
        "a time while they come, into one result",
    )
    n: int = Field(1, ge=1, description="how many events make one spectrum (when: events)")


class SplitSettings(Settings):
    """How a run that moves more than the energy becomes a spectrum for each place."""

    axes: tuple[str, ...] = Field(
        (),
        description="data keys that tell places of the sample, temperatures … apart, besides those "
        "that the plan says it moves",
    )
    most: int = Field(
        64,
        ge=1,
        description="most spectra that one run, or the pixels of one frame, may become; of more, "
        "one mean remains, flagged unlike-averaged",
    )
    unlike: Literal["flag", "reject"] = Field(
        "flag",
        description="what becomes of the mean of readings that are not repeats of one spectrum; "
        "flag: an answer flagged unlike-averaged; reject: no answer",
    )


class RecogniseSettings(Settings):
    """Start-document entries that mark a run as no sample. One that matches is enough."""

    dark: dict[str, str | bool | int] = Field(
        {"dark_frame": True, "scan_type": "dark"},
        description="metadata of dark runs; their offsets are subtracted from what follows",
    )
    reference: dict[str, str | bool | int] = Field(
        {"scan_type": "reference"}, description="metadata of reference runs"
    )
    calibration: dict[str, str | bool | int] = Field(
        {"scan_type": "calibration"}, description="metadata of calibration runs"
    )


class XanesSettings(Settings):
    """Larch's pre_edge parameters. A null is Larch's own default."""

    technique: Literal["xanes"] = "xanes"
    e0: float | None = Field(None, description="edge energy, eV; null: found from the derivative")
    step: float | None = Field(None, description="edge step; null: fitted")
    pre1: float | None = Field(None, description="start of the pre-edge range, eV from e0")
    pre2: float | None = Field(None, description="end of the pre-edge range, eV from e0")
    norm1: float | None = Field(None, description="start of the post-edge range, eV from e0")
    norm2: float | None = Field(None, description="end of the post-edge range, eV from e0")
    nnorm: int | None = Field(None, ge=0, le=3, description="degree of the post-edge polynomial")
    nvict: int = Field(0, ge=0, le=4, description="energy exponent of the pre-edge line")
    energy_shift: float | Literal["reference"] = Field(
        0.0,
        description="eV added to the energies, or 'reference': what brings the foil's e0 to its "
        "table value",
    )
    reference_edge: str | None = Field(
        None, description="edge of the reference foil, such as 'Si K'"
    )


class SelfAbsorptionSettings(Settings):
    """Whether fluorescence is damped by the sample itself, and how it is put right."""

    sample: Literal["unknown", "thin", "thick"] = Field(
        "unknown",
        description="thin: thin or dilute, nothing is done. thick: it is even and takes up the "
        "whole beam, so the spectrum is corrected; `composition` or the run must give its formula. "
        "unknown: a spectrum that would be damped by a tenth is flagged",
    )
    incidence_deg: float = Field(
        45.0, gt=0, le=90, description="angle of the beam to the sample's surface, degrees"
    )
    exit_deg: float = Field(
        45.0, gt=0, le=90, description="angle of the detector to the sample's surface, degrees"
    )


class EelsSettings(Settings):
    """Background and deconvolution of a core-loss edge, in HyperSpy's terms."""

    technique: Literal["eels"] = "eels"
    e0: float | None = Field(None, description="edge onset, eV; null: found from the derivative")
    background: tuple[float, float] = Field(
        (-50.0, -5.0), description="power-law fit window, eV from the edge's table energy"
    )
    align_zero_loss: bool = Field(
        True,
        description="shift the axis so that the zero-loss peak is at 0, when a low-loss spectrum "
        "is there",
    )
    deconvolve: bool = Field(
        False, description="Fourier-ratio deconvolution with the low-loss spectrum"
    )
    fwhm: float | None = Field(
        None,
        gt=0,
        description="eV, of the Gaussian that re-broadens the deconvolved spectrum; null: the "
        "zero-loss peak's",
    )
    step: tuple[float, float] = Field(
        (20.0, 60.0),
        description="window that is normalised to 1, eV from e0; the default is that of near-edge "
        "XANES scans, and of the spectra that the model learned from",
    )
    energy_shift: float = Field(0.0, description="eV added to the energies")


Normalisation = Annotated[XanesSettings | EelsSettings, Field(discriminator="technique")]


class Instrument(Settings):
    """One instrument and technique."""

    technique: Technique = Field(Technique.XANES, description="xanes or eels")
    absorber: str = Field("Si", description="chemical symbol of the absorbing element")
    edge: str = Field("K", description="edge: K, L1, L2, L3, …")
    composition: str = Field(
        "",
        description="formula of the sample, or the elements in it, such as 'Fe2O3' or 'Fe O'; "
        "empty: what the run or file says of it",
    )
    signal: Literal["transmission", "fluorescence", "reference", "mu", "spectrum"] = Field(
        "transmission",
        description="which roles make the absorption: ln(i0/it), sum(if_)/i0, ln(it/ir), mu, or "
        "the spectrum itself",
    )
    units: Literal["eV", "keV"] = Field(
        "eV", description="unit of the energies that the instrument reports"
    )
    streams: tuple[str, ...] = Field(("primary",), description="streams that hold spectra")
    finish: FinishSettings = FinishSettings()
    split: SplitSettings = SplitSettings()
    roles: Roles = Roles()
    omit_elements: tuple[int, ...] = Field(
        (), description="fluorescence elements left out, counted from 0"
    )
    saturation: float | None = Field(
        None,
        gt=0,
        description="reading at and above which the detector of the signal is saturated, in its "
        "own units; null: unknown",
    )
    self_absorption: SelfAbsorptionSettings = SelfAbsorptionSettings()
    recognise: RecogniseSettings = RecogniseSettings()
    normalise: Normalisation = XanesSettings()
    partial_every_s: float = Field(
        1.0,
        ge=0,
        description="least time between partial answers of a running step scan, s; 0: no partial "
        "answers",
    )
    readable_roots: tuple[str, ...] = Field(
        (),
        description="folders below which file-backed data may be opened; none: file-backed data "
        "is refused",
    )

    @model_validator(mode="before")
    @classmethod
    def _normalise_as_measured(cls, data: Any) -> Any:
        """Let ``normalise`` follow ``technique`` where it names none itself."""
        if not isinstance(data, dict):
            return data
        normalise = data.get("normalise") or {}
        if not isinstance(normalise, dict) or "technique" in normalise:
            return data
        technique = str(data.get("technique", Technique.XANES))
        return data | {"normalise": {"technique": technique, **normalise}}

    @model_validator(mode="after")
    def _maps_can(self) -> "Instrument":
        """Refuse by name what single spectra can and the pixels of a map cannot."""
        if self.finish.when != "pixel":
            return self
        if self.saturation is not None:
            raise ValueError(
                "instrument.saturation is not looked for in the pixels of a map: leave it out, or "
                "choose another instrument.finish.when"
            )
        if isinstance(self.normalise, XanesSettings) and self.normalise.energy_shift == "reference":
            raise ValueError(
                "the pixels of a map are not aligned by a foil: give normalise.energy_shift a "
                "number, or choose another instrument.finish.when"
            )
        return self
