"""Maps of the catalog as plain data and bytes: everything that the view of maps draws."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from nearedge.models import Inversion, NormalisedSpectrum, Quality
from nearedge.models.answering.estimate import TIE
from nearedge.streaming.answers.answer import Answer
from nearedge.streaming.answers.plain import plain
from nearedge.streaming.answers.summary import Json
from nearedge.streaming.catalog.map_shelf import MapShelf, NoSuchMapError, Pixel, Place, Region
from nearedge.streaming.page.view import answer_view, spectrum_view

SET_SHARE = 0.9
"""The likeliest coordination numbers that make up this much are the set that is shown."""
BYTES = {"flags": "<u8", "reason": "<i2", "group": "<i4"}
"""How arrays travel; the others are ``<f4``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapFigure:
    """A figure that a map can be coloured by.

    Attributes
    ----------
    title, unit, digits, meaning
        As in `nearedge.streaming.answers.figures.Figure`.
    between
        The arrays whose difference it is; empty for one that is stored.
    """

    title: str
    unit: str = ""
    digits: int = 2
    meaning: str = ""
    between: tuple[str, ...] = ()


MAP_FIGURES = {
    "cn_mean": MapFigure(
        title="coordination number", meaning="mean number of bonded neighbours of the absorber"
    ),
    "bond": MapFigure(
        title="bond length", unit="Å", digits=3, meaning="mean distance to the bonded neighbours"
    ),
    "angle": MapFigure(
        title="bond angle", unit="°", digits=1, meaning="angle of the mean cosine between bonds"
    ),
    "cn_width": MapFigure(
        title="uncertainty of CN",
        meaning="width of the 90 % interval of the mean coordination number",
        between=("cn_mean_hi", "cn_mean_lo"),
    ),
    "bond_width": MapFigure(
        title="uncertainty of the bond",
        unit="Å",
        digits=3,
        meaning="width of the 90 % interval of the mean bond length",
        between=("bond_hi", "bond_lo"),
    ),
    "angle_width": MapFigure(
        title="uncertainty of the angle",
        unit="°",
        digits=1,
        meaning="width of the 90 % interval of the bond angle",
        between=("angle_hi", "angle_lo"),
    ),
    "ood_score": MapFigure(
        title="score", meaning="distance from what the model learned; above 1 it is too far"
    ),
    "e0": MapFigure(title="edge energy", unit="eV", meaning="e0 of the normalisation"),
    "edge_step": MapFigure(
        title="edge step", digits=4, meaning="height of the edge, in units of the signal"
    ),
    "edge_step_error": MapFigure(
        title="error of the edge step", digits=4, meaning="its standard deviation"
    ),
    "energy_shift": MapFigure(title="energy shift", unit="eV", meaning="added to the energies"),
    "group": MapFigure(
        title="group", digits=0, meaning="pixels with like spectra, the largest group first"
    ),
}
BESIDE = ("flags", "reason", "cn_mean_lo", "cn_mean_hi", "bond_lo", "bond_hi", "angle_lo")
STORED = frozenset({*MAP_FIGURES, *BESIDE, "angle_hi"})


