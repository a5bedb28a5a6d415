"""Maps in the catalog: one container for each, with arrays over the shape of the scan.

>>> maps = Maps.open("http://127.0.0.1:8000/api/v1", api_key="secret")  # doctest: +SKIP
>>> bond = xarray.Dataset.from_dict(maps.latest().to_dict())["bond"]  # doctest: +SKIP
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from tiled.queries import In, Key, SpecsQuery
from tiled.structures.core import Spec

from nearedge.models import Samples
from nearedge.models.maps.image import ScanAxis
from nearedge.streaming.answers.maps import FIGURES, NORMALISATION
from nearedge.streaming.answers.plain import plain
from nearedge.streaming.catalog.cluster_arrays import COUNT, PREFIX, clusters_at
from nearedge.streaming.catalog.connection import Client, connect
from nearedge.streaming.catalog.elements import numbers_of
from nearedge.streaming.catalog.entry import Entry
from nearedge.streaming.catalog.paging import keys_of
from nearedge.streaming.catalog.result_files import ResultFiles
from nearedge.streaming.catalog.result_writer import ResultWriter
from nearedge.streaming.ledger.job import State
from nearedge.streaming.ledger.map_row import MapStatus

MAP_SPEC = "SpectrumMap"
VERSION = "1.0"
GROWING = str(MapStatus.GROWING)
FIGURE_STACK = "figures"
"""The array (…, k) that holds all figures of a map, in the order of `figure_names`."""
STACKED = (*FIGURES, *NORMALISATION)
"""What it holds; in older maps that came from files, each of them is an array."""
OVER_THE_MAP = (*STACKED, "flags", "reason", "group")
"""What has a number for each pixel."""
NOTHING = -2
"""The reason of a pixel that has not come yet."""
SPECTRAL = ("norm", "mu", "cn_prob")
"""Arrays with an axis more than the map, NaN where nothing has come."""
_OF_A_GROUP = ("energy", "norm", "positions", "weights", "cn_prob")


def map_arrays(file: h5py.File) -> dict[str, np.ndarray]:
    """Return the arrays of a file of `nearedge.streaming.answers.maps` by their names here."""
    entry = file["entry"]
    figures, spectra = entry["figures"], entry["spectra"]
    arrays = {name: figures[name][()] for name in ("flags", "reason", "group")}
    arrays[FIGURE_STACK] = np.stack([figures[name][()] for name in STACKED], axis=-1)
    for number, name in enumerate(_axis_names(figures)):
        arrays[f"axis_{number}"] = figures[name][()]
    arrays |= {"norm": spectra["norm"][()], "energy": spectra["energy"][()]}
    if "cn_prob" in entry:
        arrays["cn_prob"] = entry["cn_prob/cn_prob"][()]
    if "fractions" in entry:
        arrays["fractions"] = entry["fractions/fractions"][()]
        arrays["fractions_misfit"] = entry["fractions/misfit"][()]
    for number, group in entry["groups"].items():
        arrays |= {f"group_{number}_{n}": group[n][()] for n in _OF_A_GROUP if n in group}
        if "species" in group:
            symbols = group["species"].asstr()[()].astype(str)
            arrays[f"group_{number}_species"] = numbers_of(symbols)
    return arrays


def map_metadata(file: h5py.File, about: dict[str, Any]) -> dict[str, Any]:
    """Return the searchable part of a map.

    Parameters
    ----------
    file
        The file of `nearedge.streaming.answers.maps`.
    about
        Where it comes from and how it was made.
    """
    entry = file["entry"]
    figures, process = entry["figures"], entry["process"]
    reason, bits = figures["reason"][()], figures["flags"][()]
    reasons = [str(name) for name in figures["reason"].attrs["names"]]
    flags = [str(name) for name in figures["flags"].attrs["names"]]
    names = _axis_names(figures)
    known: dict[str, Any] = {
        "title": entry["title"].asstr()[()],
        "shape": list(reason.shape),
        "axes": [{"name": n, "unit": str(figures[n].attrs["units"])} for n in names],
        "pixels": reason.size,
        "answered": int((reason < 0).sum()),
        "reasons": reasons,
        "rejected": dict(Counter(reasons[k] for k in reason[reason >= 0])),
        "flag_names": flags,
        "figure_names": list(STACKED),
        "flags": flag_counts(bits, flags),
        "groups": [_group(one) for _, one in sorted(entry["groups"].items())],
        **{
            name: value_range(figures[column][()])
            for name, column in (("cn", "cn_mean"), ("bond", "bond"))
        },
        "model": process["model"].asstr()[()],
        "code": process["version"].asstr()[()],
        "bin": int(process["bin"][()]),
        "denoised_rank": int(process["denoised_rank"][()]) if "denoised_rank" in process else None,
        "seed": int(process["seed"][()]),
    }
    return plain(known | about)


def _axis_names(data: h5py.Group) -> list[str]:
    return [str(name) for name in data.attrs["axes"]]


def _group(group: h5py.Group) -> dict[str, Any]:
    numbers = ("pixels", "cn_mean", "bond", "angle", "ood_score")
    found: dict[str, Any] = {name: group[name][()].item() for name in numbers if name in group}
    words = ("flags", "reason", "detail")
    return found | {name: group[name].asstr()[()] for name in words if name in group}


def flag_masks(bits: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return for each flag where its bit is set."""
    return {name: (bits >> np.uint64(k)) & np.uint64(1) > 0 for k, name in enumerate(names)}


