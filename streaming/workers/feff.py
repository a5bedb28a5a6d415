"""Calculate a near-edge spectrum with FEFF10, through the optional package ``feff10-rs``.

The cards are those of the data set that the released model was trained on: self-consistent
potentials and full multiple scattering with a screened core hole (``COREHOLE FSR``). About 10 s
of one core for a site.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from nearedge.models.spectrum import Array

_RUN = "import sys, feff10; feff10.run(sys.argv[1], sys.argv[2])"
# the stages after the potentials and phase shifts, which an earlier run has left in the folder
_RUN_AGAIN = """
import pathlib, sys
from feff10 import FeffConfig, FeffInput, FeffPipeline, Stage
stages = [Stage.RDINP, Stage.FMS, Stage.MKGTR, Stage.PATH, Stage.GENFMT, Stage.FF2X]
told = FeffInput.parse(pathlib.Path(sys.argv[1]).read_text())
FeffPipeline(FeffConfig(sys.argv[2], told, stages=stages)).run()
"""
# FEFF's `pot` is 1.6 times faster when the allocator keeps its large arrays
_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "2147483648",
    "MALLOC_TOP_PAD_": "268435456",
}
_CONVERGED = "Convergence reached"
_CHARGES_LOST = re.compile(r"Bad counts found repeatedly|FRNRM.*|Cannot determine Norman radius")
_CHARGE_CHANGE = re.compile(r"Charge distance=\s*([\d.]+)")
# process groups of the FEFF that this process runs, and what guards the set
_running: set[int] = set()
_guard = threading.Lock()
_SLACK = 0.005  # Å, so that the shell that sets a radius is inside it


class FeffError(RuntimeError):
    """FEFF is not installed, stopped, took too long, or gave no usable spectrum."""


class PotentialsError(FeffError):
    """FEFF found no self-consistent potentials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeffCards:
    """What FEFF is told beside the atoms.

    Attributes
    ----------
    scf_radius, scf_neighbours
        The self-consistent cluster reaches so far, Å, but not past that neighbour.
    iterations
        Most iterations of the potentials.
    mixing
        What share of the new charges enters each, and after how many Broyden's method takes over.
    fms_radius, fms_neighbours
        The same for full multiple scattering.
    xanes
        ``XANES`` card: largest k (1/Å), step of k near the edge, step of energy below it.
    corehole
        ``COREHOLE`` card.
    exchange
        ``EXCHANGE`` card.
    """

    scf_radius: float = 3.6
    scf_neighbours: int = 21
    iterations: int = 30
    mixing: tuple[float, int] = (0.2, 1)
    fms_radius: float = 6.0
    fms_neighbours: int = 76
    xanes: tuple[float, float, float] = (4.0, 0.07, 0.1)
    corehole: str = "FSR"
    exchange: str = "0 0.0 0.0 2"

    def cautious(self) -> "FeffCards":
        """Return the same with little of the new charges at a time: for potentials that failed."""
        return replace(self, mixing=(0.1, 5), iterations=max(24, self.iterations))


#: A third of the work or less: potentials of the nearest neighbours, fewer atoms that scatter.
FAST = FeffCards(scf_neighbours=8, iterations=12, fms_neighbours=45)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calculation:
    """A calculated spectrum.

    Attributes
    ----------
    energy, mu, mu0
        (n,) eV on FEFF's absolute scale, absorption and atomic background in edge steps.
    e_fermi
        Fermi level, eV.
    converged
        Whether the potentials became self-consistent.
    charge_change
        How far the charges moved in the last iteration, electrons; None where not known.
    """

    energy: Array
    mu: Array
    mu0: Array
    e_fermi: float
    converged: bool
    charge_change: float | None = None


def angular_momenta(symbol: str) -> tuple[int, int]:
    """Return the largest angular momenta of an element, for potentials and for scattering."""
    from pymatgen.core.periodic_table import Element

    element = Element(symbol)
    if element.block == "f":
        return 3, 3
    return (1 if element.row <= 2 else 2), 2


def _radius(positions: Array, *, most: float, neighbour: int) -> float:
    """Return the distance of that neighbour, counted from 1, at most so much, Å."""
    k = min(len(positions), neighbour) - 1
    return min(most, float(np.linalg.norm(positions[k])) + _SLACK)


def _potentials(absorber: str, species: Sequence[str], order: Sequence[str]) -> Iterator[str]:
    """Give a line for the absorber and one for each other kind: number, Z, symbol, l, l, amount."""
    from pymatgen.core.periodic_table import Element

    amounts = [0.01, *[sum(s == symbol for s in species) for symbol in order]]
    for number, (symbol, amount) in enumerate(zip([absorber, *order], amounts, strict=True)):
        scf, fms = angular_momenta(symbol)
        yield f"{number} {Element(symbol).Z} {symbol} {scf} {fms} {amount}"


