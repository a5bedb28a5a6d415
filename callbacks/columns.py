"""Readings into the columns of one spectrum: which number plays which role, row by row or whole."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

import numpy as np

from nearedge.callbacks.instrument import Roles

SINGLE_ROLES = ("energy", "i0", "it", "ir", "mu", "spectrum", "low_loss")
ELEMENT_ROLES = ("if_", "icr", "ocr")
AXIS_ROLES = ("dispersion", "offset", "low_loss_offset")

MOST_ELEMENTS = 128
"""More numbers than this side by side are the channels of a spectrum, no detector elements."""
NO_REGION = "no-region-of-interest"

_Size = TypeVar("_Size", int, tuple[int, ...], tuple[str, ...])
Values: TypeAlias = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Point:
    """One reading with everything that belongs to it.

    Attributes
    ----------
    values
        Data keys to numbers of any shape, float64; the configuration's among them.
    time
        Seconds since the epoch, or None where no event tells it.
    problems
        Sentences on values that could not be read.
    """

    values: Values
    time: float | None
    problems: tuple[str, ...] = ()


def number(value: Any, *, dtype: str | None = None) -> np.ndarray:
    """Return a document's value as float64, NaN where it is no number.

    Parameters
    ----------
    value
        Number, nested list or array.
    dtype
        The descriptor's ``dtype_numpy``. A float32 that travelled as text gets its own bits back,
        so that one source gives the same float64 as another.
    """
    narrow = isinstance(dtype, str) and dtype[1:] in ("f4", "f2")
    if isinstance(value, float) and not narrow:  # as nearly all are: the rest costs ten times more
        return np.array(value, dtype=np.float64)
    try:
        with np.errstate(all="ignore"):
            found = np.asarray(value, dtype=np.dtype(dtype if narrow else "f8"))
    except (TypeError, ValueError, OverflowError):
        return np.array(np.nan)
    return found.astype(np.float64) if found.size else np.array(np.nan)


def data_keys_of(roles: Roles) -> frozenset[str]:
    """Return every key that some role reads."""
    named = [getattr(roles, role) for role in (*SINGLE_ROLES, *AXIS_ROLES)]
    listed = [key for role in ELEMENT_ROLES for key in getattr(roles, role)]
    return frozenset(key for key in (*named, *listed, *roles.context) if isinstance(key, str))


def is_whole(points: Sequence[Point], roles: Roles) -> bool:
    """Tell whether each reading is a whole spectrum, rather than one energy of a step scan."""
    keys = {key for key in (roles.energy, roles.spectrum) if key}
    return any(p.values[key].size > 1 for p in points for key in keys if key in p.values)


def columns_of(points: Sequence[Point], roles: Roles) -> tuple[dict[str, np.ndarray], set[str]]:
    """Return the columns of a spectrum by role, and flags.

    Parameters
    ----------
    points
        Its readings, in order.
    roles
        Which data key plays which role.

    Returns
    -------
    dict
        Of a step scan, (n,) for n readings, and (n, elements) for the fluorescence roles. Of whole
        spectra, the mean over the readings: (n,) and (n, elements) for n channels; of sweeps that
        each have energies of their own, one behind the other. The axis roles
        have one number, (1,). A role that no reading has is left out.
    set
        ``odd-frames`` when readings of another length were left out of a mean;
        ``no-region-of-interest`` when fluorescence spectra were summed over all of their channels.
    """
    flags: set[str] = set()
    whole = is_whole(points, roles)
    if have_own_energies(points, roles):
        return _joined(points, roles)
    read = _mean_frame if whole else _rows
    columns = {role: _single(points, roles, role, read, flags) for role in SINGLE_ROLES}
    summed = in_line(points, roles, flags)
    columns |= {role: _elements(summed, roles, role, read, flags) for role in ELEMENT_ROLES}
    columns |= {role: _axis_number(points, getattr(roles, role)) for role in AXIS_ROLES}
    return {role: column for role, column in columns.items() if column is not None}, flags


def in_line(points: Sequence[Point], roles: Roles, flags: set[str]) -> Sequence[Point]:
    """Return the readings with fluorescence spectra summed over the channels of the line."""
    if not roles.if_:
        return points
    energy = roles.energy or ""
    axis = next((p.values[energy].shape[-1:] for p in points if energy in p.values), ())

    def is_spectrum(key: str, value: np.ndarray) -> bool:
        # along the last axis of a whole sweep run its energies
        many = roles.roi[1] if roles.roi else MOST_ELEMENTS + 1
        return key in roles.if_ and value.shape[-1:] >= (many,) and value.shape[-1:] != axis

    def summed(point: Point) -> Point:
        found = {k: _sum(v, roles.roi, axis) for k, v in point.values.items() if is_spectrum(k, v)}
        if found and roles.roi is None:
            flags.add(NO_REGION)
        return replace(point, values={**point.values, **found}) if found else point

    return [summed(point) for point in points]


def _sum(spectra: np.ndarray, roi: tuple[int, int] | None, axis: tuple[int, ...]) -> np.ndarray:
    counts: np.ndarray = spectra[..., slice(*roi) if roi else slice(None)].sum(axis=-1)
    # a sweep comes with its energies first, and is read with its energies last
    return np.moveaxis(counts, 0, -1) if axis and counts.shape[:1] == axis else counts


def have_own_energies(points: Sequence[Point], roles: Roles) -> bool:
    """Tell whether whole spectra differ in their energies.

    Sweeps to and fro do, and frames between which the spectrometer's offset was changed.
    """
    if not is_whole(points, roles):
        return False
    key = roles.energy or ""
    axes = [np.squeeze(p.values[key]) for p in points if key in p.values]
    axes = [axis for axis in axes if axis.ndim == 1]
    if not axes:
        axes = [ends for point in points for ends in _ends(point, roles)]
    if len(axes) < 2:
        return False
    first = axes[0]
    close = float(np.median(np.abs(np.diff(first)))) / 2
    return any(axis.shape != first.shape or np.abs(axis - first).max() > close for axis in axes[1:])


def _ends(point: Point, roles: Roles) -> list[np.ndarray]:
    """Return the energies of the first two channels, where offset and dispersion give them."""
    offset, dispersion = (
        _axis_number([point], getattr(roles, r)) for r in ("offset", "dispersion")
    )
    if offset is None or dispersion is None:
        return []
    return [np.concatenate([offset, offset + dispersion])]


def _joined(points: Sequence[Point], roles: Roles) -> tuple[dict[str, np.ndarray], set[str]]:
    """Return the columns of spectra one behind the other; what does not fit is left out."""
    along = [role for role in (*SINGLE_ROLES, *ELEMENT_ROLES) if role != "low_loss"]
    found = [columns_of([point], roles) for point in points]
    flags = set().union(*(odd for _, odd in found))
    sweeps = [_with_axis({r: c for r, c in one.items() if r in along}, one) for one, _ in found]
    shape = _most([tuple(sweep) for sweep in sweeps])
    fit = [s for s in map(_even, sweeps) if tuple(s) == shape]
    if len(fit) < len(sweeps):
        flags.add("odd-frames")
    joined = {role: np.concatenate([sweep[role] for sweep in fit]) for role in shape if fit}
    low_loss = _single(points, roles, "low_loss", _mean_frame, flags)
    others = {role: _axis_number(points, getattr(roles, role)) for role in AXIS_ROLES}
    others |= {"low_loss": low_loss}
    return joined | {role: c for role, c in others.items() if c is not None}, flags


def _with_axis(
    sweep: dict[str, np.ndarray], columns: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the columns of a spectrum with energies, which its channels may have to give."""
    if "energy" in sweep or not {"offset", "dispersion"} <= columns.keys():
        return sweep
    channels = np.arange(max(map(len, sweep.values()), default=0))
    return {"energy": columns["offset"] + columns["dispersion"] * channels, **sweep}