class MapView:
    """What is shown of maps.

    Parameters
    ----------
    shelf
        The maps.
    """

    def __init__(self, shelf: MapShelf) -> None:
        self._shelf = shelf

    def about(self, key: str) -> Json:
        """Return a map without its arrays; errors as of `MapShelf.values`."""
        metadata = self._shelf.metadata(key)
        axes = [
            {**axis, "positions": positions}
            for axis, positions in zip(metadata["axes"], self._shelf.positions(key), strict=True)
        ]
        figures = [
            {"name": name, **{k: getattr(one, k) for k in ("title", "unit", "digits", "meaning")}}
            for name, one in MAP_FIGURES.items()
        ]
        return {"key": key, **plain(metadata), "axes": axes, "figures": figures}

    def warm(self, key: str) -> None:
        """Read what a pixel needs, so that the first one opens as fast as the others."""
        self._shelf.warm(key)

    def figure(self, key: str, name: str) -> tuple[bytes, tuple[int, ...]]:
        """Return the bytes of an array over the map, and its shape.

        Raises
        ------
        NoSuchMapError
            If there is no such map or figure.
        """
        if name not in STORED:
            raise NoSuchMapError(f"there is no figure {name!r}; expected one of {sorted(STORED)}")
        between = MAP_FIGURES[name].between if name in MAP_FIGURES else ()
        if between:
            high, low = (self._shelf.values(key, one) for one in between)
            values = high - low
        else:
            values = self._shelf.values(key, name)
        return values.astype(BYTES.get(name, "<f4")).tobytes(), values.shape

    def pixel(self, key: str, place: Place) -> Json:
        """Return a pixel with its spectrum and the answer of the heads.

        Raises
        ------
        NoSuchMapError
            If there is no such map, or the pixel lies outside of it.
        """
        found = self._shelf.pixel(key, place)
        return {
            "key": key,
            "at": list(found.place),
            "positions": list(found.positions),
            "state": found.state,
            "reason": found.reason,
            "flags": list(found.flags),
            "group": found.group,
            "figures": plain(found.figures),
            **_cn(found),
            "spectrum": _spectrum(found),
        }

    def region(self, found: Region) -> Json:
        """Return the summed spectrum of some pixels."""
        return {
            "pixels": found.pixels,
            "left_out": found.left_out,
            "flags": found.flags,
            "spectrum": spectrum_view(found.spectrum),
        }

    def components(self, key: str, *, shown: int = 4) -> Json:
        """Return the strongest principal components of a map, and how strong all are."""
        energy, found, rows = self._shelf.components(key)
        power = found.strengths**2
        return {
            "energy": energy,
            "mean": found.mean,
            "vectors": np.ascontiguousarray(found.vectors[:shown]),
            "strengths": np.ascontiguousarray(found.strengths[:16]),
            "threshold": found.threshold,
            "rank": found.rank,
            "shares": np.ascontiguousarray(power[:16] / (power.sum() or 1.0)),
            "pixels": len(rows),
        }


def _cn(pixel: Pixel) -> Json:
    if pixel.state != "answered" or pixel.cn_prob is None:
        return {"cn_prob": None, "cn_set": []}
    prob = pixel.cn_prob.astype(float)
    return {"cn_prob": plain(prob), "cn_set": likeliest(prob)}


def _spectrum(pixel: Pixel) -> Json | None:
    """Return what was normalised; None where nothing could be."""
    norm, e0 = pixel.norm, pixel.figures["e0"]
    if norm is None or pixel.energy is None or not (np.isfinite(norm).any() and np.isfinite(e0)):
        return None
    return {
        "energy": pixel.energy + pixel.figures["energy_shift"],
        "flat": norm.astype(float),
        "e0": e0,
        "edge_step": pixel.figures["edge_step"],
    }


def likeliest(prob: np.ndarray) -> list[int]:
    """Return the fewest classes whose probabilities make up nine tenths, and those as likely.

    Examples
    --------
    >>> likeliest(np.array([0.0, 0.25, 0.7, 0.05]))
    [1, 2]
    >>> likeliest(np.array([0.1, 0.8, 0.1]))
    [0, 1, 2]
    """
    likelier = np.array([prob[prob > own + TIE].sum() for own in prob])
    return [int(k) for k in np.flatnonzero(likelier < SET_SHARE * prob.sum() - TIE)]


def asked_answer(
    spectrum: NormalisedSpectrum, inversion: Inversion, *, name: str, time: float
) -> Json:
    """Return the view of an answer that nobody keeps."""
    same = (
        *("samples", "estimates", "misfit", "ood_score", "ood_flag", "seed", "model"),
        *("grid", "condition", "implied", "usual_misfit"),
    )
    numbers: dict[str, Any] = {field: getattr(inversion, field) for field in same}
    return answer_view(
        Answer(
            key=name,
            run_uid="",
            scan_id=None,
            stream="",
            name=name,
            time=time,
            spectrum=spectrum,
            quality=Quality(inversion.quality).value,
            flags=tuple(dict.fromkeys((*spectrum.flags, *inversion.flags))),
            **numbers,
        )
    )