def feff_input(
    absorber: str,
    species: Sequence[str],
    positions: Array,
    *,
    edge: str = "K",
    cards: FeffCards | None = None,
) -> str:
    """Write feff.inp for a cluster.

    Parameters
    ----------
    absorber, edge
        The absorber and its edge, for example ``Si`` and ``K``.
    species, positions
        (n,) symbols and (n, 3) Å of the neighbours, nearest first, the absorber at the origin.
    cards
        What FEFF is told beside the atoms.
    """
    from pymatgen.core.periodic_table import Element

    cards = cards or FeffCards()
    order = sorted(set(species), key=lambda symbol: -Element(symbol).Z)
    number = {symbol: k for k, symbol in enumerate(order, start=1)}
    scf = _radius(positions, most=cards.scf_radius, neighbour=cards.scf_neighbours)
    fms = _radius(positions, most=cards.fms_radius, neighbour=cards.fms_neighbours)
    lines = [
        "TITLE site",
        f"EDGE {edge}",
        "S02 1.0",
        "CONTROL 1 1 1 1 1 1",
        "PRINT 0 0 0 0 0 0",
        f"EXCHANGE {cards.exchange}",
        f"COREHOLE {cards.corehole}",
        "SCF {:.3f} 0 {} {} {}".format(scf, cards.iterations, *cards.mixing),
        f"FMS {fms:.3f} 0",
        "XANES {} {} {}".format(*cards.xanes),
        "POTENTIALS",
        *_potentials(absorber, species, order),
        "ATOMS",
        "0 0 0 0",
        *[
            "{:.5f} {:.5f} {:.5f} {}".format(*xyz, number[symbol])
            for symbol, xyz in zip(species, positions, strict=True)
        ],
        "END",
    ]
    return "\n".join(lines) + "\n"


def require_feff() -> None:
    """Raise a `FeffError` that says what to do where FEFF is not installed."""
    if find_spec("feff10") is None:
        raise FeffError(
            "the package feff10-rs is not installed, and calculating spectra needs it: "
            "pip install 'nearedge[feff]'"
        )


@contextmanager
def _scratch(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    else:
        with tempfile.TemporaryDirectory(prefix="nearedge-feff-") as name:
            yield Path(name)


def _run_feff(folder: Path, *, program: str, timeout_s: float) -> str:
    """Run FEFF in the folder, in a process group of its own; give back what it printed."""
    with (folder / "feff.out").open("wb") as out:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", program, str(folder / "feff.inp"), str(folder)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=os.environ | _ENVIRONMENT,
            start_new_session=True,
        )
        with _guard:
            _running.add(process.pid)
        try:
            code = process.wait(timeout_s)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)  # the stages are processes of their own
            process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            raise FeffError(
                f"FEFF did not finish within {timeout_s:g} s: is the cluster too large?"
            ) from None
        finally:
            with _guard:
                _running.discard(process.pid)
    said = (folder / "feff.out").read_text(errors="replace")
    if code and (lost := _CHARGES_LOST.search(said)):
        raise PotentialsError(f"FEFF found no potentials, for its charges got lost: {lost[0]}")
    if code:
        raise FeffError(f"FEFF stopped with code {code}: {_last_lines(said)}")
    return said


def kill_running() -> None:
    """Kill every FEFF that this process runs; those calculations end with a `FeffError`."""
    with _guard:
        for group in _running:
            with suppress(ProcessLookupError):  # it has just ended
                os.killpg(group, signal.SIGKILL)


def _last_lines(said: str) -> str:
    return " / ".join([line.strip() for line in said.splitlines() if line.strip()][-3:])


def read_xmu(text: str) -> tuple[Array, Array, Array, float]:
    """Read xmu.dat: energies, absorption, background, Fermi level.

    Raises
    ------
    FeffError
        If the text is no xmu.dat.
    """
    header = [line for line in text.splitlines() if line.startswith("#") and "Mu=" in line]
    rows = [line.split() for line in text.splitlines() if line.strip() and line[0] != "#"]
    if not header or not rows or len(rows[0]) != 6:
        raise FeffError("FEFF wrote no readable xmu.dat: expected six columns below '# ... Mu='")
    omega, _, _, mu, mu0, _ = np.array(rows, dtype=np.float64).T
    return omega, mu, mu0, float(header[0].split("Mu=")[1].split("eV")[0])


def calculate(
    text: str, *, scratch: Path | None = None, reuse: bool = False, timeout_s: float = 600.0
) -> Calculation:
    """Run FEFF10 on a feff.inp.

    Parameters
    ----------
    text
        The contents of feff.inp, as `feff_input` writes it.
    scratch
        Folder for FEFF's files; a temporary one where None.
    reuse
        Take the potentials that an earlier run left in ``scratch``: of the same kinds of atoms in
        the same order, displaced. Such a run counts as converged.
    timeout_s
        Seconds after which it is given up.

    Raises
    ------
    FeffError
        If FEFF is not installed, fails, or takes longer than that; a `PotentialsError` if it found
        no potentials.
    """
    require_feff()
    with _scratch(scratch) as folder:
        (folder / "feff.inp").write_text(text)
        xmu = folder / "xmu.dat"
        xmu.unlink(missing_ok=True)
        program = _RUN_AGAIN if reuse else _RUN
        said = _run_feff(folder, program=program, timeout_s=timeout_s)
        if not xmu.is_file():
            raise FeffError(f"FEFF ended without xmu.dat: {_last_lines(said)}")
        energy, mu, mu0, e_fermi = read_xmu(xmu.read_text())
    changes = _CHARGE_CHANGE.findall(said)
    return Calculation(
        energy=energy,
        mu=mu,
        mu0=mu0,
        e_fermi=e_fermi,
        converged=reuse or _CONVERGED in said,
        charge_change=float(changes[-1]) if changes else None,
    )