def _even(sweep: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return columns of one length, single numbers repeated; nothing where they are of several."""
    size = max(map(len, sweep.values()), default=0)
    if any(len(column) not in (1, size) for column in sweep.values()):
        return {}
    return {r: np.repeat(c, size, axis=0) if len(c) < size else c for r, c in sweep.items()}


def mean_of(points: Sequence[Point], key: str) -> float | None:
    """Return the mean of one key over the readings that have it as a number."""
    found = [p.values[key].mean() for p in points if key in p.values and p.values[key].size]
    finite = [value for value in found if np.isfinite(value)]
    return float(np.mean(finite)) if finite else None


def means(values: Iterable[np.ndarray | None]) -> np.ndarray:
    """Return the mean of each reading, (n,); NaN where there is none.

    Single numbers, of which a long scan has a hundred thousand, are not worth a call of numpy each.
    """
    found = (np.nan if v is None else v.item() if v.size == 1 else v.mean() for v in values)
    return np.array(list(found), dtype=np.float64)


_Read: TypeAlias = Callable[[Sequence[np.ndarray | None], set[str]], np.ndarray]


def _single(
    points: Sequence[Point], roles: Roles, role: str, read: _Read, flags: set[str]
) -> np.ndarray | None:
    column = _column(points, getattr(roles, role), read, flags)
    return column if column is None or column.ndim == 1 else column.mean(axis=-1)


def _elements(
    points: Sequence[Point], roles: Roles, role: str, read: _Read, flags: set[str]
) -> np.ndarray | None:
    found = [_column(points, key, read, flags) for key in getattr(roles, role)]
    columns = [column for column in found if column is not None]
    # an element without its key would change the sum unnoticed: none of them, then
    if not columns or len(columns) < len(found) or len({len(column) for column in columns}) > 1:
        return None
    return np.column_stack(columns)


def _column(
    points: Sequence[Point], key: str | None, read: _Read, flags: set[str]
) -> np.ndarray | None:
    values = [p.values.get(key) for p in points] if key else []
    return read(values, flags) if any(value is not None for value in values) else None


def _rows(values: Sequence[np.ndarray | None], flags: set[str]) -> np.ndarray:
    """Stack one reading per row: (n,), or (n, elements) of keys that hold an array."""
    if all(value is None or value.size == 1 for value in values):  # of a long scan in a tenth
        return means(values)
    rows = [np.atleast_1d(np.nan if value is None else value).ravel() for value in values]
    width = _most([row.size for row in rows if row.size > 1] or [1])
    odd = [row.size != width for row in rows]
    if any(wrong and value is not None for wrong, value in zip(odd, values, strict=True)):
        flags.add("odd-frames")
    table = np.array(
        [np.full(width, np.nan) if wrong else row for wrong, row in zip(odd, rows, strict=True)]
    )
    return table[:, 0] if width == 1 else table


def _mean_frame(values: Sequence[np.ndarray | None], flags: set[str]) -> np.ndarray:
    """Average whole spectra: (n,), or (n, elements) of keys that hold an element per row."""
    frames = [_table(value) for value in values if value is not None]
    shape = _most([frame.shape for frame in frames])
    alike = [frame for frame in frames if frame.shape == shape]
    if len(alike) < len(frames):
        flags.add("odd-frames")
    mean: np.ndarray = np.mean(alike, axis=0)
    return mean[0] if len(mean) == 1 else mean.T


def _table(value: np.ndarray) -> np.ndarray:
    frame = np.atleast_1d(np.squeeze(value))
    return frame.reshape(-1, frame.shape[-1])


def _most(sizes: Sequence[_Size]) -> _Size:
    """Return what occurs most often, the largest of equals."""
    return max(Counter(sizes).items(), key=lambda item: (item[1], item[0]))[0]


def _axis_number(points: Sequence[Point], source: float | str | None) -> np.ndarray | None:
    if isinstance(source, float):
        return np.array([source])
    value = mean_of(points, source) if source else None
    return None if value is None else np.array([value])
