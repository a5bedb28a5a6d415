"""Calculate the EXAFS of the held-out silicon sites, and of quartz, with FEFF10.

python benchmarks/exafs_spectra.py --lines exafs.jsonl

The potentials are those of `siox.parquet`; instead of full multiple scattering near the edge, paths
of up to four legs are summed to k = 16 1/Å. Every site becomes a line of the file named, from
which an interrupted run goes on; at the end all are packed into benchmarks/data/exafs.parquet. The
single-scattering Si-O path of quartz, which the fits take, is written beside it. Needs the
`feff` extra; about a quarter of an hour of one core.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pymatgen.core import Lattice, Structure

from nearedge.models.data.dataset import read_dataset
from nearedge.sim.dataset import lines_of
from nearedge.sim.sites import Cluster, cluster_around
from nearedge.streaming.workers.feff import FeffError, calculate, feff_input, require_feff

DATA = Path(__file__).parent / "data"
SPLITS = ("test", "glass")
QUARTZ = "quartz"
K = np.arange(281) * 0.05
#: The mean square variation of every path's length, Å²: about that of Si-O at room temperature.
#: One value for all sites and quartz, so that quartz calibrates it exactly.
SIGMA2 = 0.003
#: What stands in feff.inp for the cards of a near-edge spectrum; the paths are written out.
CARDS = {
    "PRINT": ["PRINT 0 0 0 0 0 3"],
    "FMS": ["RPATH 5.5", "NLEG 4"],
    "XANES": ["EXAFS 16", f"SIG2 {SIGMA2}"],
}
SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "k": pa.list_(pa.float32()),
        "chi": pa.list_(pa.float32()),
        "error": pa.string(),
    }
)


def quartz() -> Cluster:
    """Return what surrounds silicon in alpha-quartz (Levien, Prewitt & Weidner 1980)."""
    sites = [[0.4697, 0, 2 / 3], [0.4135, 0.2669, 0.1191 + 2 / 3]]
    cell = Lattice.hexagonal(4.916, 5.4054)
    return cluster_around(Structure.from_spacegroup("P3_221", cell, ["Si", "O"], sites), 0)


def exafs_input(species: Sequence[str], positions: np.ndarray) -> str:
    """Write feff.inp for the EXAFS of silicon in a cluster, the rest as for its XANES."""
    lines = feff_input("Si", species, positions).splitlines()
    told = [card for line in lines for card in CARDS.get(line.split(" ")[0], [line])]
    return "\n".join(told) + "\n"


def run(species: Sequence[str], positions: np.ndarray, folder: Path) -> list[float]:
    """Calculate chi at every `K`; FEFF's files stay in the folder."""
    found = calculate(exafs_input(species, positions), scratch=folder, timeout_s=900)
    if not found.converged:
        raise FeffError("the potentials did not become self-consistent in 30 iterations")
    k, chi, *_ = np.loadtxt(folder / "chi.dat").T
    if not np.isfinite(chi).all() or k[-1] < K[-1]:
        raise FeffError(f"chi is not finite, or ends at {k[-1]} 1/Å")
    return np.interp(K, k, chi).round(7).tolist()


def attempt(key: str, species: Sequence[str], positions: np.ndarray) -> dict[str, Any]:
    """Calculate one site: the record that becomes a line, with its error where it failed."""
    with tempfile.TemporaryDirectory(prefix="nearedge-exafs-") as name:
        folder = Path(name)
        try:
            chi = run(species, positions, folder)
        except (FeffError, OSError, ValueError) as error:
            return {"id": key, "error": str(error)}
        if key == QUARTZ:
            (DATA / "exafs-si-o.dat").write_text((folder / "feff0001.dat").read_text())
        return {"id": key, "chi": chi}


def sites() -> Iterator[tuple[str, Sequence[str], np.ndarray]]:
    """Give key, symbols and positions of quartz and of every held-out silicon site."""
    around = quartz()
    yield QUARTZ, around.species, around.positions
    for split in SPLITS:
        for site in read_dataset(DATA / "siox.parquet", split=split, absorber="Si"):
            yield site.id, site.species.tolist(), site.positions


def pack(records: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Write the records as Parquet."""
    rows = [{"k": K if "chi" in one else None, **one} for one in records.values()]
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path, compression="zstd")


def main() -> None:
    """Calculate what is not yet there, and pack all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=DATA / "exafs.parquet")
    told = parser.parse_args()
    require_feff()
    known = lines_of(told.lines)
    with told.lines.open("a") as lines:
        for key, species, positions in sites():
            if key not in known:
                known[key] = attempt(key, species, positions)
                lines.write(json.dumps(known[key]) + "\n")
                lines.flush()
                print(key, known[key].get("error", "done"), flush=True)
    pack(known, told.out)
    failed = sum("error" in one for one in known.values())
    print(f"{len(known) - failed} sites in {told.out}, {failed} failed")


if __name__ == "__main__":
    main()
