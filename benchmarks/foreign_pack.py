"""Pack the calculated and the measured spectra of foreign materials into one data set.

python benchmarks/foreign_pack.py OUT.parquet --calculated A.parquet B.parquet --measured DIR

A measured spectrum is kept normalised and flattened, from 30 eV below its edge to 62 eV past it;
it has no known neighbours. Those that nearedge rejects are named and left out.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nearedge.callbacks.prepare import prepare
from nearedge.models.data.dataset import Site, read_dataset, write_dataset
from nearedge.models.spectrum import NormalisedSpectrum
from nearedge.streaming.settings.configuration import load_profile
from nearedge.streaming.sources.files import read_spectra


def _site(name: str, found: NormalisedSpectrum) -> Site:
    inside = (found.energy > found.e0 - 30) & (found.energy < found.e0 + 62)
    return Site(
        id=name,
        split="foreign",
        group="measured",
        family=name,
        structure=name,
        source=name,
        absorber=found.absorber,
        edge=found.edge,
        rattle=0.0,
        strain=0.0,
        species=np.array([], dtype=np.str_),
        positions=np.zeros((0, 3)),
        energy=found.energy[inside],
        mu=found.flat[inside],
        mu0=np.zeros(0),
        e_fermi=float("nan"),
    )


def measured(folder: Path) -> Iterator[Site]:
    """Give every spectrum of a folder that normalises."""
    for path in sorted([*folder.rglob("*.xdi"), *folder.rglob("*.msa")]):
        name = "eels" if path.suffix == ".msa" else "xanes-transmission"
        profile = load_profile((name,), environ={})
        for one in read_spectra(path, profile.instrument):
            found = one.spectrum
            if not hasattr(found, "reason"):
                found = prepare(found, profile.instrument, supports=lambda absorber, edge: True)
            if isinstance(found, NormalisedSpectrum):
                yield _site(one.id, found)
            else:
                print(f"left out {one.id}: {found.detail}")


def main() -> None:
    """Read, pack and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--calculated", type=Path, nargs="+", required=True)
    parser.add_argument("--measured", type=Path, required=True)
    told = parser.parse_args()
    sites = [*read_dataset(told.calculated), *measured(told.measured)]
    write_dataset(sites, told.out)
    print(f"{len(sites)} foreign spectra in {told.out}")


if __name__ == "__main__":
    main()
