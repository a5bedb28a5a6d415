import os

import h5py
import numpy as np
import pytest

from nearedge.callbacks.external import (
    ReadingError,
    dataset_of,
    dataset_of_resource,
    local_path,
    read_frames,
)

FRAMES = np.arange(3 * 8, dtype=float).reshape(3, 8)


@pytest.fixture
def frames_file(tmp_path):
    path = tmp_path / "data" / "frames.h5"
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        file["spectrum"] = FRAMES
        file["stacked"] = FRAMES[:, None, :]
        file["pairs"] = np.concatenate([FRAMES, FRAMES + 100])
        file["sum"] = FRAMES.sum(axis=1)
        file["text"] = np.array([b"a", b"b", b"c"])
        file.create_group("entry")
    return path


def read(path, name, *, start=0, stop=3, shape=(1, 8), roots=None):
    dataset = dataset_of(
        uri=f"file://localhost{path}", mimetype="application/x-hdf5", parameters={"dataset": name}
    )
    return read_frames(
        dataset,
        start=start,
        stop=stop,
        shape=shape,
        roots=(str(path.parent),) if roots is None else roots,
    )


def test_frames_concatenated_stacked_and_scalar(frames_file):
    assert np.array_equal(read(frames_file, "/spectrum"), FRAMES)
    assert np.array_equal(read(frames_file, "spectrum", shape=(8,)), FRAMES)
    assert np.array_equal(read(frames_file, "stacked"), FRAMES[:, None])
    assert np.array_equal(read(frames_file, "sum", shape=(1,)), FRAMES.sum(axis=1))
    assert np.array_equal(read(frames_file, "sum", shape=()), FRAMES.sum(axis=1))


def test_several_rows_make_one_reading(frames_file):
    pairs = read(frames_file, "pairs", start=1, stop=3, shape=(2, 8))
    assert pairs.shape == (2, 2, 8)
    assert np.array_equal(pairs[0, 0], FRAMES[2])


@pytest.mark.parametrize(
    ("name", "shape", "stop", "says"),
    [
        ("spectrum", (1, 8), 4, "holds 3 readings, expected 4"),
        ("nothing", (1, 8), 3, "nothing"),
        ("entry", (1, 8), 3, "expected a data set"),
        ("text", (1,), 3, "expected numbers"),
        ("spectrum", (2, 3, 8, 8), 3, "expected readings of"),
    ],
)
def test_what_cannot_be_read_says_why(frames_file, name, shape, stop, says):
    with pytest.raises(ReadingError, match=says):
        read(frames_file, name, shape=shape, stop=stop)


def test_a_file_that_is_no_hdf5_or_not_there(tmp_path):
    (tmp_path / "text.h5").write_text("no HDF5")
    for name, says in (("text.h5", "text.h5"), ("missing.h5", "found no file")):
        with pytest.raises(ReadingError, match=says):
            read(tmp_path / name, "spectrum")


def test_other_formats_are_refused(frames_file):
    dataset = dataset_of(uri=f"file://{frames_file}", mimetype="image/tiff", parameters={})
    with pytest.raises(ReadingError, match="expected HDF5"):
        read_frames(dataset, start=0, stop=1, shape=(), roots=(str(frames_file.parent),))


@pytest.mark.parametrize(
    "uri",
    ["http://localhost/x.h5", "file://elsewhere/x.h5", "/data/x.h5", "s3://b/x.h5", "", "file:x"],
)
def test_only_local_files_are_opened(uri, tmp_path):
    with pytest.raises(ReadingError):
        local_path(uri, roots=(str(tmp_path),))


def test_files_outside_the_folders_are_refused(frames_file, tmp_path):
    outside = tmp_path / "secret.h5"
    with h5py.File(outside, "w") as file:
        file["spectrum"] = FRAMES
    (frames_file.parent / "link.h5").symlink_to(outside)
    roots = (str(frames_file.parent),)
    for path in (
        outside,
        frames_file.parent / ".." / "secret.h5",
        frames_file.parent / "link.h5",
        f"{frames_file.parent}/%2e%2e/secret.h5",
        f"{frames_file.parent}x/../secret.h5",
    ):
        with pytest.raises(ReadingError, match="outside the permitted folders"):
            local_path(f"file://localhost{path}", roots=roots)
    with pytest.raises(ReadingError, match="readable_roots"):
        read(frames_file, "spectrum", roots=())