def flag_counts(bits: np.ndarray, names: Sequence[str]) -> dict[str, int]:
    """Return for each flag how often its bit is set."""
    return {name: int(holds.sum()) for name, holds in flag_masks(bits, names).items()}


def value_range(values: np.ndarray) -> dict[str, float | None]:
    """Return mean and ends of what is finite, None where nothing is."""
    known = values[np.isfinite(values)]
    if not known.size:
        return {"mean": None, "min": None, "max": None}
    return {"mean": known.mean(), "min": known.min(), "max": known.max()}


def store_map(
    box: Client, key: str, path: Path, *, about: dict[str, Any], files: ResultFiles | None
) -> None:
    """Put a map into the catalog under its key, unless it is there.

    Parameters
    ----------
    box
        The container of maps.
    key
        Names the map.
    path
        The file that `nearedge map` wrote.
    about
        Where it comes from and how it was made.
    files
        Where its arrays go, if the server reads the same disk.

    Raises
    ------
    httpx.HTTPError
        If the server refuses or is away; the same call goes on from there.
    """
    with h5py.File(path, "r") as file:
        metadata, arrays = map_metadata(file, about), map_arrays(file)
    writer = ResultWriter(box, files=files)
    try:
        spec = Spec(MAP_SPEC, version=VERSION)
        writer.put(key, spec, metadata, arrays, final=State.COMPLETE)
    finally:
        writer.close()


class StoredMap(Entry):
    """A map of the catalog: arrays are read from the server when they are asked for.

    A map whose run still lasts grows: `is_growing` tells it, ``come`` of the metadata how many
    pixels are there, and figures of the others are NaN. `refresh` reads the metadata anew.

    Parameters
    ----------
    node
        Tiled client of its container.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels along each axis."""
        return tuple(self.metadata["shape"])

    @property
    def axes(self) -> tuple[ScanAxis, ...]:
        """Where the pixels lie."""
        return tuple(
            ScanAxis(name=one["name"], unit=one["unit"], positions=self[f"axis_{number}"])
            for number, one in enumerate(self.metadata["axes"])
        )

    @property
    def along(self) -> dict[str, np.ndarray]:
        """Scalars such as temperature, as read at each position of the map's first axes."""
        told = self.metadata.get("along", [])
        return {one["name"]: self[f"along_{number}"] for number, one in enumerate(told)}

    @property
    def status(self) -> str:
        """``growing`` or ``complete``."""
        return str(self._node.metadata["status"])

    @property
    def is_growing(self) -> bool:
        """Whether pixels, groups and clusters are still to come."""
        return self.status == GROWING

    @property
    def progress(self) -> float:
        """The part of its pixels, as far as known, that have an answer or a reason."""
        metadata = self.metadata
        come = metadata.get("come", metadata["pixels"])
        return float(come / metadata["pixels"]) if metadata["pixels"] else 0.0

    @property
    def clustered(self) -> int:
        """How many pixels have clusters of their own."""
        return int(self.metadata.get(COUNT, 0))

    def clusters(self, place: Sequence[int]) -> Samples | None:
        """Return the clusters of a pixel, such as ``(3, 4)``, or None where none are stored.

        Raises
        ------
        IndexError
            If it lies outside of the map.
        """
        shape = self.shape
        if len(place) != len(shape) or not all(
            0 <= i < n for i, n in zip(place, shape, strict=True)
        ):
            raise IndexError(f"found the pixel {tuple(place)}; the map has the shape {shape}")
        return clusters_at(self.client, place)

    def refresh(self) -> "StoredMap":
        """Return the map as the server has it now."""
        return StoredMap(self._node.refresh())

    def __getitem__(self, name: str) -> np.ndarray:
        """Return an array, such as ``bond``, over the map, ``norm`` (…, n) or ``energy`` (n,)."""
        metadata = self._node.metadata
        names = list(metadata.get("figure_names", ()))
        if name in names:
            return self._whole(FIGURE_STACK)[..., names.index(name)]
        if self.is_growing and name == "group":
            return np.full(metadata["shape"], -1)
        if name in SPECTRAL and "figure_names" in metadata:
            found = self._whole(name)
            return np.where((self["reason"] > NOTHING)[..., None], found, np.nan)
        return self._whole(name)

    def client(self, name: str) -> Any:
        """Return the Tiled client of an array.

        Raises
        ------
        KeyError
            If there is no such array.
        """
        return self._node[name]

    def _whole(self, name: str) -> np.ndarray:
        """Return an array without the room that a map of unknown length has beyond its end."""
        array = np.asarray(self.client(name).read())
        metadata = self._node.metadata
        over = name in (*OVER_THE_MAP, *SPECTRAL, FIGURE_STACK, "axis_0") or name.startswith(PREFIX)
        return array[: metadata["shape"][0]] if metadata.get("grows") and over else array

    @property
    def flags(self) -> dict[str, np.ndarray]:
        """For each flag at which pixels it holds."""
        return flag_masks(self["flags"], self.metadata["flag_names"])

    def to_dict(self) -> dict[str, Any]:
        """Return what `xarray.Dataset.from_dict` makes a data set of, spectra included."""
        axes = self.axes
        dims = [axis.name for axis in axes]
        coords: dict[str, Any] = {
            axis.name: {"dims": [axis.name], "data": axis.positions, "attrs": {"units": axis.unit}}
            for axis in axes
        }
        coords["energy"] = {"dims": ["energy"], "data": self["energy"], "attrs": {"units": "eV"}}
        for one, (name, values) in zip(
            self.metadata.get("along", ()), self.along.items(), strict=True
        ):
            about = {"dims": dims[: values.ndim], "data": values, "attrs": {"units": one["unit"]}}
            coords.setdefault(name, about)
        units = FIGURES | NORMALISATION
        data = {
            name: {"dims": dims, "data": self[name], "attrs": {"units": units.get(name, "")}}
            for name in OVER_THE_MAP
        }
        data["norm"] = {"dims": [*dims, "energy"], "data": self["norm"], "attrs": {}}
        return {
            "dims": dict(zip(dims, self.shape, strict=True)),
            "coords": coords,
            "data_vars": data,
            "attrs": {"title": self.metadata["title"], "key": self.key},
        }

    def columns(self) -> dict[str, np.ndarray]:
        """Return a row for each pixel, as columns of which `pandas.DataFrame` makes a table."""
        axes = self.axes
        grids = np.meshgrid(*(axis.positions for axis in axes), indexing="ij")
        table = {axis.name: grid.ravel() for axis, grid in zip(axes, grids, strict=True)}
        table |= {
            name: self[name].ravel() for name in OVER_THE_MAP if name not in ("flags", "reason")
        }
        for name, values in self.along.items():
            wide = values.reshape(*values.shape, *(1,) * (len(axes) - values.ndim))
            table.setdefault(name, np.broadcast_to(wide, self.shape).ravel())
        reasons = np.array([*self.metadata["reasons"], "not yet", ""])
        table["reason"] = reasons[self["reason"].ravel()]
        return table | {name: holds.ravel() for name, holds in self.flags.items()}


