"""Maps of files are answered whole."""

import h5py
import numpy as np
import pytest

from nearedge.models import Technique
from nearedge.models.answering.several import Several
from nearedge.models.many_spectra import Spectra
from nearedge.models.maps.image import ScanAxis, SpectrumImage
from nearedge.streaming.cli import main
from nearedge.streaming.commands.mapping import MapOptions, Mapping, in_words
from nearedge.streaming.settings.profile import Profile
from nearedge.streaming.sources.files.maps import read_map

ENERGY = 1790.0 + 0.5 * np.arange(240)
SHAPE = (6, 8)


def edge(peak, width):
    off = ENERGY - 1846.0
    rise = 1 / (1 + np.exp(-np.clip(off / 0.8, -50, 50)))
    return rise * (1 + peak * np.exp(-0.5 * ((off - 1.5) / width) ** 2))


def image(shape=SHAPE):
    """Two kinds of pixels side by side, and nothing in the first line."""
    rng = np.random.default_rng(0)
    kinds = np.zeros(shape, dtype=int)
    kinds[:, shape[1] // 2 :] = 1
    kinds[0] = 2
    height = np.array([0.4 * edge(1.8, 1.5), 0.4 * edge(0.8, 3.0), 0 * ENERGY])
    mu = rng.poisson(2e4 * (3 * (ENERGY / 1843) ** -3 + height[kinds]))
    axes = (
        ScanAxis(name="y", unit="nm", positions=0.5 * np.arange(shape[0])),
        ScanAxis(name="x", unit="nm", positions=0.5 * np.arange(shape[1])),
    )
    spectra = Spectra(
        energy=ENERGY,
        mu=mu.reshape(-1, len(ENERGY)).astype(float),
        technique=Technique.EELS,
        absorber="Si",
        edge="K",
    )
    return SpectrumImage(spectra=spectra, axes=axes, title="two kinds")


@pytest.fixture(scope="module")
def profile():
    return Profile.model_validate(
        {
            "instrument": {"technique": "eels", "absorber": "Si", "composition": "SiO2"},
            "worker": {"model": "siox", "samples": 4, "threads": 1},
        }
    )


@pytest.fixture(scope="module")
def model():
    return Several.load("siox", device="cpu", threads=1)


@pytest.fixture(scope="module")
def mapped(profile, model, tmp_path_factory):
    out = tmp_path_factory.mktemp("map") / "map.h5"
    seen = []
    mapping = Mapping(profile, model, MapOptions(), progress=lambda *told: seen.append(told))
    report = mapping.run(image(), out, source="here")
    return report, out, seen


def test_every_pixel_is_answered_or_has_its_reason(mapped):
    report, out, seen = mapped
    assert report.answered == 40
    assert report.reasons == {"no-edge": 8}
    assert seen[-1] == (48, 48)
    with h5py.File(out) as file:
        figures = file["entry/figures"]
        answered = np.isfinite(figures["cn_mean"][()])
        assert answered.shape == SHAPE
        assert not answered[0].any()
        assert answered[1:].all()
        assert (figures["reason"][()] == -1).tolist() == answered.tolist()
        assert list(figures["reason"].attrs["names"]) == ["no-edge"]
        assert (figures["bond_lo"][1:] < figures["bond"][1:]).all()
        assert file["entry/cn_prob/cn_prob"][3, 3].sum() == pytest.approx(1.0)
        names = list(figures["flags"].attrs["names"])
        bit = np.uint64(1 << names.index("heads-only"))
        assert ((figures["flags"][()] & bit > 0) == answered).all()


def test_like_pixels_are_groups_with_clusters(mapped):
    report, out, _ = mapped
    assert [one.pixels for one in report.groups] == [20, 20]
    with h5py.File(out) as file:
        groups = file["entry/figures/group"][()]
        assert len(np.unique(groups[1:, :4])) == 1
        assert groups[1, 0] != groups[1, 5]
        assert (groups[0] == -1).all()
        first = file["entry/groups/0"]
        assert first["positions"].shape[0] == 4
        assert first["weights"][()].sum() == pytest.approx(1.0)
        assert first["pixels"][()] == 20


def test_the_file_is_read_as_a_map_again(mapped, profile):
    _, out, _ = mapped
    found = read_map(out, profile.instrument)
    assert found.shape == SHAPE
    assert [axis.name for axis in found.axes] == ["y", "x"]
    assert np.isfinite(found.spectra.mu[8:]).all()
    assert np.isnan(found.spectra.mu[:8]).all()


def test_hyperspy_reads_the_normalised_spectra(mapped):
    hspy = pytest.importorskip("rsciio.hspy")
    _, out, _ = mapped
    (signal,) = hspy.file_reader(str(out))
    assert signal["data"].shape == (*SHAPE, 240)
    assert [axis["name"] for axis in signal["axes"]] == ["y", "x", "Energy"]
    assert signal["axes"][1]["scale"] == pytest.approx(0.5)


def test_bins_and_components_are_told(profile, model, tmp_path):
    options = MapOptions(bin=2, denoise=True, groups=0)
    report = Mapping(profile, model, options).run(image((12, 16)), tmp_path / "a.h5", source="x")
    assert report.shape == (6, 8)
    assert report.rank is not None
    assert report.groups == ()
    assert report.flags["binned"] == report.flags["denoised"] == report.answered
    told = list(in_words(report))
    assert told[0].startswith("6 × 8 pixels: ")
    assert any("principal components kept" in line for line in told)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["entry/figures/x"][:3].tolist() == [0.25, 1.25, 2.25]
        assert file["entry/process/denoised_rank"][()] == report.rank


def test_pixels_are_fitted_by_chosen_groups(profile, model, tmp_path):
    options = MapOptions(members=(0, 1))
    Mapping(profile, model, options).run(image(), tmp_path / "a.h5", source="x")
    with h5py.File(tmp_path / "a.h5") as file:
        group = file["entry/figures/group"][()]
        fractions = file["entry/fractions/fractions"][()]
        assert file["entry/fractions/misfit"].shape == SHAPE
        assert file["entry/process/members"].asstr()[()] == "0, 1"
    assert np.isnan(fractions[0]).all()
    for number in (0, 1):
        assert fractions[group == number].mean(axis=0)[number] > 0.9
    with pytest.raises(ValueError, match="found 2 groups, numbered from 0"):
        wrong = MapOptions(members=(0, 7))
        Mapping(profile, model, wrong).run(image(), tmp_path / "b.h5", source="x")
    assert not (tmp_path / "b.h5").exists()


@pytest.mark.parametrize("members", ["a,b", "-1"])
def test_the_command_wants_numbers_of_groups(members, tmp_path, capsys):
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file["counts"], file["energy"] = np.ones((2, 3, 12)), 1800.0 + np.arange(12.0)
    command = [
        "map",
        str(tmp_path / "raw.h5"),
        "-o",
        str(tmp_path / "m.h5"),
        f"--members={members}",
    ]
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 2
    assert "expected numbers of groups" in capsys.readouterr().err


def test_the_same_seed_gives_the_same_file(profile, model, tmp_path):
    paths = [tmp_path / name for name in ("a.h5", "b.h5")]
    for path in paths:
        Mapping(profile, model, MapOptions(seed=3)).run(image(), path, source="x")
    one, other = (h5py.File(path) for path in paths)
    with one, other:
        for name in ("entry/figures/bond", "entry/groups/0/positions", "entry/figures/group"):
            assert np.array_equal(one[name][()], other[name][()], equal_nan=True)


def test_the_command_maps_a_file(tmp_path, capsys, monkeypatch):
    found = image()
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file["counts"] = found.spectra.mu.reshape(*SHAPE, -1)
        file["energy"] = ENERGY
        file["energy"].attrs["units"] = "eV"
    monkeypatch.setenv("NEAREDGE__INSTRUMENT__ABSORBER", "Si")
    monkeypatch.setenv("NEAREDGE__WORKER__MODEL", "siox")
    out = tmp_path / "map.h5"
    with pytest.raises(SystemExit) as ended:
        main(["map", str(tmp_path / "raw.h5"), "-o", str(out), "-c", "eels", "--groups", "0"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "6 × 8 pixels: 40 answered, 8 rejected" in said
    assert "rejected, no-edge: 8, such as: no edge stands out" in said
    assert out.is_file()


def test_the_command_refuses_other_endings(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["map", str(tmp_path / "raw.h5"), "-o", str(tmp_path / "map.png")])
    assert ended.value.code == 2
    assert "expected .h5" in capsys.readouterr().err
