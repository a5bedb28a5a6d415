"""A map of spectra: where its pixels lie."""

from dataclasses import dataclass

import numpy as np

from nearedge.models.many_spectra import Spectra
from nearedge.models.maps.binning import bin_pixels
from nearedge.models.spectrum import Array, freeze_arrays


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScanAxis:
    """One axis of a map.

    Attributes
    ----------
    name, unit
        As the instrument calls them; the unit is empty where it is not known.
    positions
        (k,) of the pixels along it.
    """

    name: str
    unit: str
    positions: Array

    def __post_init__(self) -> None:
        freeze_arrays(self)

    def binned(self, by: int) -> "ScanAxis":
        """Return the axis of pixels that are put together by ``by``."""
        starts = np.arange(0, len(self.positions), by)
        total = np.add.reduceat(self.positions, starts)
        sizes = np.diff(starts, append=len(self.positions))
        return ScanAxis(name=self.name, unit=self.unit, positions=total / sizes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpectrumImage:
    """Spectra over one or more axes; the last axis runs fastest.

    Attributes
    ----------
    spectra
        One for each pixel.
    axes
        As many as the map has dimensions.
    title, uid
        What the file or run calls it, and the uid of the run; empty where there is none.
    """

    spectra: Spectra
    axes: tuple[ScanAxis, ...]
    title: str = ""
    uid: str = ""

    def __post_init__(self) -> None:
        if len(self.spectra) != int(np.prod(self.shape)):
            raise ValueError(
                f"{len(self.spectra)} spectra for axes of {self.shape}; expected one a pixel"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels along each axis."""
        return tuple(len(axis.positions) for axis in self.axes)

    def binned(self, by: int) -> "SpectrumImage":
        """Return the map with pixels put together by ``by`` along each axis."""
        return SpectrumImage(
            spectra=bin_pixels(self.spectra, self.shape, by),
            axes=tuple(axis.binned(by) for axis in self.axes),
            title=self.title,
            uid=self.uid,
        )
