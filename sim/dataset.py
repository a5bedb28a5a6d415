"""Build a data set: sites of structures, rattled and strained, each with its FEFF10 spectrum.

Every finished site is at once a line of a file beside the data set, so that a build that was
stopped goes on where it was; a site that fails is a line with its error.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from nearedge.models.data.dataset import Site, write_dataset
from nearedge.sim.sites import (
    Named,
    cluster_around,
    rattled,
    read_structures,
    strain_of,
    structure_files,
    unique_sites,
)
from nearedge.streaming.workers.feff import Calculation, FeffError, calculate, feff_input

#: Runs FEFF on the text of a feff.inp; another function stands in for it in tests.
Calculate = Callable[[str], Calculation]
#: Told how many sites are done, how many of them failed, and how many there are.
Progress = Callable[[int, int, int], None]

#: Spectra outside of this range are errors of the calculation.
PLAUSIBLE = (-0.2, 12.0)
RESERVED = "reserved"


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteChoice:
    """Which sites of a structure become rows.

    Attributes
    ----------
    absorbers
        Their symbols.
    edge
        For example ``K``.
    rattles
        Root-mean-square displacements, Å: one copy of every site for each; 0 leaves it as it is.
    strain
        Standard deviation of the random strain of rattled copies.
    seed
        Of displacements and strains.
    split
        The split of every row; None: by family, from its name.
    """

    absorbers: tuple[str, ...]
    edge: str = "K"
    rattles: tuple[float, ...] = (0.0, 0.05, 0.1)
    strain: float = 0.012
    seed: int = 0
    split: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """One row to be: a site of a structure in one copy."""

    key: str
    named: Named
    site: int
    absorber: str
    rattle: float


def split_of(family: str, reserved: Mapping[str, str]) -> str:
    """Return a family's split: as the file of reserved families says, else by its name's hash.

    A tenth of the families each become ``test`` and ``val``; the others ``train``.

    Examples
    --------
    >>> split_of("coesite", {"coesite": "test"})
    'test'
    """
    fold = int(hashlib.sha256(family.encode()).hexdigest(), 16) % 10
    return reserved.get(family) or {1: "test", 2: "val"}.get(fold, "train")


def read_reserved(path: Path | None) -> dict[str, str]:
    """Read a file of lines ``SPLIT FAMILY``; families of the split ``reserved`` are left out.

    Raises
    ------
    ValueError
        If a line has not two words.
    """
    reserved = {}
    for line in path.read_text().splitlines() if path else ():
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split(maxsplit=1)
        if len(words) != 2:
            raise ValueError(
                f"{path}: found {line!r}, expected a split and a family: 'test quartz'"
            )
        reserved[words[1].strip()] = words[0]
    return reserved


def tasks(structures: Sequence[Named], recipe: SiteChoice) -> Iterator[Task]:
    """Give every site and copy of the structures, each with a key that stays the same."""
    for named in structures:
        for absorber in recipe.absorbers:
            for site in unique_sites(named.structure, absorber):
                for rattle in recipe.rattles:
                    text = f"{named.key}|{site}|{absorber}|{recipe.edge}|{rattle}|{recipe.seed}"
                    key = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:12]
                    yield Task(key=key, named=named, site=site, absorber=absorber, rattle=rattle)


def _plausible(found: Calculation) -> Calculation:
    if not found.converged:
        raise FeffError("the potentials did not become self-consistent in 30 iterations")
    if not np.isfinite(found.mu).all():
        raise FeffError("the spectrum is not finite")
    lowest, highest = float(found.mu.min()), float(found.mu.max())
    if lowest < PLAUSIBLE[0] or highest > PLAUSIBLE[1]:
        raise FeffError(f"the spectrum runs from {lowest:.2f} to {highest:.2f} edge steps")
    return found


def _row(task: Task, recipe: SiteChoice, run: Calculate) -> dict[str, Any]:
    """Calculate one row: the record that becomes a line."""
    rng = np.random.default_rng([recipe.seed, int(task.key, 16)])
    structure, site = task.named.structure, task.site
    strain = np.zeros((3, 3))
    if task.rattle:
        strain = strain_of(rng, recipe.strain)
        structure, site = rattled(structure, site, rattle=task.rattle, strain=strain, rng=rng)
    cluster = cluster_around(structure, site)
    text = feff_input(task.absorber, cluster.species, cluster.positions, edge=recipe.edge)
    found = _plausible(run(text))
    return {
        "structure": task.named.key,
        "family": task.named.family,
        "source": task.named.source,
        "absorber": task.absorber,
        "edge": recipe.edge,
        "rattle": task.rattle,
        "strain": float(np.abs(strain).max()),
        "species": cluster.species,
        "positions": cluster.positions.ravel().tolist(),
        "energy": found.energy.round(4).tolist(),
        "mu": found.mu.round(6).tolist(),
        "mu0": found.mu0.round(6).tolist(),
        "e_fermi": found.e_fermi,
    }


def _attempt(task: Task, recipe: SiteChoice, run: Calculate) -> dict[str, Any]:
    """Calculate one row, or record why it could not be."""
    start = {"id": task.key}
    try:
        return start | _row(task, recipe, run)
    except (FeffError, ValueError, OSError) as error:
        where = {"structure": task.named.key, "absorber": task.absorber, "site": task.site}
        return start | where | {"error": str(error)}


def lines_of(path: Path) -> dict[str, dict[str, Any]]:
    """Read the lines of a build, by key; a last line cut short by a crash is passed over."""
    found = {}
    for line in path.read_text().splitlines() if path.is_file() else ():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        found[record["id"]] = record
    return found


def _site(record: Mapping[str, Any], recipe: SiteChoice, reserved: Mapping[str, str]) -> Site:
    split = recipe.split or split_of(record["family"], reserved)
    arrays = {name: np.array(record[name]) for name in ("species", "energy", "mu", "mu0")}
    positions = np.array(record["positions"], dtype=np.float64).reshape(-1, 3)
    own = {"split": split, "group": "built", "positions": positions}
    return Site(**(dict(record) | arrays | own))


def _in_parallel(
    todo: Iterator[Task], work: Callable[[Task], dict[str, Any]], workers: int
) -> Iterator[dict[str, Any]]:
    """Give the records as they are done, with few tasks in flight at a time."""
    running: set[Future[dict[str, Any]]] = set()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="feff")
    try:
        while True:
            running |= {pool.submit(work, t) for t in islice(todo, 2 * workers - len(running))}
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    finally:
        pool.shutdown(cancel_futures=True)


def _read_all(paths: Iterator[Path]) -> tuple[list[Named], list[dict[str, Any]]]:
    """Read all structures; a file that cannot be read becomes a record with its error."""
    named: list[Named] = []
    unreadable = []
    for path in paths:
        try:
            named += read_structures(path)
        except ValueError as error:
            unreadable.append({"id": f"file {path}", "structure": path.stem, "error": str(error)})
    return named, unreadable


def _failed(records: Mapping[str, Mapping[str, Any]]) -> int:
    return sum("error" in one for one in records.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a build came to: rows in the data set, sites that failed, and where all is."""

    rows: int
    failed: int
    dataset: Path
    lines: Path