def test_a_root_behind_a_link_is_fine(frames_file, tmp_path):
    (tmp_path / "mount").symlink_to(frames_file.parent)
    assert np.array_equal(read(tmp_path / "mount" / "frames.h5", "spectrum"), FRAMES)


def test_hdf5_links_do_not_lead_out(frames_file, tmp_path):
    outside = tmp_path / "secret.h5"
    with h5py.File(outside, "w") as file:
        file["spectrum"] = FRAMES
    with h5py.File(frames_file, "a") as file:
        file["external"] = h5py.ExternalLink(str(outside), "/spectrum")
        layout = h5py.VirtualLayout(shape=(3, 8), dtype=float)
        layout[:] = h5py.VirtualSource(str(outside), "spectrum", shape=(3, 8))
        file.create_virtual_dataset("virtual", layout)
        raw = [(str(tmp_path / "secret.bin"), 0, FRAMES.nbytes)]
        file.create_dataset("raw", shape=(3, 8), dtype=float, external=raw)
    for name in ("external", "virtual", "raw"):
        with pytest.raises(ReadingError, match="outside the permitted folders"):
            read(frames_file, name)


def test_virtual_data_sets_within_the_folders_are_read(frames_file):
    with h5py.File(frames_file.parent / "master.h5", "w") as file:
        layout = h5py.VirtualLayout(shape=(3, 8), dtype=float)
        layout[:] = h5py.VirtualSource("frames.h5", "spectrum", shape=(3, 8))
        file.create_virtual_dataset("spectrum", layout)
    assert np.array_equal(read(frames_file.parent / "master.h5", "spectrum"), FRAMES)


def test_a_file_that_is_still_written_is_read(tmp_path):
    path = tmp_path / "growing.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset("spectrum", (1, 8), float, maxshape=(None, 8), chunks=(1, 8))
        file["spectrum"][0] = FRAMES[0]
        file.swmr_mode = True
        assert np.array_equal(read(path, "spectrum", stop=1), FRAMES[:1])
        file["spectrum"].resize(2, axis=0)
        file["spectrum"][1] = FRAMES[1]
        file["spectrum"].flush()
        assert np.array_equal(read(path, "spectrum", stop=2), FRAMES[:2])
        with pytest.raises(ReadingError, match="may not be written yet"):
            read(path, "spectrum", stop=3)


def test_the_older_form_names_its_file_in_parts():
    dataset = dataset_of_resource(
        spec="AD_HDF5", root="/data", resource_path="/run/x.h5", parameters={}
    )
    assert (dataset.uri, dataset.path) == ("file://localhost/data/run/x.h5", "/entry/data/data")
    assert dataset.mimetype == "application/x-hdf5"
    tiff = dataset_of_resource(spec="AD_TIFF", root="", resource_path="/x", parameters={})
    assert "AD_TIFF" in tiff.mimetype


@pytest.mark.parametrize(
    "uri",
    [
        "file://localhost/data/a%00.h5",
        "file://localhost/data/a\x00.h5",
        "file://[broken/x.h5",
        "file://localhost/" + "a/" * 5000,
        "file://localhost/dev/zero",
        "file://localhost/proc/self/environ",
        "file://localhost/..%2f..%2fetc/passwd",
        "file://localhost\\data\\x.h5",
        "FILE://LOCALHOST/etc/passwd",
        "file://localhost/etc/passwd?x=/data/x.h5",
        "file://localhost/etc/passwd#/data/x.h5",
    ],
)
def test_hostile_paths_are_refused_with_a_reason(uri, tmp_path):
    dataset = dataset_of(uri=uri, mimetype="application/x-hdf5", parameters={"dataset": "a"})
    with pytest.raises(ReadingError):
        read_frames(dataset, start=0, stop=1, shape=(), roots=(str(tmp_path),))


def test_a_pipe_below_the_folders_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.h5")
    with pytest.raises(ReadingError, match="found no file"):
        read(tmp_path / "pipe.h5", "a", roots=(str(tmp_path),))
