import collections
import dataclasses
import pathlib

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nearedge.callbacks.measurement import Measurement, Run
from nearedge.models import (
    Estimates,
    Interval,
    Inversion,
    NormalisedSpectrum,
    Quality,
    Reason,
    Rejected,
    Samples,
    Technique,
)
from nearedge.streaming.ledger.packing import PackError, pack, unpack


def same(a: object, b: object) -> bool:
    """Equal in type and, bit for bit, in value; NaN equals NaN."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray | np.generic):
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        if a.dtype == object:
            return all(map(same, a.flat, b.flat))
        return a.tobytes() == b.tobytes()
    if dataclasses.is_dataclass(a):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (a != a and b != b)


dtypes = st.sampled_from(["<f8", ">f4", "<i8", "|u1", "?", "<U4", "S3", "<c16", "<M8[ns]"])
arrays = hnp.arrays(dtypes.map(np.dtype), hnp.array_shapes(min_dims=0, min_side=0, max_side=4))
spectra_1d = hnp.arrays(np.float64, st.integers(0, 6), elements=st.floats())
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary(max_size=8)
    | st.complex_numbers()
    | arrays
    | st.sampled_from([np.float64(1.5), np.int32(-3), np.bool_(True), np.str_("é")])
    | st.frozensets(st.integers(), max_size=3)
)
plain = st.recursive(
    leaves,
    lambda x: (
        st.lists(x, max_size=3)
        | st.lists(x, max_size=3).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), x, max_size=3)
    ),
    max_leaves=8,
)
names = st.text(max_size=5)
runs = st.builds(
    Run,
    uid=names,
    scan_id=st.none() | st.integers(),
    time=st.floats(),
    start=st.dictionaries(names, plain, max_size=3),
)
measurements = st.builds(
    Measurement,
    run=runs,
    stream=names,
    spectrum=names,
    columns=st.dictionaries(names, spectra_1d, max_size=3),
    complete=st.booleans(),
    final=st.booleans(),
    time=st.floats(),
    flags=st.lists(names, max_size=2).map(tuple),
    context=st.dictionaries(names, plain, max_size=2),
    units=st.dictionaries(names, names, max_size=2),
)
normalised = st.builds(
    NormalisedSpectrum,
    energy=spectra_1d,
    mu=spectra_1d,
    norm=spectra_1d,
    flat=spectra_1d,
    e0=st.floats(),
    edge_step=st.floats(),
    technique=st.sampled_from(Technique),
    absorber=names,
    edge=names,
    parameters=st.dictionaries(names, st.floats() | names, max_size=3),
    flags=st.lists(names, max_size=2).map(tuple),
)
rejected = st.builds(Rejected, reason=st.sampled_from(Reason), detail=st.text())
intervals = st.none() | st.builds(Interval, mean=st.floats(), lo=st.floats(), hi=st.floats())


@st.composite
def inversions(draw: st.DrawFn) -> Inversion:
    samples, atoms = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    one = st.floats(width=32)
    return Inversion(
        absorber="Si",
        edge="K",
        samples=Samples(
            species=draw(
                hnp.arrays("<U2", (samples, atoms), elements=st.sampled_from(["O", "Si"]))
            ),
            positions=draw(hnp.arrays(np.float32, (samples, atoms, 3), elements=one)),
            weights=draw(hnp.arrays(np.float64, samples, elements=one)),
        ),
        estimates=Estimates(
            cn_prob=draw(spectra_1d),
            cn_mean=draw(st.floats()),
            cn_map=draw(st.integers()),
            cn_set=tuple(draw(st.lists(st.integers(0, 9), max_size=3))),
            bond=draw(intervals),
            angle=draw(intervals),
            bridge=draw(intervals),
            sample_cn=draw(hnp.arrays(np.int64, samples)),
            sample_bond=draw(hnp.arrays(np.float64, samples)),
            sample_angle=draw(hnp.arrays(np.float64, samples)),
            rdf_r=draw(spectra_1d),
            rdf=draw(st.dictionaries(names, spectra_1d, max_size=2)),
            cn_mean_lo=draw(st.none() | st.floats()),
            cn_mean_hi=draw(st.none() | st.floats()),
        ),
        grid=draw(spectra_1d),
        condition=draw(spectra_1d),
        ood_score=draw(st.floats()),
        ood_flag=draw(st.booleans()),
        misfit=draw(st.none() | st.floats()),
        model=draw(names),
        seed=draw(st.integers(0, 2**63)),
        quality=draw(st.sampled_from(Quality)),
        seconds=draw(st.floats()),
    )


@settings(max_examples=60)
@given(measurements | normalised | rejected | inversions() | plain)
def test_unpack_returns_what_was_packed(value: object) -> None:
    assert same(unpack(pack(value)), value)


def test_object_arrays_keep_shape_and_elements() -> None:
    array = np.empty((2, 1), object)
    array[:, 0] = [[1, 2], "x"]
    assert same(unpack(pack(array)), array)


def test_strided_and_fortran_arrays_keep_their_elements() -> None:
    array = np.arange(12.0).reshape(3, 4)
    for view in (array[:, ::-2], np.asfortranarray(array), array.T):
        np.testing.assert_array_equal(unpack(pack(view)), view)


def test_unpacked_columns_are_writable() -> None:
    unpack(pack({"i0": np.ones(3)}))["i0"][0] = 2.0


def test_other_types_are_refused_by_name() -> None:
    with pytest.raises(PackError, match="cannot pack PurePosixPath"):
        pack({"file": pathlib.PurePosixPath("x")})


def test_foreign_subclasses_become_builtins() -> None:
    assert same(unpack(pack(collections.OrderedDict(a=1))), {"a": 1})


@settings(max_examples=60)
@given(st.data())
def test_damaged_bytes_are_a_pack_error(data: st.DataObject) -> None:
    good = bytearray(pack({"a": np.arange(3), "b": (1, Reason.NO_EDGE)}))
    good[data.draw(st.integers(0, len(good) - 1))] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(good)))
    try:
        unpack(bytes(good[:cut]))
    except PackError:
        pass


def test_a_later_version_is_named() -> None:
    with pytest.raises(PackError, match="version 99"):
        unpack(msgpack.packb([99, None]))