def build(
    structures: Sequence[Path],
    out: Path,
    *,
    recipe: SiteChoice,
    reserved: Path | None = None,
    workers: int = 1,
    run: Calculate = calculate,
    progress: Progress = lambda done, failed, total: None,
) -> Built:
    """Build a data set from structure files, going on where an earlier build stopped.

    Parameters
    ----------
    structures
        CIF, POSCAR or extended XYZ files, or folders of such.
    out
        The Parquet file; the lines go beside it, with the suffix ``.jsonl``.
    recipe
        Which sites become rows.
    reserved
        File of families kept for a split, as `read_reserved` reads it.
    workers
        FEFF processes at a time.
    run
        Runs FEFF.
    progress
        Called after every site.

    Raises
    ------
    ValueError
        If a path doesn't exist, or none of the structures has an absorber.
    """
    kept = read_reserved(reserved)
    named, unreadable = _read_all(structure_files(structures))
    wanted = [one for one in named if kept.get(one.family) != RESERVED]
    every = list(tasks(wanted, recipe))
    if not every:
        raise ValueError(
            f"no {' or '.join(recipe.absorbers)} in {len(wanted)} structures to use "
            f"({len(named) - len(wanted)} reserved, {len(unreadable)} unreadable)"
        )
    lines = out.with_suffix(".jsonl")
    known = lines_of(lines)
    todo = [task for task in every if task.key not in known]
    records = {task.key: known[task.key] for task in every if task.key in known}
    records |= {one["id"]: one for one in unreadable}

    def tell() -> None:
        progress(len(records), _failed(records), len(every) + len(unreadable))

    tell()
    with lines.open("a") as file:
        file.writelines(json.dumps(one) + "\n" for one in unreadable if one["id"] not in known)
        for record in _in_parallel(iter(todo), lambda t: _attempt(t, recipe, run), workers):
            file.write(json.dumps(record) + "\n")
            file.flush()
            records[record["id"]] = record
            tell()
    good = [records[task.key] for task in every if "error" not in records[task.key]]
    write_dataset([_site(one, recipe, kept) for one in good], out)
    return Built(rows=len(good), failed=_failed(records), dataset=out, lines=lines)
