"""How well a shell fit of EXAFS finds coordination and bonds of the same held-out silicon sites.

python benchmarks/exafs.py [--noise 0 0.001 0.01] [--json]

The route that near-edge inversion is compared with: Larch fits one Si-O shell to the EXAFS that
`exafs_spectra.py` calculated with FEFF10. Everything is in its favour: chi(k) is given without a
background to be removed, path and spectra come from the same theory, S0² and what a fit holds (σ²,
E0) are those of a fit of noiseless quartz, and every thermal σ² is that of quartz. A fit that is no
answer is counted and left out. The noise of one point of chi(k) is the same for every k: that of
1 / noise² counts at the edge step, 0.001 being that of a million.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from larch import Group
from larch.fitting import guess, param, param_group
from larch.xafs import feffit, feffit_dataset, feffit_transform, feffpath

from nearedge.models.clusters.geometry import coordination, mean_bond
from nearedge.models.data.dataset import Site, read_dataset
from nearedge.models.evaluation.figures import Score, macro, summarise

ROOT = Path(__file__).parent.parent
DATA = ROOT / "benchmarks" / "data"
PATH = DATA / "exafs-si-o.dat"
SPLITS = ("test", "glass")
QUARTZ = "quartz"
#: Chosen on quartz alone: with this window of Larch's, S0² of the calculated spectrum is nearest 1.
SETTINGS = {"kmin": 3, "kmax": 12, "kweight": 2, "dk": 2, "window": "kaiser"}
SETTINGS |= {"rmin": 0.9, "rmax": 2.1}
START = {"amplitude": 4.0, "sigma2": 0.003, "e0": 0.0}
#: Where the fit starts from, Å off the path's length.
STARTS = (0.0, 0.35)
#: What each way to fit holds at the values of quartz.
WAYS = {
    "all free": (),
    "E0 held": ("e0",),
    "σ² held": ("sigma2",),
    "σ² and E0 held": ("sigma2", "e0"),
}
#: A fit that leaves these is discarded, as anyone would: S0²·N, bond (Å), σ² (Å²), E0 (eV).
SANE = {"amplitude": (0, 20), "bond": (1.2, 2.3), "sigma2": (0, 0.03), "e0": (-10, 10)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """A fitted shell: S0²·N, its standard error, bond (Å), σ² (Å²), E0 (eV) and R-factor."""

    amplitude: float
    amplitude_std: float
    bond: float
    sigma2: float
    e0: float
    misfit: float


def noisy(chi: np.ndarray, sigma: float, key: str) -> np.ndarray:
    """Add Gaussian noise, the same each time for the same row."""
    return chi + sigma * np.random.default_rng(int(key, 16)).normal(size=len(chi))


def _fit(k: np.ndarray, chi: np.ndarray, held: Mapping[str, float], deltar: float) -> Any:
    start = {**START, "deltar": deltar}
    told = {n: param(held[n]) if n in held else guess(value) for n, value in start.items()}
    names = {"s02": "amplitude", "deltar": "deltar", "sigma2": "sigma2", "e0": "e0"}
    data = feffit_dataset(
        data=Group(k=k, chi=chi),
        paths=[feffpath(str(PATH), degen=1, **names)],
        transform=feffit_transform(**SETTINGS),
    )
    return feffit(param_group(**told), [data], path_outputs=False)


def _shell(fit: Any) -> Shell | None:
    """Return what was fitted; None where that is no answer."""
    error = fit.params["amplitude"].stderr
    if not fit.success or error is None:
        return None
    (path,) = fit.datasets[0].paths.values()
    found = {name: float(fit.params[name].value) for name in START}
    shell = Shell(
        **found,
        amplitude_std=float(error),
        bond=float(path.reff + fit.params["deltar"].value),
        misfit=float(fit.rfactor),
    )
    sane = all(low < getattr(shell, name) < high for name, (low, high) in SANE.items())
    return shell if sane else None


def fit_shell(k: np.ndarray, chi: np.ndarray, held: Mapping[str, float]) -> Shell | None:
    """Fit one Si-O shell to chi(k) from every start; None where no fit gives an answer.

    Parameters
    ----------
    k, chi
        (n,) 1/Å, and the EXAFS.
    held
        Values of ``sigma2`` and ``e0`` that are not fitted.
    """
    shells = [_shell(_fit(k, chi, held, start)) for start in STARTS]
    return min((one for one in shells if one), key=lambda one: one.misfit, default=None)


_BLANK = dict.fromkeys((field.name for field in fields(Score)), float("nan"))


def judge(site: Site, shell: Shell, s02: float, *, only: str = "") -> Score:
    """Compare a fit with the truth, as docs/accuracy.md defines it.

    Parameters
    ----------
    site, shell, s02
        The site, what was fitted to it, and S0².
    only
        Count only neighbours of this element in the truth.
    """
    chosen = site.species == only if only else np.full(len(site.species), True)
    around = (site.absorber, site.species[chosen], site.positions[chosen])
    true, bond, cn = float(coordination(*around)), float(mean_bond(*around)), shell.amplitude / s02
    known = {
        "absorber": site.absorber,
        "cn_true": true,
        "cn_mean": cn,
        "cn_map": float(round(cn)),
        "cn_error": abs(cn - true) / true,
        "cn_correct": float(round(cn) == true),
        "bond_true": bond,
        "bond_mean": shell.bond,
        "bond_error": abs(shell.bond - bond),
    }
    return Score(**(_BLANK | known))


def figures(sites: Sequence[Site], shells: Sequence[Shell | None], s02: float) -> dict[str, Any]:
    """Average over the fits that gave an answer, and count those that gave none."""
    pairs = [(site, one) for site, one in zip(sites, shells, strict=True) if one]
    scores = [judge(site, one, s02) for site, one in pairs]
    oxygen = [judge(site, one, s02, only="O") for site, one in pairs]
    given = [judge(site, one, s02) for site, one in pairs if not site.rattle]
    whole = summarise(scores)
    kept = ("cn_error", "cn_error_macro", "cn_accuracy", "cn_accuracy_macro", "bond_error")
    return {
        "rows": len(sites),
        "failed": len(sites) - len(pairs),
        **{name: whole[name] for name in kept},
        "cn_error_every": macro(scores, "cn_error", smallest=1),
        "cn_error_oxygen": summarise(oxygen)["cn_error"],
        "cn_error_given": summarise(given)["cn_error"],
        "cn_std": float(np.mean([one.amplitude_std / s02 for _, one in pairs])) if pairs else None,
        "classes": whole["classes"],
        "confusion": whole["confusion"],
    }


def read_chi(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Read k and, for each row that FEFF gave, chi(k)."""
    rows = [row for row in pq.read_table(path).to_pylist() if row["chi"]]
    return np.array(rows[0]["k"], float), {row["id"]: np.array(row["chi"], float) for row in rows}