class Maps:
    """The maps of a catalog.

    Parameters
    ----------
    container
        Tiled client of the container of maps.
    """

    def __init__(self, container: Client) -> None:
        self._container = container

    @classmethod
    def open(cls, uri: str, *, api_key: str | None = None, path: str = "maps") -> "Maps":
        """Connect to a server.

        Parameters
        ----------
        uri
            The address of its API.
        api_key
            The key, if it wants one.
        path
            The container of maps (`catalog.maps`).
        """
        client = connect(uri, api_key=api_key)
        for name in path.split("/"):
            client = client[name]
        return cls(client)

    def __getitem__(self, key: str) -> StoredMap:
        """Return the map of a key.

        Raises
        ------
        KeyError
            If there is none.
        """
        return StoredMap(self._container[key])

    def search(
        self, *, raw_uid: str | None = None, absorber: str | None = None, growing: bool = False
    ) -> Iterator[StoredMap]:
        """Yield the maps that match everything given, the latest first.

        Parameters
        ----------
        raw_uid, absorber
            As in the metadata.
        growing
            Whether maps are wanted, too, whose runs still last.
        """
        found = self._container.search(SpecsQuery(include=[MAP_SPEC]))
        wanted = [str(State.COMPLETE), *([GROWING] if growing else [])]
        found = found.search(In("status", wanted))
        for name, value in (("raw.uid", raw_uid), ("absorber", absorber)):
            found = found if value is None else found.search(Key(name) == value)
        yield from map(StoredMap, found.sort(("written", -1)).values())

    def finished(self) -> Iterator[str]:
        """Yield the key of every map that is complete."""
        found = self._container.search(SpecsQuery(include=[MAP_SPEC]))
        yield from keys_of(found.search(Key("status") == str(State.COMPLETE)))

    def latest(self) -> StoredMap:
        """Return the map that was written last.

        Raises
        ------
        KeyError
            If there is none.
        """
        found = next(self.search(), None)
        if found is None:
            raise KeyError("the catalog has no map: `nearedge map … --store` puts one there")
        return found
