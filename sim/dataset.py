"""Build a data set: sites of structures, rattled and strained, each with its FEFF10 spectrum.

Every finished site is at once a line of a file beside the data set, so that a build that was
stopped goes on where it was; a site that fails is a line with its error.
"""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np

from nearedge.models.data.dataset import Site, write_dataset
from nearedge.models.normalise.edges import edge_energy
from nearedge.models.spectrum import Array
from nearedge.sim.prototypes import formula_of, prototype_of, read_formulas
from nearedge.sim.sites import (
    Cluster,
    Named,
    cluster_around,
    rattled,
    read_structures,
    strain_of,
    structure_files,
    unique_sites,
)
from nearedge.streaming.workers.feff import (
    FAST,
    Calculation,
    FeffCards,
    FeffError,
    PotentialsError,
    calculate,
    feff_input,
    kill_running,
)


class Calculate(Protocol):
    """Runs FEFF on the text of a feff.inp; another function stands in for it in tests."""

    def __call__(
        self, text: str, *, scratch: Path | None = None, reuse: bool = False
    ) -> Calculation:
        """Return the spectrum, as `nearedge.streaming.workers.feff.calculate` does."""


#: Told how many sites are done, how many of them failed, and how many there are.
Progress = Callable[[int, int, int], None]

#: Spectra outside of this range are errors of the calculation.
PLAUSIBLE = (-0.2, 12.0)
#: How far from the edge of the tables a calculated spectrum begins at most, eV or as a share of the
#: edge's energy, whichever is more: FEFF's energies are off by some.
AT_EDGE = 40.0, 0.01
RESERVED = "reserved"
#: How long one more FEFF may run after a build was stopped, s.
GIVING_UP_S = 0.1
#: How long a signal waits to be looked at, s.
LOOK_S = 0.5
#: Charges that move by no more than this, electrons, are as good as self-consistent.
SETTLED = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteChoice:
    """Which sites of a structure become rows.

    Attributes
    ----------
    absorbers
        Their symbols.
    edge
        The edge, for example ``K``.
    rattles
        Root-mean-square displacements, Å: one copy of every site for each; 0 leaves it as it is.
    strain
        Standard deviation of the random strain of rattled copies.
    seed
        The seed of displacements and strains.
    split
        The split of every row; None: by prototype and family, from their names.
    fast
        Calculate with the cards `FAST`, and let the copies of a site reuse the potentials of the
        first: about a sixth of the time for an error as large as that of the rattling itself.
    """

    absorbers: tuple[str, ...]
    edge: str = "K"
    rattles: tuple[float, ...] = (0.0, 0.05, 0.1)
    strain: float = 0.012
    seed: int = 0
    split: str | None = None
    fast: bool = False

    @property
    def cards(self) -> FeffCards:
        """What FEFF is told."""
        return FAST if self.fast else FeffCards()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """One row to be: a site of a structure in one copy."""

    key: str
    named: Named
    site: int
    absorber: str
    rattle: float


def _fold(name: str) -> int:
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10


def split_of(family: str, reserved: Mapping[str, str], *, prototype: str = "") -> str:
    """Return a row's split: as the file of reserved families says, else by its names' hashes.

    A tenth of the prototypes are ``test`` as a whole: kinds of crystal of which nothing is learned.
    Of the families of the others a tenth each become ``test`` and ``val``; the rest ``train``.

    Examples
    --------
    >>> split_of("coesite", {"coesite": "test"})
    'test'
    """
    if family in reserved:
        return reserved[family]
    if prototype and _fold(f"prototype {prototype}") == 1:
        return "test"
    return {1: "test", 2: "val"}.get(_fold(family), "train")


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
                    text += "|fast" * recipe.fast
                    key = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:12]
                    yield Task(key=key, named=named, site=site, absorber=absorber, rattle=rattle)


def is_at_edge(energy: Sequence[float] | Array, absorber: str, edge: str) -> bool:
    """Tell whether a calculated spectrum is one of an edge, by where it begins."""
    expected, (least, share) = edge_energy(absorber, edge), AT_EDGE
    return abs(energy[0] - expected) < max(least, share * expected)