def calibrate(k: np.ndarray, chi: np.ndarray) -> dict[str, float]:
    """Fit quartz, whose four neighbours set S0²; give it, σ² and E0."""
    found = fit_shell(k, chi, {})
    if found is None:
        raise RuntimeError("the fit of quartz failed; expected its amplitude, to set S0²")
    return {"s02": found.amplitude / 4, "sigma2": found.sigma2, "e0": found.e0}


def measure(
    k: np.ndarray, chi: Mapping[str, np.ndarray], quartz: Mapping[str, float], noise: float
) -> Iterator[dict[str, Any]]:
    """Fit every site in every way; one without chi(k) counts as a fit that failed."""
    for split in SPLITS:
        sites = read_dataset(DATA / "siox.parquet", split=split, absorber="Si")
        for way, names in WAYS.items():
            held = {name: quartz[name] for name in names}
            shells = [
                fit_shell(k, noisy(chi[site.id], noise, site.id), held) if site.id in chi else None
                for site in sites
            ]
            told = {"split": split, "noise": noise, "way": way}
            yield told | figures(sites, shells, quartz["s02"])


def model_rows() -> Iterator[dict[str, Any]]:
    """Give what docs/accuracy.json says of the released model on the same sites."""
    found = json.loads((ROOT / "docs" / "accuracy.json").read_text())["figures"]
    for split in SPLITS:
        for condition in ("clean", "measured"):
            figure = found[condition]["model"][split]["Si"]
            classes = [one["cn_error"] for one in figure["classes"].values()]
            told = {"split": split, "noise": condition, "way": "near-edge model", "failed": 0}
            yield told | figure | {"cn_error_every": float(np.mean(classes))}


_COLUMNS = {
    "rows": ("rows", 1, 0),
    "failed": ("failed", 1, 0),
    "cn_error": ("`cn_error`, %", 100, 1),
    "cn_error_macro": ("macro, %", 100, 1),
    "cn_error_every": ("every CN, %", 100, 1),
    "cn_error_oxygen": ("O alone, %", 100, 1),
    "cn_error_given": ("not rattled, %", 100, 1),
    "cn_accuracy": ("`cn_accuracy`, %", 100, 1),
    "cn_std": ("± of N", 1, 2),
    "bond_error": ("`bond_error`, Å", 1, 3),
}


def _cell(value: float | None, scale: float, digits: int) -> str:
    return "–" if value is None else f"{scale * value:.{digits}f}"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write the figures as a Markdown table."""
    titles = [title for title, *_ in _COLUMNS.values()]
    lines = ["| split | noise | fit | " + " | ".join(titles) + " |"]
    lines.append("| --- | --- | --- |" + " ---: |" * len(titles))
    for row in rows:
        noise = row["noise"] or "none"
        cells = [_cell(row.get(n), scale, digits) for n, (_, scale, digits) in _COLUMNS.items()]
        lines.append(f"| {row['split']} | {noise} | {row['way']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def class_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write the figures of every true coordination number."""
    lines = ["| split | noise | fit | true CN | rows | `cn_error`, % | answers |"]
    lines.append("| --- | --- | --- | ---: | ---: | ---: | --- |")
    for row in rows:
        for cn, one in row["classes"].items():
            told = ", ".join(f"{n} × {found}" for found, n in row["confusion"].get(cn, {}).items())
            start = f"| {row['split']} | {row['noise'] or 'none'} | {row['way']} | {cn} |"
            lines.append(f"{start} {one['rows']} | {_cell(one['cn_error'], 100, 1)} | {told} |")
    return "\n".join(lines)


def best(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of each split and noise, keep the way whose coordination numbers err least."""
    kept: dict[tuple[str, float], Mapping[str, Any]] = {}
    for row in sorted(rows, key=lambda row: row["cn_error"]):
        kept.setdefault((row["split"], row["noise"]), row)
    return [row for row in rows if row in kept.values()]


def main() -> None:
    """Fit, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--noise", type=float, nargs="+", default=[0.0, 1e-3, 1e-2])
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    k, chi = read_chi(DATA / "exafs.parquet")
    quartz = calibrate(k, chi[QUARTZ])
    rows = [row for noise in told.noise for row in measure(k, chi, quartz, noise)]
    if told.json:
        print(json.dumps({"settings": SETTINGS, "quartz": quartz, "rows": rows}, indent=1))
        return
    print(table([*rows, *model_rows()]), class_table(best(rows)), sep="\n\n")
    print("\nquartz:", quartz, "\nsettings:", SETTINGS)


if __name__ == "__main__":
    main()
