"""Numbers and headings as instruments and spreadsheets write them."""

import numpy as np
import pytest

from nearedge.callbacks.instrument import Instrument
from nearedge.models import Reason, Rejected
from nearedge.streaming.sources.files import read_spectra
from nearedge.streaming.sources.files.spectra import sweeps

ENERGY = np.arange(1800.0, 1900.0, 1.0)
MU = 0.3 + 1 / (1 + np.exp(-(ENERGY - 1841.0)))
POINTS = list(zip(ENERGY, MU, strict=True))
GROUPED = [f"{e:,.6f};{m:,.6f}" for e, m in POINTS]
PLAIN = [f"{e:.6f}\t{m:.6f}" for e, m in zip(ENERGY, MU, strict=True)]


def read(tmp_path, text, *, encoding="utf-8", **settings):
    path = tmp_path / "scan.dat"
    path.write_bytes(text.encode(encoding))
    return [one.spectrum for one in read_spectra(path, Instrument(**settings))]


def german(number):
    return f"{number:,.6f}".translate(str.maketrans(",.", ".,"))


def joined(lines, end="\n"):
    return end.join(lines) + end


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (joined(PLAIN, "\r"), "utf-8"),
        (joined(PLAIN, "\r\n"), "utf-8"),
        (joined(["Energie\tmu", *PLAIN]), "utf-16"),
        (joined(["Energie\tmu", *PLAIN]), "utf-16-le"),
        (joined(["Énergie (eV)\tmu", *PLAIN]), "latin-1"),
        (joined(PLAIN).replace(".", ","), "utf-8"),
        (joined(["Energie;mu", *PLAIN]).replace("\t", ";").replace(".", ","), "utf-8"),
        (joined(PLAIN).replace("\t", "  ").replace(".", ","), "utf-8"),
        (joined([f"{e / 1e3}D+03 {m}d+00" for e, m in zip(ENERGY, MU, strict=True)]), "utf-8"),
        (joined(['"energy","mu"', *PLAIN]).replace("\t", ","), "utf-8"),
        (joined(["energy [eV]\tmu [a.u.]", *PLAIN, "", "End of scan, beam dumped"]), "utf-8"),
        (joined(["2 columns follow", "energy  mu", *PLAIN]), "utf-8"),
        (joined(["n,Energy (eV),mu", *(f"7,{a}" for a in PLAIN)]).replace("\t", ","), "utf-8"),
        (joined(["energy\t\tmu", *PLAIN]).replace("\t", "\t\t"), "utf-8"),
        (joined(["time\tenergy\tmu", *(f"2024-01-02 10:11:12.5\t{a}" for a in PLAIN)]), "utf-8"),
        (joined(["time\tenergy\tmu", *(f"5/6/2024 10:11:12 PM\t{a}" for a in PLAIN)]), "utf-8"),
        (joined(["Energie;mu", *(f"{german(e)};{german(m)}" for e, m in POINTS)]), "utf-8"),
        (joined(["energy\tmu", *(f"{e:,.6f}\t{m:,.6f}" for e, m in POINTS)]), "utf-8"),
        (joined(["energy,mu", *(f'"{e:,.6f}","{m:,.6f}"' for e, m in POINTS)]), "utf-8"),
        (joined(["energy;mu", *GROUPED]).replace(",", "’"), "utf-8"),
        (joined(["energy\tmu", *GROUPED]).replace(";", "\t").replace(",", "\u202f"), "utf-8"),
        (joined(["energy;mu", *GROUPED]).replace(",", " "), "utf-8"),
        (joined([f"{line};" for line in PLAIN]).replace("\t", ";\t").replace(".", ","), "utf-8"),
        (joined(['"Energy, eV","mu, a.u."', *PLAIN]).replace("\t", ","), "utf-8"),
        (joined(["| energy | mu |", *(f"| {a} |" for a in PLAIN)]).replace("\t", " | "), "utf-8"),
        (joined(["energy\tmu", "eV\t-", *PLAIN]), "utf-8"),
        (joined(["energy mu state", *(f"{a}\tOK" for a in PLAIN)]), "utf-8"),
        (joined(["energy mu", *(f"{a} # refill {n}" for n, a in enumerate(PLAIN))]), "utf-8"),
        (joined(["energy\tmu", *PLAIN]), "utf-32"),
        (joined(["energy\tmu", *PLAIN]), "utf-16-be"),
        (joined(["Energía (eV)\tmu", *PLAIN]), "utf-8-sig"),
        (joined(["energy\tmu", *PLAIN]) + "\0" * 90, "utf-8"),
    ],
)  # fmt: skip
def test_every_way_of_writing_numbers_gives_the_same(tmp_path, text, encoding):
    (spectrum,) = read(tmp_path, text, encoding=encoding)
    assert not isinstance(spectrum, Rejected), spectrum
    np.testing.assert_allclose(spectrum.energy, ENERGY)
    np.testing.assert_allclose(spectrum.mu, MU, atol=1e-6)
    assert spectrum.flags == ()