def _plausible(
    found: Calculation, recipe: SiteChoice, absorber: str, *, iterations: int
) -> Calculation:
    change = found.charge_change
    settled = recipe.fast and change is not None and change < SETTLED
    if not (found.converged or settled):
        raise PotentialsError(
            f"the potentials did not become self-consistent in {iterations} iterations"
        )
    if not np.isfinite(found.mu).all():
        raise FeffError("the spectrum is not finite")
    if not is_at_edge(found.energy, absorber, recipe.edge):
        raise FeffError(
            f"the spectrum begins at {found.energy[0]:.1f} eV, and the {absorber} {recipe.edge} "
            f"edge lies at {edge_energy(absorber, recipe.edge):.1f} eV"
        )
    lowest, highest = float(found.mu.min()), float(found.mu.max())
    if lowest < PLAUSIBLE[0] or highest > PLAUSIBLE[1]:
        raise FeffError(f"the spectrum runs from {lowest:.2f} to {highest:.2f} edge steps")
    return found


def _copy(task: Task, recipe: SiteChoice) -> tuple[Cluster, float]:
    """Return a task's cluster and the largest element of its strain."""
    rng = np.random.default_rng([recipe.seed, int(task.key, 16)])
    structure, site = task.named.structure, task.site
    if not task.rattle:
        return cluster_around(structure, site), 0.0
    strain = strain_of(rng, recipe.strain)
    structure, site = rattled(structure, site, rattle=task.rattle, strain=strain, rng=rng)
    return cluster_around(structure, site), float(np.abs(strain).max())


def _spectrum(
    cluster: Cluster,
    absorber: str,
    recipe: SiteChoice,
    run: Callable[[str], Calculation],
    *,
    cards: FeffCards,
) -> Calculation:
    """Calculate the spectrum of a cluster with these cards."""
    text = feff_input(absorber, cluster.species, cluster.positions, edge=recipe.edge, cards=cards)
    return _plausible(run(text), recipe, absorber, iterations=cards.iterations)


def _row(task: Task, recipe: SiteChoice, run: Callable[[str], Calculation]) -> dict[str, Any]:
    """Calculate one row: the record that becomes a line.

    Potentials that fail are made once more, cautiously: two of three become self-consistent then.
    """
    cluster, strain = _copy(task, recipe)
    try:
        found = _spectrum(cluster, task.absorber, recipe, run, cards=recipe.cards)
    except PotentialsError:
        cautious = recipe.cards.cautious()
        found = _spectrum(cluster, task.absorber, recipe, run, cards=cautious)
    named = task.named
    return {
        "structure": named.key,
        "family": named.family,
        "group": named.group,
        "source": named.source,
        "prototype": named.prototype or prototype_of(named.structure),
        "formula": named.formula or formula_of(named.structure),
        "absorber": task.absorber,
        "edge": recipe.edge,
        "rattle": task.rattle,
        "strain": strain,
        "species": cluster.species,
        "positions": cluster.positions.ravel().tolist(),
        "energy": found.energy.round(4).tolist(),
        "mu": found.mu.round(6).tolist(),
        "mu0": found.mu0.round(6).tolist(),
        "e_fermi": found.e_fermi,
    }


def _attempt(task: Task, recipe: SiteChoice, run: Callable[[str], Calculation]) -> dict[str, Any]:
    """Calculate one row, or record why it could not be."""
    start = {"id": task.key}
    try:
        return start | _row(task, recipe, run)
    except (FeffError, ValueError, OSError) as error:
        where = {"structure": task.named.key, "absorber": task.absorber, "site": task.site}
        return start | where | {"error": str(error)}


def _attempt_all(
    copies: Sequence[Task], todo: frozenset[str], recipe: SiteChoice, run: Calculate
) -> list[dict[str, Any]]:
    """Calculate the copies of one site that are to do.

    Where copies reuse potentials, those of the first are made again if need be: the rows are the
    same whether a build was stopped between or not.
    """
    if not recipe.fast:
        return [_attempt(task, recipe, run) for task in copies if task.key in todo]
    with TemporaryDirectory(prefix="nearedge-feff-") as name:
        scratch = Path(name)
        records = [_attempt(copies[0], recipe, lambda text: run(text, scratch=scratch))]
        made = records[0].get("species")
        for task in copies[1:]:
            if task.key in todo:
                records.append(_reusing(task, recipe, run, scratch=scratch, made=made))
    return [record for record in records if record["id"] in todo]


def _reusing(
    task: Task, recipe: SiteChoice, run: Calculate, *, scratch: Path, made: Sequence[str] | None
) -> dict[str, Any]:
    """Calculate a copy with the potentials in ``scratch``, made for atoms of these kinds."""

    def again(text: str) -> Calculation:
        if made is None:
            raise FeffError("the site itself could not be calculated, whose potentials it needs")
        cluster, _ = _copy(task, recipe)
        if set(cluster.species) != set(made):  # potentials are numbered by the kinds there are
            raise FeffError("the displaced cluster has other elements than the site itself")
        return run(text, scratch=scratch, reuse=True)

    return _attempt(task, recipe, again)


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


