"""One map that grows in the catalog while its run lasts.

Every step can be repeated: a block that is written twice changes nothing. Its ``reason`` is written
last, so that a reader who finds an answer there finds all of it. Before that, a few arrays are
written at a time: most of a request is waiting, but Tiled also changes a row of its database with
each, and with SQLite many would wait for its lock.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tiled.client.utils import ClientError
from tiled.structures.core import Spec, StructureFamily

from nearedge.callbacks.block import Block, MapEnd, MapLayout
from nearedge.callbacks.measurement import Run
from nearedge.models import Array, Reason, Rejected
from nearedge.models.answering.pixels import (
    NUMBERS,
    PixelAnswers,
    on_axis,
    refused_pixels,
    renumbered,
)
from nearedge.models.maps.findings import MapFindings
from nearedge.models.maps.representative import Representative
from nearedge.streaming.answers.plain import plain
from nearedge.streaming.catalog.boxes import boxes, chunks_of
from nearedge.streaming.catalog.connection import CONFLICT, Client
from nearedge.streaming.catalog.elements import numbers_of
from nearedge.streaming.catalog.map_arrays import MapArrays
from nearedge.streaming.catalog.maps import FIGURE_STACK, MAP_SPEC, NOTHING, VERSION
from nearedge.streaming.catalog.pixel_tally import PixelTally
from nearedge.streaming.ledger.map_row import MapRow, MapStatus

STEP = 1024
"""Positions that the first axis of a map without a known end gains at a time."""
WORDS = 64
"""As many flags have a bit."""
TOGETHER = 3
"""Arrays that are written at a time."""
KINDS: Mapping[str, tuple[Any, Any]] = {
    "flags": (np.uint64, 0),
    FIGURE_STACK: (np.float64, np.nan),
    "cn_prob": (np.float32, 0),
    "mu": (np.float32, 0),
    "norm": (np.float32, 0),
    "reason": (np.int16, NOTHING),
}
"""Arrays over the pixels: type, and what lies in room."""
LAST = "reason"
"""What is written when all the others are."""


class GrowingMap:
    """One entry, and what is known of its pixels.

    Parameters
    ----------
    box
        The container of maps.
    key
        Names the map.
    run, stream, layout
        What is mapped, and how its pixels lie.
    about
        What the metadata say besides.
    now
        Seconds since the epoch.
    """

    def __init__(
        self,
        box: Client,
        key: str,
        run: Run,
        stream: str,
        layout: MapLayout,
        *,
        about: Mapping[str, Any],
        now: Callable[[], float],
    ) -> None:
        self._box, self._key, self._run, self._stream = box, key, run, stream
        self._layout, self._about, self._now = layout, about, now
        self._node, fresh = self._made()
        self._arrays = MapArrays(self._node, fresh=fresh)
        self._energies: dict[str, Array] = {}
        self._flags: list[str] = list(self._node.metadata["flag_names"])
        self._reasons: list[str] = list(self._node.metadata["reasons"])
        self._length = self._node.metadata["shape"][0] if layout.grows else 0
        self._room = _room(self._length) if layout.grows else 0
        self._prepare()
        self._load()

    # the entry

    def _prepare(self) -> None:
        """Make the arrays that say what has come, before anything comes.

        Where a service was killed in the midst of that, they may hold zeros: that is an answer.
        """
        if self._node.metadata["ready"]:
            return
        positions = {
            f"axis_{number}": np.asarray(axis.positions, np.float64)
            for number, axis in enumerate(self._layout.axes)
            if number or not self._layout.grows
        }
        steps: list[Callable[[], object]] = [
            partial(self._blank, "reason", ()),
            partial(self._blank, FIGURE_STACK, (len(NUMBERS),)),
            *(partial(self._arrays.put, *item) for item in positions.items()),
        ]
        if self._layout.grows:
            steps.append(self._first_axis)
        _side_by_side(steps)
        self._node.update_metadata({"ready": True}, drop_revision=True)

    def _blank(self, name: str, more: tuple[int, ...]) -> None:
        """Write that nothing has come."""
        dtype, fill = KINDS[name]
        self._array(name, more).write(np.full((*self.shape, *more), fill, dtype))

    def _made(self) -> tuple[Any, bool]:
        """Return the entry, made if it is not there, and whether it was made."""
        shape = (0, *self._layout.shape[1:]) if self._layout.grows else self._layout.shape
        metadata = {
            "status": str(MapStatus.GROWING),
            "title": str(self._run.scan_id or self._run.uid),
            "shape": list(shape),
            "axes": [{"name": axis.name, "unit": axis.unit} for axis in self._layout.axes],
            "grows": self._layout.grows,
            "pixels": int(np.prod(shape)),
            "answered": 0,
            "come": 0,
            "reasons": [],
            "rejected": {},
            "flag_names": [],
            "flags": {},
            "figure_names": list(NUMBERS),
            "ready": False,
            "groups": [],
            "model": "",
            "bin": 1,
            "denoised_rank": None,
            "seed": 0,
            "written": self._now(),
            **self._about,
        }
        try:
            made = self._box.new(
                StructureFamily.container,
                [],
                key=self._key,
                metadata=plain(metadata),
                specs=[Spec(MAP_SPEC, version=VERSION)],
            )
            return made, True
        except ClientError as e:
            if e.response.status_code != CONFLICT:
                raise
            return self._box[self._key], False

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the arrays: of a map that grows, with the room that it has."""
        if not self._layout.grows:
            return self._layout.shape
        return (self._room, *self._layout.shape[1:])

    @property
    def _per_event(self) -> int:
        return int(np.prod(self._layout.shape[1:], dtype=int))

    @property
    def pixels(self) -> int:
        """Pixels of the map, as far as known."""
        if self._layout.grows:
            return self._length * self._per_event
        return int(np.prod(self._layout.shape))

    def _load(self) -> None:
        """Take over what the entry has: a service that died may have written it."""
        count = int(np.prod(self.shape))
        self._tally = PixelTally(count)
        self._model = str(self._node.metadata["model"])
        if "flags" not in self._arrays:
            return  # no block has come
        stack = self._arrays.read(FIGURE_STACK).reshape(-1, len(NUMBERS))[:count]
        reasons, bits = (self._stored(n, len(stack)) for n in ("reason", "flags"))
        self._tally.put(
            slice(len(stack)),
            reasons=reasons.astype(np.int16),
            bits=bits.astype(np.uint64),
            figures=stack,
        )

    def _stored(self, name: str, count: int) -> NDArray[Any]:
        """Return what the entry has of an array with a number for each pixel."""
        found = self._arrays.read(name).ravel()[:count]
        return np.concatenate([found, np.full(count - len(found), KINDS[name][1], found.dtype)])

    # blocks

    def put(self, blocks: Sequence[tuple[Block, PixelAnswers]]) -> None:
        """Write the pixels of some blocks, each array once."""
        if self._layout.grows:
            self._grow([block for block, _ in blocks])
        if self._node.metadata["status"] != MapStatus.GROWING:
            blocks = [one for one in blocks if not self._tally.all_answered(one[0].places)]
            if not blocks:
                return  # it was whole before
            # pixels that could not be read are here now
            self._node.update_metadata({"status": str(MapStatus.GROWING)}, drop_revision=True)
        self._name([answers for _, answers in blocks])
        self._write_all([(block.places, self._values(block, answers)) for block, answers in blocks])
        self._model = next((a.model for _, a in blocks if a.model), self._model)
        self._node.update_metadata(plain(self._progress()), drop_revision=True)

    def _values(self, block: Block, answers: PixelAnswers) -> dict[str, NDArray[Any]]:
        """Return what goes into the arrays over the pixels."""
        return {
            "flags": self._bits_of(answers),
            FIGURE_STACK: answers.figures,
            "cn_prob": answers.cn_prob,
            **self._spectra_of(block, answers),
            "reason": renumbered(answers, self._reasons),
        }

    def _spectra_of(self, block: Block, answers: PixelAnswers) -> dict[str, NDArray[np.float32]]:
        """Return the spectra, on the energies of the first ones that came."""
        found: dict[str, NDArray[np.float32]] = {}
        if block.spectra is not None:
            axis = self._axis("mu_energy", block.spectra.energy)
            mu = np.asarray(block.spectra.mu, np.float32)
            if not np.array_equal(axis, block.spectra.energy):
                order = np.argsort(block.spectra.energy)
                mu = on_axis(mu[:, order], block.spectra.energy[order], axis)
            found["mu"] = mu
        if len(answers.energy):
            axis = self._axis("energy", answers.energy)
            found["norm"] = on_axis(answers.norm, answers.energy, axis)
        return found

    def _axis(self, name: str, energy: Array) -> Array:
        """Return the energies of the map: those of the first block that has any."""
        if name not in self._energies:
            stored = self._arrays.read(name) if name in self._arrays else np.zeros(0)
            if not np.any(stored):  # zeros: a service was killed between making and filling it
                stored = np.asarray(energy, np.float64)
                self._arrays.put(name, stored)
            self._energies[name] = stored
        return self._energies[name]

    def _write_all(
        self, parts: Sequence[tuple[NDArray[np.int64], Mapping[str, NDArray[Any]]]]
    ) -> None:
        """Write the arrays of the pixels at some places, and note what is said of these."""
        _side_by_side([partial(self._write_parts, name, parts) for name in KINDS if name != LAST])
        self._write_parts(LAST, parts)
        for places, told in parts:
            self._tally.put(
                places,
                reasons=told["reason"],
                bits=told["flags"],
                figures=told[FIGURE_STACK],
            )

    def _write_parts(
        self, name: str, parts: Sequence[tuple[NDArray[np.int64], Mapping[str, NDArray[Any]]]]
    ) -> None:
        own = [(places, values[name]) for places, values in parts if name in values]
        if own:
            places, values = zip(*own, strict=True)
            self._write(np.concatenate(places), name, np.concatenate(values))

    def _write(self, places: NDArray[np.int64], name: str, values: NDArray[Any]) -> None:
        more = values.shape[1:]
        array = self._array(name, more)
        values = np.asarray(values, KINDS[name][0])
        for box in boxes(places, self.shape):
            array.patch(
                values[box.rows].reshape(*box.size, *more), offset=(*box.offset, *(0,) * len(more))
            )

    def _array(self, name: str, more: tuple[int, ...]) -> Any:
        """Return the client of an array over the map, made with room for all pixels."""
        dtype, fill = KINDS[name]
        if name not in self._arrays:
            shape, chunks = (*self.shape, *more), (*self._chunks(), *more)
            return self._arrays.make(name, shape, chunks, np.dtype(dtype))
        array = self._arrays[name]
        if self._layout.grows and array.shape[0] < self._room:
            lacking = (self._room - array.shape[0], *array.shape[1:])
            offset = (array.shape[0], *(0,) * (len(lacking) - 1))
            array.patch(np.full(lacking, fill, dtype), offset=offset, extend=True)
        return array

    def _chunks(self) -> tuple[int, ...]:
        if self._layout.grows:
            return chunks_of((STEP, *self._layout.shape[1:]))
        return chunks_of(self._layout.shape)

    def _grow(self, blocks: Sequence[Block]) -> None:
        """Make room for the events of some blocks, and say where they lie."""
        numbers = []
        for block in blocks:
            begin, events = block.first // self._per_event, block.layout.shape[0]
            numbers.append(np.arange(begin, begin + events))
            self._lengthen(begin + events)
        positions = np.concatenate([block.layout.axes[0].positions for block in blocks])
        self._place(np.concatenate(numbers), np.asarray(positions, np.float64))

    def _place(self, numbers: NDArray[np.int64], positions: Array) -> None:
        """Say where events lie along the first axis of a map that grows."""
        axis = self._first_axis()
        if axis.shape[0] < self._room:
            blank = np.full(self._room - axis.shape[0], np.nan)
            axis.patch(blank, offset=(axis.shape[0],), extend=True)
        for box in boxes(numbers, (self._room,)):
            axis.patch(positions[box.rows], offset=box.offset)

    def _first_axis(self) -> Any:
        """Return the client of the positions along the axis that grows, made if need be."""
        if "axis_0" not in self._arrays:
            self._arrays.make("axis_0", (self._room,), (STEP,), np.dtype(float))
        return self._arrays["axis_0"]

    def _name(self, answers: Sequence[PixelAnswers]) -> None:
        """Give new flags and reasons their numbers, before any pixel has one of them."""
        flags = {flag for one in answers for own in one.flags for flag in own}
        reasons = [name for one in answers for name in one.reason_names]
        if flags <= set(self._flags) and set(reasons) <= set(self._reasons):
            return
        fresh = self._box[self._key].metadata  # another service may have added some
        self._flags = [*dict.fromkeys([*fresh["flag_names"], *self._flags, *sorted(flags)])]
        self._flags = self._flags[:WORDS]
        self._reasons = [*dict.fromkeys([*fresh["reasons"], *self._reasons, *reasons])]
        names = {"flag_names": self._flags, "reasons": self._reasons}
        self._node.update_metadata(names, drop_revision=True)

    def _bits_of(self, answers: PixelAnswers) -> NDArray[np.uint64]:
        number = {flag: k for k, flag in enumerate(self._flags)}
        return np.array(
            [sum(1 << number[flag] for flag in own if flag in number) for own in answers.flags],
            np.uint64,
        )

    def _progress(self) -> dict[str, Any]:
        """Return the part of the metadata that changes with every block."""
        shape = self._layout.shape
        told = self._tally.progress(self.pixels, reasons=self._reasons, flags=self._flags)
        return {
            **told,
            "shape": [self._length, *shape[1:]] if self._layout.grows else list(shape),
            "model": self._model,
            "written": self._now(),
        }

    # the end

    def finish(self, end: MapEnd, found: MapFindings) -> None:
        """Write figures, groups and clusters, and say that all is there."""
        if self._layout.grows:
            self._lengthen(end.layout.shape[0])
        self._refuse_missing()
        arrays: dict[str, NDArray[Any]] = {
            "group": found.groups.labels.astype(np.int64).reshape(end.layout.shape)
        }
        for number, axis in enumerate(end.layout.axes):
            positions = np.asarray(axis.positions, np.float64)
            if self._layout.grows and number == 0:
                self._place(np.arange(len(positions)), positions)
            elif not np.array_equal(positions, self._layout.axes[number].positions):
                arrays[f"axis_{number}"] = positions  # those that were read
        for number, along in enumerate(end.along.values()):
            arrays[f"along_{number}"] = np.asarray(along, np.float64)
        for number, one in enumerate(found.representatives):
            own = group_arrays(one)
            arrays |= {f"group_{number}_{name}": array for name, array in own.items()}
        for name, array in arrays.items():
            self._arrays.put(name, array)
        self._node.update_metadata(
            plain(
                {
                    **self._progress(),
                    "status": str(MapStatus.COMPLETE),
                    "groups": [group_summary(one) for one in found.representatives],
                    "run_flags": list(end.flags),
                    "along": [{"name": k, "unit": end.units.get(k, "")} for k in end.along],
                    "context": dict(end.context),
                    "context_units": {k: u for k, u in end.units.items() if k in end.context},
                    "measured": end.time,
                }
            ),
            drop_revision=True,
        )

    def _lengthen(self, length: int) -> None:
        """Make room for so many events, of which some may never have come."""
        self._length = max(self._length, length)
        self._room = max(self._room, _room(self._length))
        self._tally.grow(self._room * self._per_event)

    def _refuse_missing(self) -> None:
        """Give the pixels that never came their reason, and no spectrum."""
        missing = self._tally.missing(self.pixels)
        if not len(missing):
            return
        refusal = Rejected(reason=Reason.NO_DATA, detail="it was not measured")
        answers = refused_pixels(len(missing), refusal)
        self._name([answers])
        values: dict[str, NDArray[Any]] = {
            "flags": np.zeros(len(missing), np.uint64),
            FIGURE_STACK: answers.figures,
            "cn_prob": answers.cn_prob,
            "reason": renumbered(answers, self._reasons),
        }
        for name in ("mu", "norm"):
            if name in self._arrays:
                size = self._arrays[name].shape[-1]
                values[name] = np.full((len(missing), size), np.nan, np.float32)
        self._write_all([(missing, values)])

    def row(self, measured: float, latency_s: float, flags: Sequence[str]) -> MapRow:
        """Return how far it is."""
        answered = self._tally.answered(self.pixels)
        shape = self._layout.shape
        return MapRow(
            key=self._key,
            status=MapStatus(self._node.metadata["status"]),
            run=self._run,
            stream=self._stream,
            edge=f"{self._about['absorber']} {self._about['edge']}",
            shape=(self._length, *shape[1:]) if self._layout.grows else shape,
            pixels=self.pixels,
            answered=answered,
            rejected=self._tally.come(self.pixels) - answered,
            measured=measured,
            latency_s=latency_s,
            flags=tuple(flags),
        )


