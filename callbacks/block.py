"""Many spectra of one run at once: some of its pixels, and what its map is once it has ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from nearedge.callbacks.measurement import Run
from nearedge.models import Array, Rejected
from nearedge.models.many_spectra import Spectra
from nearedge.models.maps.image import ScanAxis
from nearedge.models.spectrum import freeze_arrays


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapLayout:
    """Over what the pixels of a run lie.

    Attributes
    ----------
    axes
        The axes of the map; the last runs fastest.
    grows
        Whether the first axis is that of the events, of which nobody knows how many there will be:
        it has as many positions as have come.
    """

    axes: tuple[ScanAxis, ...]
    grows: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels along each axis, as far as known."""
        return tuple(len(axis.positions) for axis in self.axes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """Some pixels of a run, in the order in which they were measured.

    Attributes
    ----------
    run, stream
        The run and the stream whose pixels they are.
    first
        The number of the first of them in the order of the run, counted from 0. With their count it
        names the block, so it must not depend on when the documents came.
    places
        (p,) where each lies in the map, counted through with the last axis running fastest.
    spectra
        One for each pixel, eV; None where they could not be read.
    refused
        Why there are none, or None.
    layout
        The map, as far as known. Of one that grows, the first axis has the positions of this
        block's events alone, of which the first is number ``first`` // pixels of an event.
    time
        When the last was measured, seconds since the epoch.
    """

    run: Run
    stream: str
    first: int
    places: NDArray[np.int64]
    spectra: Spectra | None
    layout: MapLayout
    time: float
    refused: Rejected | None = None

    def __post_init__(self) -> None:
        if (self.spectra is None) != (self.refused is not None):
            raise ValueError("expected either spectra or why there are none")
        freeze_arrays(self)

    def __len__(self) -> int:
        return len(self.places)

    @property
    def last(self) -> int:
        """The number of the last pixel in the order of the run."""
        return self.first + len(self) - 1

    @property
    def name(self) -> str:
        """Its name within the stream."""
        return f"{self.first}-{self.last}"

    def some(self, first: int, last: int) -> "Block":
        """Return the part with the pixels of these numbers, both included."""
        rows = slice(first - self.first, last - self.first + 1)
        spectra = None if self.spectra is None else self.spectra.some(rows)
        return replace(
            self,
            first=first,
            places=self.places[rows],
            spectra=spectra,
            layout=self._layout_of(first, last),
        )

    def _layout_of(self, first: int, last: int) -> MapLayout:
        """Return the map as some of the pixels know it: of one that grows, with their events."""
        if not self.layout.grows:
            return self.layout
        events, *inner = self.layout.axes
        per_event = int(np.prod(self.layout.shape[1:], dtype=int))
        begin = self.first // per_event
        own = slice(first // per_event - begin, last // per_event - begin + 1)
        cut = replace(events, positions=events.positions[own])
        return MapLayout(axes=(cut, *inner), grows=True)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapEnd:
    """What a run's map is, once the run has ended.

    Attributes
    ----------
    run, stream
        The run and the stream.
    layout
        The map; the positions are those of all pixels.
    pixels
        How many should have been measured.
    time
        When the last was measured, seconds since the epoch.
    flags
        What is wrong with the run: ``aborted``, ``gap`` …
    along
        Scalars that the profile names, as they were read at each place of the axes of the events:
        each has the shape of the first axes, NaN where it was not read.
    context
        Other numbers that were measured with the map, as those of a single spectrum.
    units
        Units of both, of those that have any.
    """

    run: Run
    stream: str
    layout: MapLayout
    pixels: int
    time: float
    flags: tuple[str, ...] = ()
    along: Mapping[str, Array] = field(default_factory=dict)
    context: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