def _is_cut(path: Path) -> bool:
    """Tell whether the last line of a file has no end, as after a crash."""
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"


def site_of(record: Mapping[str, Any], *, split: str | None, reserved: Mapping[str, str]) -> Site:
    """Return the row that a line of a build becomes.

    Parameters
    ----------
    record
        The line, one without ``error``.
    split
        The row's split; None: as `split_of` says.
    reserved
        The split of each reserved family.
    """
    own = split or split_of(record["family"], reserved, prototype=record.get("prototype", ""))
    arrays = {name: np.array(record[name]) for name in ("species", "energy", "mu", "mu0")}
    positions = np.array(record["positions"], dtype=np.float64).reshape(-1, 3)
    return Site(
        **({"group": "built"} | dict(record) | arrays | {"split": own, "positions": positions})
    )


def _in_parallel(
    todo: Iterator[Sequence[Task]],
    work: Callable[[Sequence[Task]], list[dict[str, Any]]],
    workers: int,
) -> Generator[dict[str, Any], None, None]:
    """Give the records as they are done, with few sites in flight at a time.

    Stopped in their midst, those in flight are given up: no FEFF and no scratch folder stays.
    """
    running: set[Future[list[dict[str, Any]]]] = set()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="feff")
    try:
        while True:
            running |= {pool.submit(work, t) for t in islice(todo, 2 * workers - len(running))}
            if not running:
                return
            # a wait without end is not woken by a signal that another thread gets
            done, running = wait(running, timeout=LOOK_S, return_when=FIRST_COMPLETED)
            for future in done:
                yield from future.result()
    except BaseException:
        _give_up(pool)
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _give_up(pool: ThreadPoolExecutor) -> None:
    """End the threads of a pool without waiting for what FEFF calculates in them."""
    ending = threading.Thread(target=pool.shutdown, kwargs={"cancel_futures": True})
    ending.start()
    while ending.is_alive():
        kill_running()  # again and again: a site has copies, each with a FEFF of its own
        ending.join(GIVING_UP_S)


def _by_site(every: Sequence[Task], todo: frozenset[str], recipe: SiteChoice) -> list[list[Task]]:
    """Put the copies of a site together where they share its potentials."""
    together: dict[Any, list[Task]] = {}
    for task in every:
        site = (task.named.key, task.absorber, task.site)
        together.setdefault(site if recipe.fast else task.key, []).append(task)
    return [copies for copies in together.values() if any(task.key in todo for task in copies)]


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


def _wanted(named: Named, reserved: Mapping[str, str], left_out: frozenset[str]) -> bool:
    if reserved.get(named.family) == RESERVED:
        return False
    return not left_out or (named.formula or formula_of(named.structure)) not in left_out


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
    more: Sequence[Named] = (),
    reserved: Path | None = None,
    without: Path | None = None,
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
    more
        Structures from elsewhere, such as `nearedge.sim.amcsd.amcsd_structures`.
    reserved
        File of families kept for a split, as `read_reserved` reads it.
    without
        File of formulas of which no structure is used, as `read_formulas` reads it.
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
    left_out = read_formulas(without)
    named, unreadable = _read_all(structure_files(structures))
    named += more
    wanted = [one for one in named if _wanted(one, kept, left_out)]
    every = list(tasks(wanted, recipe))
    if not every:
        raise ValueError(
            f"no {' or '.join(recipe.absorbers)} in {len(wanted)} structures to use "
            f"({len(named) - len(wanted)} reserved, {len(unreadable)} unreadable)"
        )
    lines = out.with_suffix(".jsonl")
    known = lines_of(lines)
    todo = frozenset(task.key for task in every if task.key not in known)
    sites = _by_site(every, todo, recipe)
    records = {task.key: known[task.key] for task in every if task.key in known}
    records |= {one["id"]: one for one in unreadable}

    def tell() -> None:
        progress(len(records), _failed(records), len(every) + len(unreadable))

    tell()
    with lines.open("a") as file:
        if _is_cut(lines):
            file.write("\n")
        file.writelines(json.dumps(one) + "\n" for one in unreadable if one["id"] not in known)
        work = partial(_attempt_all, todo=todo, recipe=recipe, run=run)
        with closing(_in_parallel(iter(sites), work, workers)) as done:
            for record in done:
                file.write(json.dumps(record) + "\n")
                file.flush()
                records[record["id"]] = record
                tell()
    good = [records[task.key] for task in every if "error" not in records[task.key]]
    write_dataset([site_of(one, split=recipe.split, reserved=kept) for one in good], out)
    return Built(rows=len(good), failed=_failed(records), dataset=out, lines=lines)