def _side_by_side(steps: Sequence[Callable[[], object]]) -> None:
    """Take some steps at a time; what one of them raises is raised."""
    with ThreadPoolExecutor(TOGETHER, thread_name_prefix="nearedge-map") as pool:
        for _ in pool.map(lambda step: step(), steps):
            pass


def _room(length: int) -> int:
    return max(1, -(-length // STEP)) * STEP


def group_arrays(one: Representative) -> dict[str, np.ndarray]:
    """Return the arrays of a group, as those of a map from a file are called."""
    if isinstance(one.answer, Rejected) or one.spectrum is None:
        return {}
    samples = one.answer.samples
    return {
        "energy": np.asarray(one.spectrum.energy),
        "norm": np.asarray(one.spectrum.flat),
        "positions": np.asarray(samples.positions, np.float32),
        "species": numbers_of(samples.species),
        "weights": np.asarray(samples.weights),
        "cn_prob": np.asarray(one.answer.estimates.cn_prob),
    }


def group_summary(one: Representative) -> dict[str, Any]:
    """Return what can be searched of a group."""
    if isinstance(one.answer, Rejected):
        why = one.answer
        return {"pixels": one.pixels, "reason": str(why.reason), "detail": why.detail}
    found = one.answer.estimates
    return {
        "pixels": one.pixels,
        "cn_mean": found.cn_mean,
        **{
            name: figure.mean
            for name in ("bond", "angle")
            if (figure := getattr(found, name)) is not None
        },
        "ood_score": one.answer.ood_score,
        "flags": ", ".join(one.answer.flags),
    }