def test_negative_numbers_that_ran_together_are_two(tmp_path):
    lines = [f"{e:.3f}{-m:.6f}" if n % 9 == 4 else f"{e:.3f} {-m:.6f}"
             for n, (e, m) in enumerate(zip(ENERGY, MU, strict=True))]  # fmt: skip
    (spectrum,) = read(tmp_path, joined(["energy mu", *lines]))
    np.testing.assert_allclose(spectrum.mu, -MU, atol=1e-6)


@pytest.mark.parametrize(
    "cell", ["N/A", "****", "-1.#IND", "1.#QNAN", "nan", "null", "#DIV/0!", "OVERLOAD"]
)
def test_cells_that_stand_for_no_number_leave_their_point_out_with_a_flag(tmp_path, cell):
    lines = [*PLAIN]
    for n in (0, 1, 30):
        lines[n] = lines[n].split("\t")[0] + "\t" + cell
    (spectrum,) = read(tmp_path, joined(["energy\tmu", *lines]))
    assert np.isnan(spectrum.mu[[0, 1, 30]]).all()
    assert len(spectrum.mu) == len(ENERGY)
    assert "bad-points" in spectrum.flags


def test_an_empty_cell_keeps_its_place(tmp_path):
    lines = [f"{e},1000,{1000 * np.exp(-m):.6f}" for e, m in zip(ENERGY, MU, strict=True)]
    lines[5] = f"{ENERGY[5]},,{1000 * np.exp(-MU[5])}"
    (spectrum,) = read(tmp_path, joined(["energy,i0,it", *lines]))
    assert np.isnan(spectrum.mu[5])
    np.testing.assert_allclose(np.delete(spectrum.mu, 5), np.delete(MU, 5), atol=1e-6)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({40: "1840.0 bad"}, "line 41"),
        ({40: "1840.0"}, "line 41"),
        ({40: "the beam was lost"}, "line 41"),
        ({0: "1800.0\t0.3\t0.3"}, "line 1"),
        ({1: "1801.0 bad"}, "line 2"),
        ({99: "1899.0\t0.3\tx"}, "line 100"),
    ],
)
def test_a_line_that_makes_no_sense_is_named(tmp_path, changed, said):
    lines = [changed.get(n, line) for n, line in enumerate(PLAIN)]
    (refusal,) = read(tmp_path, joined(lines))
    assert isinstance(refusal, Rejected)
    assert said in refusal.detail
    assert "mend or remove" in refusal.detail


def test_units_below_the_names_count(tmp_path):
    lines = [f"{e / 1e3:.6f}\t{m:.6f}" for e, m in POINTS]
    (spectrum,) = read(tmp_path, joined(["Energy\tmu", "[keV]\t[a.u.]", *lines]), absorber="Fe")
    np.testing.assert_allclose(spectrum.energy, ENERGY)


def test_whole_numbers_that_may_be_grouped_are_no_fractions(tmp_path):
    lines = [f"{e:,.0f},{1e6:,.0f},{1e6 * np.exp(-m):,.0f}" for e, m in POINTS]
    (refusal,) = read(tmp_path, joined(["energy,i0,it", *lines]))
    assert isinstance(refusal, Rejected)


def test_a_cut_last_row_makes_the_scan_partial(tmp_path):
    (spectrum,) = read(tmp_path, joined(PLAIN[:-1]) + "1899.0")
    assert not spectrum.complete
    assert len(spectrum.energy) == len(ENERGY) - 1


def test_columns_without_names_say_how_to_name_them(tmp_path):
    (refusal,) = read(tmp_path, joined([f"{line}\t1\t2" for line in PLAIN]))
    assert "4 columns" in refusal.detail
    assert "--columns" in refusal.detail


@pytest.mark.parametrize("head", [[], ["Energie,mu"]])
def test_decimal_commas_beside_commas_are_told_as_such(tmp_path, head):
    lines = [line.replace(".", ",").replace("\t", ",") for line in PLAIN]
    (refusal,) = read(tmp_path, joined([*head, *lines]))
    assert "decimal commas" in refusal.detail


