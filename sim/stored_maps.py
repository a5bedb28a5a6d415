"""Small files of answered maps whose numbers are known, without any model."""

from pathlib import Path

import h5py
import numpy as np

from nearedge.models import Technique
from nearedge.models.answering.heads import HEADS_ONLY, HeadAnswers
from nearedge.models.many_spectra import NormalisedSpectra, Spectra
from nearedge.models.maps.groups import Groups
from nearedge.models.maps.image import ScanAxis, SpectrumImage
from nearedge.models.spectrum import Array, Reason, Rejected
from nearedge.streaming.answers.maps import MapFile

ENERGY = np.linspace(1820.0, 1890.0, 60)
E0 = 1845.0
#: What the entry of a small map tells, beside when it was written.
ABOUT = {
    "raw": {"uid": "run-1"},
    "technique": "xanes",
    "absorber": "Si",
    "edge": "K",
    "formula": "SiO2",
    "config": "c",
}


def write_small_map(path: Path, shape: tuple[int, ...], *, energy: Array = ENERGY) -> None:
    """Write an answered map as ``nearedge map`` does.

    Pixel k of n has the bond 1.6 + 0.01 k Å within 0.05 Å, a mixture of two spectra that changes
    evenly, and CN 4 or 5. The first is rejected, the last flagged ``noisy``.

    Parameters
    ----------
    path
        Where.
    shape
        Of the map, one or two axes.
    energy
        (n,) eV.
    """
    count = int(np.prod(shape))
    names = ("time",) if len(shape) == 1 else ("y", "x")
    axes = tuple(
        ScanAxis(name=name, unit="s" if len(shape) == 1 else "nm", positions=np.arange(n) / 2)
        for name, n in zip(names, shape, strict=True)
    )
    share = np.maximum(np.arange(count) - 1, 0) / max(count - 2, 1)
    norm = share[:, None] * _edge(energy, 0.5) + (1 - share[:, None]) * _edge(energy, 1.5)
    norm[0] = np.nan
    spectra = Spectra(energy=energy, mu=norm, technique=Technique.XANES, absorber="Si", edge="K")
    image = SpectrumImage(spectra=spectra, axes=axes, title="small")
    with h5py.File(path, "w") as file:
        target = MapFile(file, image, about={"model": "m", "version": "0", "bin": 1, "seed": 0})
        refusal = Rejected(reason=Reason.NO_EDGE, detail="flat")
        target.put(slice(0, count), _normalised(energy, norm, refusal), _answers(share, refusal))
        target.finish(_groups(count), ())


def _edge(energy: Array, white_line: float) -> Array:
    step = 0.5 + np.arctan((energy - E0) / 0.8) / np.pi
    return np.asarray(step + white_line * np.exp(-(((energy - E0 - 2) / 1.5) ** 2)))


def _known(values: Array) -> Array:
    return np.where(np.arange(len(values)) == 0, np.nan, values)


def _normalised(energy: Array, norm: Array, refusal: Rejected) -> NormalisedSpectra:
    count = len(norm)
    even: Array = np.ones(count)
    return NormalisedSpectra(
        energy=energy,
        norm=norm,
        flat=norm,
        e0=_known(E0 * even),
        edge_step=_known(even),
        edge_step_error=_known(0.01 * even),
        energy_shift=_known(0.0 * even),
        flags=((),) * count,
        technique=Technique.XANES,
        absorber="Si",
        edge="K",
        rejected={0: refusal},
    )


def _answers(share: Array, refusal: Rejected) -> HeadAnswers:
    count = len(share)
    prob = np.zeros((count, 13))
    prob[:, 4], prob[:, 5] = 0.6, 0.4
    prob[0] = np.nan
    bond, cn = _known(1.6 + np.arange(count) / 100), _known(4 + share)
    angle = _known(109.0 - share)
    flags: list[tuple[str, ...]] = [(HEADS_ONLY,) for _ in share]
    flags[0], flags[-1] = (), (HEADS_ONLY, "noisy")
    return HeadAnswers(
        cn_prob=prob,
        cn_mean=cn,
        cn_mean_lo=cn - 0.3,
        cn_mean_hi=cn + 0.3,
        bond=bond,
        bond_lo=bond - 0.05,
        bond_hi=bond + 0.05,
        angle=angle,
        angle_lo=angle - 2,
        angle_hi=angle + 2,
        ood_score=_known(0.2 + 0.0 * share),
        ood_flag=np.zeros(count, bool),
        flags=tuple(flags),
        rejected={0: refusal},
        condition=np.zeros((count, 3)),
        mask=np.zeros((count, 3)),
        origin=np.zeros(count),
        model="m",
    )


def _groups(count: int) -> Groups:
    labels = np.zeros(count, np.int64)
    labels[0] = -1
    return Groups(
        labels=labels,
        scores=np.zeros((count, 0)),
        vectors=np.zeros((0, 3)),
        grid_mean=np.zeros(3),
    )