@pytest.mark.parametrize("names", ["k chi", "k chi chik2"])
def test_chi_of_k_is_told_as_such(tmp_path, names):
    zero = " 0" * (len(names.split()) - 2)
    lines = [f"{k:.2f} {np.sin(k):.5f}{zero}" for k in np.arange(0, 12, 0.05)]
    (refusal,) = read(tmp_path, joined([f"# {names}", *lines]))
    assert "chi(k)" in refusal.detail


def test_energies_in_kev_are_told_by_the_edge(tmp_path):
    lines = [f"{e / 1e3:.6f} {m:.6f}" for e, m in zip(ENERGY, MU, strict=True)]
    (spectrum,) = read(tmp_path, joined(lines))
    np.testing.assert_allclose(spectrum.energy, ENERGY)


def test_comments_of_an_xdi_file_say_nothing_of_its_columns(tmp_path):
    head = ["# XDI/1.0", "# Element.symbol: Si", "# Element.edge: K", "# Column.1: energy eV",
            "# Column.2: mutrans", "# ///", "# Element.symbol: O was measured before",
            "# Column.1: energy keV", "# Column.2: bad points at the end", "# ---"]  # fmt: skip
    (spectrum,) = read(tmp_path, joined([*head, *PLAIN]))
    assert spectrum.absorber == "Si"
    np.testing.assert_allclose(spectrum.energy, ENERGY)


@pytest.mark.parametrize("number", ["²", "1.5", "x", "-1"])
def test_a_strange_number_of_an_xdi_column_is_a_reason(tmp_path, number):
    head = ["# XDI/1.0", "# Column.1: energy eV", f"# Column.{number}: mutrans", "# ---"]
    (outcome,) = read(tmp_path, joined([*head, *PLAIN]))
    assert isinstance(outcome, Rejected)


@pytest.mark.parametrize("points", ["nan", "inf", "many"])
def test_a_strange_number_of_points_of_an_msa_file_is_a_reason(tmp_path, points):
    head = ["#FORMAT : EMSA/MAS", f"#NPOINTS : {points}", "#XPERCHAN : 1", "#OFFSET : 500",
            "#XUNITS : eV", "#DATATYPE : Y", "#SPECTRUM :"]  # fmt: skip
    (refusal,) = read(tmp_path, joined([*head, "1, 2, 3,", "4, 5", "#ENDOFDATA"]))
    assert "NPOINTS" in refusal.detail


def test_scans_behind_one_another_are_not_averaged(tmp_path):
    other = [f"{e:.6f}\t{2 * m:.6f}" for e, m in zip(ENERGY, MU, strict=True)]
    one, two = read(tmp_path, joined(["energy\tmu", *PLAIN, "# again", *other]))
    np.testing.assert_allclose(two.mu, 2 * one.mu, atol=1e-5)


def test_readings_in_turn_at_each_energy_are_compared_before_they_are_averaged(tmp_path):
    shifted = 0.3 + 1 / (1 + np.exp(-(ENERGY - 1846.0)))
    other = [f"{e:.6f}\t{m:.6f}" for e, m in zip(ENERGY, shifted, strict=True)]
    (alike,) = read(tmp_path, joined(np.column_stack([PLAIN, PLAIN]).ravel()))
    assert alike.flags == ()
    unlike = joined(np.column_stack([PLAIN, other]).ravel())
    (flagged,) = read(tmp_path, unlike)
    assert flagged.flags == ("unlike-averaged",)
    (refused,) = read(tmp_path, unlike, split={"unlike": "reject"})
    assert refused.reason is Reason.UNLIKE
    assert "no repeats of one spectrum" in refused.detail


def test_sweeps_to_and_fro_are_parted_and_repeated_points_are_not():
    up = np.arange(100.0, 200.0)
    assert sweeps(up) == [(0, 100)]
    assert sweeps(np.concatenate([up, up])) == [(0, 100), (100, 200)]
    assert sweeps(np.concatenate([up, up[::-1], up])) == [(0, 101), (101, 201), (201, 300)]
    assert sweeps(np.concatenate([up[:60], up[55:]])) == [(0, 105)]
    assert sweeps(np.where(np.arange(100) == 50, 0.0, up)) == [(0, 100)]
    assert sweeps(np.full(5, np.nan)) == [(0, 5)]
